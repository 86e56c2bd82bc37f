"The mechanical part of the style, so that no reviewer has to repeat it; what needs judgement is left to people."
import ast, functools, json, re
from pathlib import Path
import pytest

NBS = sorted((Path(__file__).resolve().parents[1]/'nbs').glob('[0-9]*.ipynb'))
EXPORT = re.compile(r'^#\|\s*export', re.M)
EQUATION = re.compile(r'\{#(eq-[\w-]+)\}')
CHECK = re.compile(r'\b(assert|test_\w+\(|expect_fail\(|check_\w+\()')

@functools.cache
def cells(path): return [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text())['cells']]
def code(path): return [s for kind,s in cells(path) if kind=='code']
def exported(path): return [s for s in code(path) if EXPORT.search(s)]
def module(path): return next((m[1] for s in code(path) if (m := re.search(r'^#\|\s*default_exp\s+(\S+)', s, re.M))), None)
@functools.cache
def parse(source): return ast.parse(re.sub(r'^\s*[%!].*$', '', source, flags=re.M))
CHAPTER = {module(p): int(p.stem[:2]) for p in NBS if module(p)}   # module -> the number of its notebook

def imported(sources):
    "The llmcfsr modules that some code imports"
    names = set()
    for n in (n for s in sources for n in ast.walk(parse(s))):
        if isinstance(n, ast.Import): names |= {a.name for a in n.names}
        if isinstance(n, ast.ImportFrom) and n.module: names |= {n.module, *(f'{n.module}.{a.name}' for a in n.names)}
    return {m for m in (n.removeprefix('llmcfsr.') for n in names if n.startswith('llmcfsr.')) if m in CHAPTER}

@functools.cache
def behind(mod):
    "Everything that importing a module brings along"
    direct = imported(exported(next(p for p in NBS if module(p)==mod)))
    return direct.union(*(behind(m) for m in direct if CHAPTER[m] < CHAPTER[mod]))

def documented(fn):
    "A callable of two parameters or more has each on a line of its own, with a comment"
    args = [a for a in fn.args.posonlyargs+fn.args.args+fn.args.kwonlyargs if a.arg not in ('self', 'cls')]
    return len(args) < 2 or (len({a.lineno for a in args})==len(args) and all('#' in fn.lines[a.lineno-1][a.col_offset:] for a in args))

def public(source):
    "The functions, classes and methods that a cell shows to the world"
    todo, lines = parse(source).body, source.split('\n')
    for n in todo:
        if isinstance(n, ast.ClassDef) and not n.name.startswith('_'): todo = todo+n.body; yield n
    for n in todo:
        if isinstance(n, ast.FunctionDef) and (n.name=='__init__' or not n.name.startswith('_')): n.lines = lines; yield n

each = pytest.mark.parametrize('path', NBS, ids=lambda p: p.stem)

@each
def test_import_direction(path):
    "A chapter builds on earlier ones only"
    here = int(path.stem[:2])
    assert [m for m in imported(code(path)) if CHAPTER[m] > here or (CHAPTER[m]==here and m!=module(path))]==[]

@each
def test_imports_apart(path):
    "A cell that imports does nothing else but set the environment, the path and logging: nbdev runs such cells alone when it stages the site"
    def idle(n): return isinstance(n, (ast.Import, ast.ImportFrom)) or ast.unparse(n).startswith(('os.environ', 'logging.', 'sys.path.append'))
    mixed = [s for s in code(path) if not EXPORT.search(s) and '#| eval: false' not in s and any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(parse(s)))]
    assert [s.strip().split('\n')[0] for s in mixed if not all(map(idle, parse(s).body))]==[]

@pytest.mark.parametrize('mod', CHAPTER)
def test_fire_doors(mod):
    "Text and model meet in one array; training is handed its validation; evaluation sees scores, not networks"
    decade, reached = CHAPTER[mod]//10, {m: CHAPTER[m]//10 for m in behind(mod)}
    if decade==2: assert [m for m,d in reached.items() if d==1]==[]
    if mod=='train': assert not {'model', 'evaluate'} & {*reached}
    if decade==4: assert [m for m,d in reached.items() if d in (2, 3)]==[]

@each
def test_cell_size(path):
    "An exported cell holds one concept: 45 lines at most"
    size = {s.split('\n', 2)[1]: len([l for l in s.strip().split('\n') if not l.startswith('#|')]) for s in exported(path)}
    assert {k: n for k,n in size.items() if n > 45}=={}

@each
def test_documented(path):
    "Every public definition says what it is, and what its parameters are"
    defs = [n for s in exported(path) for n in public(s)]
    assert [n.name for n in defs if n.name not in ('__init__', 'forward') and not ast.get_docstring(n)]==[]
    assert [f'{n.name} line {n.lineno}' for n in defs if isinstance(n, ast.FunctionDef) and not documented(n)]==[]

EQUATIONS = [(p, e) for p in NBS for kind,s in cells(p) if kind=='markdown' for e in EQUATION.findall(s)]
@pytest.mark.parametrize('path,label', EQUATIONS, ids=lambda o: o if isinstance(o, str) else o.stem)
def test_equation_is_code(path, label):
    "A numbered equation is unique, named by the docstring of an exported definition, and followed by a check"
    assert [e for _,e in EQUATIONS].count(label)==1
    def names(s): return any(re.search(rf'@{label}(?![\w-])', ast.get_docstring(n) or '') for n in ast.walk(parse(s)) if isinstance(n, (ast.FunctionDef, ast.ClassDef)))
    after = [code(p)[i+1:] for p in NBS for i,s in enumerate(code(p)) if EXPORT.search(s) and names(s)]
    assert after, 'no exported docstring names it'
    assert any(CHECK.search(s) for rest in after for s in rest if not EXPORT.search(s)), 'no check follows'

@each
def test_references_are_no_links(path):
    "The site makes a link of @eq-, so what stands in brackets with an address behind it comes out as brackets"
    assert [m[0] for kind,s in cells(path) if kind=='markdown' for m in re.finditer(r'\[@(?:eq|fig|tbl|sec)-[^\]]*\]\([^)]*\)', s)]==[]

def test_stories_export_nothing():
    "The notebooks from the seventh decade on tell; they define nothing"
    assert [p.name for p in NBS if p.stem[0] in '789' and (module(p) or exported(p))]==[]
