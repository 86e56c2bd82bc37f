"""
---
title: Every name
description: All public functions, classes and methods by module, one line each, with a link to where they are explained
toc: true
---
"""
import ast, json, re
from nbdev.config import get_config

cfg = get_config()
CHAPTERS = ['The data', 'The language side', 'The model', 'Learning', 'Evaluation', 'Baselines', 'Using it']

def notebook(path):
    "Title and module of one notebook"
    cells = [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]
    title = next((m[1].strip(' "\'') for k,s in cells if k=='raw' and (m := re.search(r'^title:\s*(.+)$', s, re.M))), path.stem)
    return title, next((m[1] for k,s in cells if k=='code' and (m := re.search(r'^#\|\s*default_exp\s+(\S+)', s, re.M))), None)

def owner(n):
    "The class that a patched function belongs to"
    if not any('patch' in ast.unparse(d) for d in n.decorator_list) or not n.args.args: return None
    return ast.unparse(n.args.args[0].annotation) if n.args.args[0].annotation else None

def public(body, prefix=''):
    "Name and definition of what is public: functions, classes, and methods that say what they do"
    for n in body:
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef)) or n.name.startswith('_') or not ast.get_docstring(n): continue
        cls = owner(n) if isinstance(n, ast.FunctionDef) else None
        yield (f'{cls}.' if cls else prefix)+n.name, n
        if isinstance(n, ast.ClassDef): yield from public(n.body, f'{n.name}.')

def line(name, n, page):
    "An entry: the name with its link, and the first line of its docstring"
    text = ' '.join(ast.get_docstring(n).split('\n\n')[0].split())
    return f'- [`{name}`]({page}#{name.lower()}): {text}'

books = [(p, *notebook(p)) for p in sorted(cfg.nbs_path.glob('[0-9]*.ipynb'))]
books = [(p, t, m, f) for p,t,m in books if m and (f := cfg.lib_path/f"{m.replace('.', '/')}.py").exists()]
for decade, chapter in enumerate(CHAPTERS):
    mine = [b for b in books if b[0].name[0]==str(decade)]
    if mine: print(f'## {chapter}\n')
    for page, title, module, file in mine:
        names = list(public(ast.parse(file.read_text(encoding='utf-8')).body))
        print(f'### {title}\n\n[`llmcfsr.{module}`]({page.name})\n')
        print('\n'.join(line(k, n, page.name) for k,n in names)+'\n')
