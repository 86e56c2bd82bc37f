// Look at the site as a reader does: node tools/browser_check.mjs _docs [folder for screenshots]
// Every page: no request leaves it, nothing fails to load, no script error, all maths set, nothing sticks out on a phone.
// On one of them: dark mode toggles, search finds and leads on, and both can be read.
import { chromium } from 'playwright-core';
import { createServer } from 'node:http';
import { readFile, readdir, mkdir } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join, extname, normalize } from 'node:path';

const [site, shots] = process.argv.slice(2);
const browserAt = process.env.CHROMIUM || ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (!site || !browserAt) { console.error(site ? 'no browser: set CHROMIUM to its path' : 'which site?'); process.exit(2); }
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2' };
const server = createServer(async (q, r) => {
  const path = join(site, normalize(decodeURIComponent(new URL(q.url, 'http://x').pathname)).replace(/\/$/, '/index.html'));
  try { const body = await readFile(path); r.writeHead(200, { 'content-type': types[extname(path)] || 'application/octet-stream' }); r.end(body); }
  catch { r.writeHead(404); r.end(); }
});
await new Promise(f => server.listen(0, '127.0.0.1', f));
const home = `http://127.0.0.1:${server.address().port}/`;
const faults = [];
const browser = await chromium.launch({ executablePath: browserAt, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'] });
const desktop = { width: 1360, height: 900 }, phone = { width: 390, height: 844 };
const context = await browser.newContext({ viewport: desktop, colorScheme: 'light' });
const page = await context.newPage();
const fault = (what) => faults.push(`${page.url().slice(home.length)}: ${what}`);
page.on('request', q => { if (!q.url().startsWith(home) && !q.url().startsWith('data:')) fault(`asks ${q.url()}`); });
page.on('response', r => { if (r.status() >= 400) fault(`${r.status()} for ${r.url().slice(home.length)}`); });
page.on('requestfailed', q => { if (!q.failure()?.errorText.includes('ERR_ABORTED')) fault(`failed ${q.url()}`); });
page.on('console', m => { if (m.type() === 'error') fault(`console: ${m.text()}`); });
page.on('pageerror', e => fault(`script: ${e.message}`));
if (shots) await mkdir(shots, { recursive: true });
const shot = async (name, full = false) => { if (shots) await page.screenshot({ path: join(shots, name + '.png'), fullPage: full }); };
const open = async (name, size = desktop) => { await page.setViewportSize(size); await page.goto(home + name, { waitUntil: 'networkidle' }); };

// the contrast of an element's text with what lies behind it, as WCAG counts it
const contrast = (selector) => page.$eval(selector, (el) => {
  const paint = (c) => { const k = document.createElement('canvas').getContext('2d', { willReadFrequently: true }); k.fillStyle = c; k.fillRect(0, 0, 1, 1); return [...k.getImageData(0, 0, 1, 1).data].map(v => v / 255); };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const layers = []; for (let e = el; e; e = e.parentElement) layers.push(paint(getComputedStyle(e).backgroundColor));
  const back = layers.reverse().reduce((b, a) => over(a, b), [1, 1, 1]);
  const light = (c) => c.map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = paint(getComputedStyle(el).color), [a, b] = [light(over(ground, back)), light(back)].sort((x, y) => y - x);
  return (a + .05) / (b + .05);
});
const readable = async (selectors, scheme) => {
  for (const s of selectors) { const c = await contrast(s); if (c < 4.5) fault(`${s} is hard to read in the ${scheme} theme: contrast ${c.toFixed(1)}`); }
};

const pages = (await readdir(site)).filter(f => f.endsWith('.html')).sort();
for (const name of pages) {
  await open(name);
  const broken = await page.$$eval('.katex-error', es => es.map(e => e.textContent));
  if (broken.length) fault(`maths not set: ${broken.join(' | ')}`);
  if (await page.$eval('main', m => /\\\(|\\\[|\$\$/.test([...m.querySelectorAll('.math')].filter(e => !e.querySelector('.katex')).map(e => e.textContent).join('')))) fault('maths left raw');
  await shot(name.replace('.html', '_desktop'), true);
  await page.setViewportSize(phone); await page.waitForTimeout(500);
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) fault(`sticks out by ${wide} px on a phone`);
  await shot(name.replace('.html', '_phone'), true);
}

const subject = pages.includes('core.html') ? 'core.html' : 'index.html';
await open(subject);
const shade = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const search = async (word) => {
  await page.click('#quarto-search input'); await page.fill('#quarto-search input', ''); await page.keyboard.type(word, { delay: 20 });
  await page.waitForSelector('.search-result', { timeout: 5000 }).catch(() => fault(`search finds nothing for ${word}`));
};
const before = await shade();
const parts = ['#quarto-search input', '.search-result-title', '.search-result-section', '.search-result-text', '#TOC a', '.sidebar-link', 'main p', 'main a'];
const found = async (scheme) => { const there = []; for (const s of parts) if (await page.$(s)) there.push(s); await readable(there, scheme); };
await search('fingerprint'); await page.waitForTimeout(300); await found('light'); await shot('search_light');
await page.keyboard.press('Escape'); await page.click('.quarto-color-scheme-toggle'); await page.waitForTimeout(400);
if (await shade() === before) fault('the dark theme does not come');
await search('fingerprint'); await page.waitForTimeout(300); await found('dark'); await shot('search_dark');
await Promise.all([page.waitForURL(u => u.href !== home + subject, { timeout: 5000 }).catch(() => fault('a search result leads nowhere')), page.click('.search-result')]);
await page.waitForTimeout(400);
if (await shade() === before) fault('the dark theme is forgotten on the next page');
await shot('dark_page');
await open(pages.includes('equations.html') ? 'equations.html' : 'index.html'); await shot('dark_equations', true);

await browser.close(); server.close();
console.log(faults.length ? [...new Set(faults)].join('\n') : `${pages.length} pages looked at: no fault`);
process.exit(faults.length ? 1 : 0);
