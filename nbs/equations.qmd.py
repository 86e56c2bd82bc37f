"""
---
title: Every equation
description: Each numbered equation, where it is explained, and the code that computes it
toc: true
---
"""
import ast, json, re
from nbdev.config import get_config

cfg = get_config()
CHAPTERS = ['The data', 'The language side', 'The model', 'Learning', 'Evaluation', 'Baselines', 'Using it', 'Stories']
EQUATION = re.compile(r'\$\$(.+?)\$\$\s*\{#(eq-[\w-]+)\}', re.S)

def definitions(tree, prefix=''):
    "Every function and class with its qualified name"
    for n in ast.iter_child_nodes(tree):
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)):
            patched = isinstance(n, ast.FunctionDef) and any('patch' in ast.unparse(d) for d in n.decorator_list) and n.args.args[0].annotation
            yield (f'{ast.unparse(patched)}.' if patched else prefix)+n.name, n
            yield from definitions(n, f'{prefix}{n.name}.')

def notebook(path):
    "Title, module, equations and documented names of one notebook"
    cells = [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]
    title = next((m[1].strip(' "\'') for k,s in cells if k=='raw' and (m := re.search(r'^title:\s*(.+)$', s, re.M))), path.stem)
    module = next((m[1] for k,s in cells if k=='code' and (m := re.search(r'^#\|\s*default_exp\s+(\S+)', s, re.M))), None)
    eqs = [e for k,s in cells if k=='markdown' for e in EQUATION.findall(s)]
    return title, module, eqs

def computing(label, modules):
    "Who names the equation in a docstring: notebook, module, name, line"
    for path, module in modules.items():
        file = cfg.lib_path/f"{module.replace('.', '/')}.py"
        for name, n in definitions(ast.parse(file.read_text(encoding='utf-8'))):
            if re.search(rf'@{label}(?![\w-])', ast.get_docstring(n) or ''): yield path, file, name, n.lineno

paths = sorted(cfg.nbs_path.glob('[0-9]*.ipynb'))
books = {p: notebook(p) for p in paths}
modules = {p: m for p,(_,m,_) in books.items() if m and (cfg.lib_path/f"{m.replace('.', '/')}.py").exists()}
for decade, chapter in enumerate(CHAPTERS):
    mine = [p for p in paths if p.name[0]==str(decade) and books[p][2]]
    if mine: print(f'## {chapter}\n')
    for p in mine:
        title, _, eqs = books[p]
        print(f'### {title}\n')
        for n, (tex, label) in enumerate(eqs, 1):
            code = [f'[`{name}`]({q.name}#{name.lower()}) in `{f.relative_to(cfg.config_path)}`, line {line}' for q,f,name,line in computing(label, modules)]
            print(f'::: {{.equation-entry}}\n$$\n{tex.strip()}\n$$\n')
            print(f'[Equation {n} of {title}]({p.name}#{label})' + (f' · computed by {"; ".join(code)}' if code else '') + '\n:::\n')
