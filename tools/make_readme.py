"README.md from nbs/index.ipynb, without Quarto: `python tools/make_readme.py`"
import json, re
from nbdev.config import get_config
from build_docs import CITE, bibliography

def readme(cfg):
    "The index as plain Markdown: titles, citations and links as a reader of the repository needs them"
    site, refs = f'{cfg.doc_host}{cfg.doc_baseurl}', bibliography(cfg.nbs_path/'references.bib')
    def cite(m):
        keys = re.findall(r'@([\w:.-]*\w)', m[0])
        return '('+'; '.join(f"{refs[k]['who']}, {refs[k]['year']}" for k in keys)+')' if all(k in refs for k in keys) else m[0]
    def markdown(s):
        s = re.sub(r'\]\((?:\./)?(?:\d+[a-z]*_)?([\w-]+)\.(?:ipynb|qmd)(#[^)]*)?\)', lambda m: f']({site}/{m[1]}.html{m[2] or ""})', s)
        return CITE.sub(cite, re.sub(r'^: .*\{#tbl-[\w-]+\}$', '', s, flags=re.M))
    out = []
    for c in json.loads((cfg.nbs_path/'index.ipynb').read_text(encoding='utf-8'))['cells']:
        s = ''.join(c['source']).strip()
        if c['cell_type']=='raw': out.append('# '+re.search(r'^title: *(.+)$', s, re.M)[1])
        elif c['cell_type']=='markdown': out.append(markdown(s))
        elif not re.search(r'^#\|\s*hide', s, re.M):
            out.append(f'```python\n{s}\n```')
            for o in c.get('outputs', []):
                t = o.get('data', {}).get('text/plain') or o.get('text')
                if t: out.append('\n'.join('    '+l for l in ''.join(t).rstrip().splitlines()))
    return '\n\n'.join(out)+'\n'

if __name__=='__main__':
    cfg = get_config()
    (cfg.config_path/'README.md').write_text(readme(cfg), encoding='utf-8')
