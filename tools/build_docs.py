"""Build the site without Quarto: `python tools/build_docs.py` writes _docs/.

nbdev stages the notebooks; this file numbers equations, figures and tables and resolves citations; smalldocs renders; KaTeX comes from
npm (`npm ci --prefix tools`). A reference without a target, a broken internal link or anything fetched from elsewhere fails the build.
Where Quarto is installed, `nbdev_docs` builds the same notebooks.
"""
import json, re, shutil, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
import nbdev.doclinks, nbdev.serve, nbdev.showdoc
from nbdev.config import get_config
import docrender

LABEL = r'(?:eq|fig|tbl|sec)-[\w-]*\w'
REF = re.compile(rf'(?<![\w`@\\/])@({LABEL})')
EQ = re.compile(r'\$\$(.+?)\$\$\s*\{#(eq-[\w-]+)\}', re.S)
TBL = re.compile(r'^: (.*?)\s*\{#(tbl-[\w-]+)\}[ \t]*$', re.M)
CITE = re.compile(r'\[((?:-?@[\w:.-]*\w(?:,[^\];@]*)?(?:; *)?)+)\]|(?<![\w`@\\/.\[{])@([A-Za-z][\w:-]*\w)')
CODE = re.compile(r'(^(`{3,}|~{3,}).*?^\2[ \t]*$|`[^`\n]+`)', re.M | re.S)
KIND = dict(eq='Equation', fig='Figure', tbl='Table', sec='Section')
CDN = re.compile(r'https://[\w.]+/npm/katex@[\d.]+/dist')

def outside_code(f, text):
    "Apply `f` to the prose of some Markdown, leaving code as it is"
    out, at = [], 0
    for m in CODE.finditer(text): out += [f(text[at:m.start()]), m[0]]; at = m.end()
    return ''.join(out)+f(text[at:])

def bibliography(path):
    "key -> who, year and the full entry"
    from pybtex.database import parse_file
    out = {}
    for key, e in parse_file(str(path)).entries.items():
        f, people = {k: re.sub(r'[{}]', '', v) for k,v in e.fields.items()}, e.persons.get('author', [])
        last = [' '.join(p.prelast_names+p.last_names) for p in people]
        who = last[0] if len(last)==1 else f'{last[0]} and {last[1]}' if len(last)==2 else f'{last[0]} et al.'
        names = ', '.join(' '.join(p.first_names+p.middle_names+p.prelast_names+p.last_names) for p in people)
        where = f.get('booktitle') or f.get('journal') or f.get('note') or ''
        if 'volume' in f: where += f" {f['volume']}" + (f"({f['number']})" if 'number' in f else '')
        link = f" [doi:{f['doi']}](https://doi.org/{f['doi']})" if 'doi' in f else f" [arXiv:{f['eprint']}](https://arxiv.org/abs/{f['eprint']})" if 'eprint' in f else ''
        out[key] = dict(who=who, year=f.get('year', 'n.d.'), full=f"{names} ({f.get('year', 'n.d.')}). *{f.get('title', '')}*. {where}.{link}")
    return out

def align(table):
    "Numbers of a pandas table to the right, words to the left, column by column"
    rows = [re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', r, re.S) for r in re.findall(r'<tr.*?</tr>', table[0], re.S)]
    width = max(map(len, rows), default=0); body = rows[table[0].split('<tbody>')[0].count('<tr'):]
    numeric = [bool(body) and all(len(r)==width and re.fullmatch(r'[-+−]?[\d.,]+(e-?\d+)?%?|NaN|nan|[-–—]?', r[i].strip()) for r in body) for i in range(width)]
    def row(m):
        n = iter(numeric) if len(re.findall(r'<t[hd]', m[0]))==width else iter([])
        return re.sub(r'<(t[hd])', lambda k: f'<{k[1]} class="num"' if next(n, False) else k[0], m[0])
    return re.sub(r'<tr.*?</tr>', row, re.sub(r'<tr style="[^"]*"', '<tr', table[0].replace(' border="1"', '')), flags=re.S)

class Page:
    "One staged notebook or Markdown page"
    def __init__(self, path):
        self.path, self.numbers, self.cited = path, {}, []
        self.nb = json.loads(path.read_text()) if path.suffix=='.ipynb' else dict(cells=[dict(cell_type='markdown', source=path.read_text())])
        for c in self.nb['cells']: c['source'] = ''.join(c['source'])
        front = self.nb['cells'][0]   # what only Quarto reads is dropped, so that a warning of the renderer means something
        if front['source'].startswith('---'): front['source'] = re.sub(r'^(output-file|bibliography|order):.*\n', '', front['source'], flags=re.M)
        m = re.search(r'^title:\s*(.+)$', front['source'], re.M)
        self.title = m[1].strip(' "\'') if m else path.stem
        self.name = re.sub(r'^\d+[a-zA-Z0-9]*_', '', path.name)

    def number(self, label):
        kind = label.split('-')[0]
        return self.numbers.setdefault(label, 1+sum(k.split('-')[0]==kind for k in self.numbers))

    def label(self):
        "Number what this page defines, in page order"
        for c in self.nb['cells']:
            s = c['source']
            if c['cell_type']=='markdown':
                s = EQ.sub(lambda m: f'[]{{#{m[2]} .equation}}\n\n$${m[1].rstrip()} \\tag{{{self.number(m[2])}}}$$', s)
                s = TBL.sub(lambda m: f': Table {self.number(m[2])}: {m[1]} {{#{m[2]}}}', s)
                for m in re.finditer(r'^#+ .*\{#(sec-[\w-]+)', s, re.M): self.number(m[1])
            elif m := re.search(r'^#\| *label: *(fig-[\w-]+)', s, re.M):
                n = self.number(m[1])
                s = re.sub(r'^(#\| *fig-cap: *)(["\']?)(.*?)\2 *$', lambda k: f'{k[1]}{json.dumps(f"Figure {n}: {k[3]}", ensure_ascii=False)}', s, flags=re.M)
            c['source'] = s

    def resolve(self, pages, refs):
        "References, citations and links of the prose and of what show_doc wrote"
        owner = {label: p for p in pages for label in p.numbers}
        names = {p.path.name: p.name for p in pages}
        def ref(m):
            if m[1] not in owner: sys.exit(f'{self.path.name}: nothing is labelled {m[1]}')
            p = owner[m[1]]; text = f'{KIND[m[1].split("-")[0]]} {p.numbers[m[1]]}'
            return f'[{text}](#{m[1]})' if p is self else f'[{text} of {p.title}]({p.name}#{m[1]})'
        def cite(m):
            keys = re.findall(r'@([\w:.-]*\w)', m[0])
            if missing := [k for k in keys if k not in refs]: sys.exit(f'{self.path.name}: references.bib has no {missing}')
            self.cited += keys
            if m[2]: r = refs[m[2]]; return f"[{r['who']} ({r['year']})](#ref-{m[2]})"
            return '('+'; '.join(f"[{refs[k]['who']}, {refs[k]['year']}](#ref-{k})" for k in keys)+')'
        def prose(s): return CITE.sub(cite, REF.sub(ref, s))
        def links(s): return re.sub(r'\]\((?:\./)?([\w.-]+\.ipynb)(#[^)]*)?\)', lambda m: f']({names.get(m[1], m[1])}{m[2] or ""})', s)
        for c in self.nb['cells']:
            if c['cell_type']=='markdown': c['source'] = links(outside_code(prose, c['source']))
            for o in c.get('outputs', []):
                if html := o.get('data', {}).get('text/html'): o['data']['text/html'] = re.sub(r'<table.*?</table>', align, ''.join(html), flags=re.S)
                if text := o.get('data', {}).get('text/markdown'): o['data']['text/markdown'] = links(outside_code(prose, ''.join(text)))
        if self.cited:
            items = '\n\n'.join(f'[]{{#ref-{k}}}{refs[k]["full"]}' for k in sorted(set(self.cited), key=lambda k: refs[k]['full']))
            self.nb['cells'].append(dict(cell_type='markdown', metadata={}, source=f'## References\n\n{items}'))

    def write(self, base):
        "Under its short name, with nbdev's absolute links made relative, so that the site works from any folder"
        text = json.dumps(self.nb, ensure_ascii=False) if self.path.suffix=='.ipynb' else '\n\n'.join(c['source'] for c in self.nb['cells'])
        self.path.unlink()
        self.path.with_name(self.name).write_text(text.replace(base, ''))

class Links(HTMLParser):
    "What a page defines, points to, and loads"
    def __init__(self, html):
        super().__init__(); self.ids, self.links, self.loads = set(), [], []
        self.feed(html)
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        if tag=='a' and a.get('href') is not None: self.links.append(a['href'])
        if a.get('src'): self.loads.append(a['src'])
        if tag=='link' and a.get('href') and {'stylesheet', 'icon', 'preload', 'manifest', 'modulepreload'} & {*(a.get('rel') or '').split()}: self.loads.append(a['href'])

def check_site(out):
    "Every internal link and anchor leads somewhere, nothing is loaded from elsewhere, no reference is left unresolved"
    out = out.resolve(); pages = {h: Links(h.read_text()) for h in sorted(out.rglob('*.html'))}; bad = []
    for h, p in pages.items():
        for url in p.loads+p.links:
            if re.match(r'(https?:)?//', url): bad += [f'{h.name}: loads {url}'] if url in p.loads else []
            elif not re.match(r'(data|mailto|javascript):', url):
                path, _, anchor = url.partition('#'); path = path.split('?')[0]
                to = (h.parent/unquote(path)).resolve() if path else h
                if to.is_dir(): to = to/'index.html'
                if not to.exists() or out not in to.parents: bad.append(f'{h.name}: no file {url}')
                elif anchor and to in pages and unquote(anchor) not in pages[to].ids: bad.append(f'{h.name}: no anchor {url}')
        bad += [f'{h.name}: unresolved {m}' for m in re.findall(rf'\?@{LABEL}', h.read_text())]
    for c in out.rglob('*.css'): bad += [f'{c.name}: loads {u}' for u in re.findall(r'(?:url\(|@import)\s*["\']?((?:https?:)?//[^"\')]+)', c.read_text())]
    if bad: sys.exit('\n'.join(bad))
    print(f'{len(pages)} pages, {sum(len(p.links) for p in pages.values())} links, none broken, nothing loaded from elsewhere')

def settle(out):
    "A link to a method that has no entry of its own leads to its class"
    ids = {h.name: Links(h.read_text()).ids for h in out.rglob('*.html')}
    for h in out.rglob('*.html'):
        def up(m):
            there = ids.get(m[1] or h.name, ())
            return m[0] if m[2] in there or m[2].split('.')[0] not in there else f'href="{m[1]}#{m[2].split(".")[0]}"'
        h.write_text(re.sub(r'href="([\w-]*(?:\.html)?)#([\w-]+\.[\w.-]+)"', up, h.read_text()))

def localise(out, katex):
    "KaTeX and fonts from the site itself"
    shutil.copytree(katex, out/'site_libs/katex', ignore=lambda d, names: [n for n in names if not re.search(r'^(fonts|contrib|katex\.min\.(css|js)|auto-render\.min\.js|.*\.woff2)$', n)])
    for h in out.rglob('*.html'):
        up = '../'*(len(h.relative_to(out).parts)-1)
        h.write_text(CDN.sub(f'{up}site_libs/katex', h.read_text()))
    for c in out.rglob('*.css'):   # a theme may import web fonts; katex.min.css also names font files for old browsers
        s = re.sub(r'@import\s*(?:url\([^)]*\)|"[^"]*"|\'[^\']*\')\s*;', '', c.read_text())
        c.write_text(re.sub(r',url\([^)]*\.(?:woff|ttf)\)\s*format\([^)]*\)', '', s) if c.name.startswith('katex') else s)

def main():
    cfg = get_config(); root = cfg.config_path
    katex = root/'tools/node_modules/katex/dist'
    if not katex.exists(): sys.exit('KaTeX is missing: run `npm ci --prefix tools` first')
    nbdev.doclinks._build_modidx()
    stage = root/'_proc'; shutil.rmtree(stage, ignore_errors=True)
    nbdev.serve.FilterDefaults, nbdev.showdoc.BasicMarkdownRenderer = docrender.Filter, docrender.TableRenderer
    stage = Path(nbdev.serve.proc_nbs(cfg.nbs_path, n_workers=0, force=True))
    refs = bibliography(cfg.nbs_path/'references.bib')
    pages = [Page(p) for p in sorted(stage.rglob('*')) if p.suffix in ('.ipynb', '.qmd')]
    for p in pages: p.label()
    for p in pages: p.resolve(pages, refs)
    for p in pages: p.write(cfg.doc_host.rstrip('/')+cfg.doc_baseurl.rstrip('/')+'/')
    sidebar = stage/'sidebar.yml'   # the staged names carry no numbers, so globs over them are spelled out
    number = {p.name: p.path.name for p in pages}
    spell = lambda m: '['+', '.join(sorted((n for n in number if Path(number[n]).match(m[1])), key=number.get))+']'
    sidebar.write_text(re.sub(r'"(\d\*\.ipynb)"', spell, sidebar.read_text()))
    config = stage/'_quarto.yml'
    config.write_text(re.sub(r'^ *(bibliography|html-math-method):.*\n', '', config.read_text(), flags=re.M))
    subprocess.run([sys.executable, '-m', 'smalldocs.cli', 'render', str(stage), '--quiet', '--strict'], check=True)
    out = stage/cfg.doc_path.name
    localise(out, katex)
    settle(out)
    check_site(out)
    shutil.rmtree(cfg.doc_path, ignore_errors=True); shutil.move(out, cfg.doc_path)
    shutil.rmtree(stage)
    print(f'the site is in {cfg.doc_path.name}/')

if __name__=='__main__': main()
