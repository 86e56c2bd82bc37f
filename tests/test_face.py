"What a person or a script meets first: help that works when typed, errors, completion, pipes, figures, logs"
import importlib.util, json, logging, os, re, shlex, shutil, subprocess, sys
from pathlib import Path
import pytest
from llmcfsr.cli import CODES, EXTRAS, PAGES, main, parser

ROOT = Path(__file__).resolve().parents[1]
WAITS = ('serve',)                                                              # does not end by itself; its examples are parsed here and run by test_serve.py
ABSENT = ('my-shop', 'ml-100k')                                 # data that is not there
def feasible(line): return not any(w in line for w in ABSENT) and line != 'llmcfsr demo' and line.split()[1] not in WAITS

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder in which the examples are typed one after the other"
    d = tmp_path_factory.mktemp('face'); old,cache = os.getcwd(),os.environ.get('LLMCFSR_CACHE'); os.chdir(d); os.environ['LLMCFSR_CACHE'] = str(d/'cache')
    (d/'new-items.jsonl').write_text('{"item_id": "new-1", "title": "Triploudrou Loutre", "brand": "Dreto"}\n{"item_id": "new-2", "title": "Foubivu Gaibigi"}\n')
    yield d
    os.chdir(old); os.environ.pop('LLMCFSR_CACHE'); os.environ.update({} if cache is None else dict(LLMCFSR_CACHE=cache))

def prepare(line):
    "The runs a line speaks of, where no earlier test of this process left them"
    for fit in (e for e in PAGES['fit'].examples if feasible(e) and e != line):
        out = fit.split('--out ')[1].split()[0]
        if out in line.split() and not Path(out).exists(): assert main(shlex.split(fit)[1:]) in (0, None)

def typed(line, capsys):
    if Path.cwd().name.startswith('face'): prepare(line)
    capsys.readouterr()
    try: code = main(shlex.split(line)[1:])
    except SystemExit as e: code = e.code
    out,err = capsys.readouterr(); return code,out,err

@pytest.mark.parametrize('name', PAGES)
def test_help(name, capsys):
    code,out,err = typed(f'llmcfsr {name} --help', capsys); assert (code, err) == (0, '') and CODES in out and PAGES[name].purpose.rstrip('?')[1:] in out.replace('\n', ' ')
    assert all(e in out for e in PAGES[name].examples) and any(map(feasible, PAGES[name].examples)) or name in WAITS
    for flag,text in re.findall(r'^  (-\S+)[^\n]*?(?:  +|\n +)(\S[^\n]*)$', out, re.M): assert text, flag
    for e in PAGES[name].examples: parser(name).parse_args(shlex.split(e)[1:])

def test_the_whole(capsys):
    code,out,err = typed('llmcfsr --help', capsys); assert code == 0 and all(f'    {n} ' in out or f'    {n}\n' in out for n in PAGES) and CODES in out
    code,out,err = typed('llmcfsr', capsys); assert code == 2 and 'COMMAND' in out

LINES = [e for p in sorted(PAGES, key=['demo', 'data', 'embed', 'judge', 'fit', 'evaluate', 'recommend', 'similar', 'add', 'compare', 'serve', 'doctor'].index) for e in PAGES[p].examples if feasible(e)]

@pytest.mark.parametrize('line', LINES)
def test_examples(line, place, capsys):
    "The examples do what they say, and --json prints one object of the shape that the help tells"
    code,out,err = typed(line, capsys); assert code == 0 and out and 'Traceback' not in err, err
    if '--json' in line:
        told = json.loads(out); name = line.split()[1]; assert set(re.findall(r'\w+', PAGES[name].shape.partition(':')[0].partition('{')[2])) & {'out', 'name', 'run', 'history', 'item', 'metric', 'versions', 'added'} <= set(told) or name == 'doctor'
    if '--figures' in line: suffixes = line.split('--figures ')[1].split()[0].split(','); where = Path(line.split('--out ')[1].split()[0] if '--out' in line else line.split()[2]); assert all((where/f'by_{k}.{s}').stat().st_size > 1000 for k in ('popularity', 'length') for s in {'png', *suffixes})

@pytest.mark.parametrize('line,keys', [('data planted', {'name', 'users', 'items', 'interactions'}), ('evaluate runs/cfsr', {'run', 'metrics'}), ('recommend runs/cfsr --history i023 -k 2', {'history', 'user', 'skipped', 'items'}), ('similar runs/cfsr i023 -k 2', {'item', 'by', 'items'}),
    ('compare runs/cfsr runs/pop', {'metric', 'runs', 'differences', 'figures'}), ('doctor', {'versions', 'machine', 'threads', 'gpu', 'extras', 'cache', 'problems', 'compiled_loops', 'environment'})])
def test_json(line, keys, place, capsys):
    code,out,err = typed(f'llmcfsr {line} --json', capsys); told = json.loads(out); assert (code, out.count('\n')) == (0, 1) and (keys <= set(told) if line.startswith('data') else keys == set(told))
    if 'items' in keys and 'data' not in line: assert [set(i) for i in told['items']] == [{'rank', 'item', 'score', 'title'}]*2

@pytest.mark.parametrize('line', ['recommend runs/cfsr --history nobody-knows', 'recommend runs/cfsr', 'fit planted --out x --epochs many', 'fit nowhere --out x', 'similar runs/none i023', 'frobnicate', 'add runs/cfsr nothing.jsonl --out x', 'serve runs/none', 'serve runs/cfsr --threads 0', 'compare runs/cfsr runs/pop --figures gif', 'recommend runs/cfsr --history i023 --where brand=Nobody'])
def test_errors(line, place, capsys):
    "One line; with --json one object; never both, never a traceback, nothing left behind"
    code,out,err = typed(f'llmcfsr {line}', capsys); assert (code, out, err.count('\n')) == (2, '', 1) and err.startswith('llmcfsr: ')
    code,out,again = typed(f'llmcfsr {line} --json', capsys); told = json.loads(again); assert (code, out) == (2, '') and set(told) == {'error', 'kind', 'code'} and (told['kind'], told['code']) == ('input', 2) and told['error'] in err
    assert not Path('x').exists()

@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_completion(shell, capsys, tmp_path):
    pytest.importorskip('shtab', reason="completion is an extra: pip install 'llmcfsr[completion]'")
    code,out,err = typed(f'llmcfsr --print-completion {shell}', capsys); assert (code, err) == (0, '') and all(n in out for n in PAGES) and '--where' in out
    if shutil.which(shell) is None: pytest.skip(f'{shell} is not installed')
    (tmp_path/'script').write_text(out); assert subprocess.run([shell, '-n', str(tmp_path/'script')], capture_output=True).returncode == 0
    if shell == 'bash':
        ask = f'source {tmp_path}/script; COMP_WORDS=(llmcfsr recom); COMP_CWORD=1; $(complete -p llmcfsr | sed -E "s/.* -F ([^ ]+) .*/\\1/") llmcfsr recom llmcfsr; echo "${{COMPREPLY[@]}}"'
        assert subprocess.run(['bash', '-c', ask], capture_output=True, text=True).stdout.split() == ['recommend']

def run(*words, code=None, **env):
    "A command in a process of its own, its streams as pipes"
    return subprocess.run([sys.executable, *(['-c', code] if code else ['-m', 'llmcfsr']), *words], capture_output=True, cwd=ROOT, timeout=300, env={**{k:v for k,v in os.environ.items() if k != 'LLMCFSR_PROGRESS'}, 'PYTHONPATH':str(ROOT), **env})

def test_pipes(tmp_path):
    "No carriage return in a pipe, stdout is the answer alone, progress is lines on stderr; quiet is quiet; a module and a closed pipe do no harm"
    r = run('fit', 'planted', '--encoder', 'tfidf', '--epochs', '2', '--dim', '8', '--out', str(tmp_path/'run'), '--json', '-v', LLMCFSR_PROGRESS='0.001', LLMCFSR_CACHE=str(tmp_path)); assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout)['run'] == str(tmp_path/'run') and b'\r' not in r.stdout+r.stderr and re.search(rb'^train: +\d+% ', r.stderr, re.M) and b'llmcfsr: epoch 2 of at most 2' in r.stderr
    r = run('evaluate', str(tmp_path/'run'), '--quiet', LLMCFSR_PROGRESS='0.001', LLMCFSR_CACHE=str(tmp_path)); assert r.returncode == 0 and r.stderr == b'' and b'overall' in r.stdout and b'\r' not in r.stdout
    r = subprocess.run(f'{shlex.quote(sys.executable)} -m llmcfsr --help | head -1; exit ${{PIPESTATUS[0]}}', shell=True, executable=shutil.which('bash'), capture_output=True, text=True, cwd=ROOT, env={**os.environ, 'PYTHONPATH':str(ROOT)}); assert r.returncode == 0 and 'Traceback' not in r.stderr

def test_the_library_is_silent():
    "Without being asked, nothing is written to either stream"
    code = "from llmcfsr.recommender import Recommender; from llmcfsr.datasets import load_dataset; Recommender(model='sasrec', epochs=1, dim=8, blocks=1).fit(load_dataset('planted'))"
    r = run(code=code, LLMCFSR_PROGRESS='0'); assert (r.returncode, r.stdout, r.stderr) == (0, b'', b'')
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger('llmcfsr').handlers)

def test_a_fault(place, capsys, monkeypatch):
    def broken(a): raise RuntimeError('the moon\nis down')
    monkeypatch.setitem(main.__globals__, 'cmd_data', broken); monkeypatch.delenv('LLMCFSR_TRACEBACK', raising=False)
    code,out,err = typed('llmcfsr data planted', capsys); assert (code, out, err.count('\n')) == (1, '', 1) and 'set LLMCFSR_TRACEBACK=1 to see it' in err
    code,out,err = typed('llmcfsr data planted --json', capsys); assert (code, json.loads(err)['kind'], json.loads(err)['code']) == (1, 'fault', 1)
    monkeypatch.setenv('LLMCFSR_TRACEBACK', '1'); code,out,err = typed('llmcfsr data planted', capsys); assert code == 1 and 'in broken' in err

def test_doctor_finds_what_is_wrong(tmp_path, capsys, monkeypatch):
    (tmp_path/'file').write_text(''); monkeypatch.setenv('LLMCFSR_CACHE', str(tmp_path/'file'/'below')); code,out,err = typed('llmcfsr doctor --json', capsys); told = json.loads(out)
    assert code == 0 and told['cache']['writable'] is False and 'LLMCFSR_CACHE' in told['problems'][0] and set(told['extras']) == set(EXTRAS)
    assert told['extras']['serve'] == (importlib.util.find_spec('fastapi') is not None and importlib.util.find_spec('uvicorn') is not None)

def test_extras_of_the_doctor_are_those_of_the_package():
    from configparser import ConfigParser
    c = ConfigParser(delimiters=['=']); c.read(ROOT/'settings.ini', encoding='utf-8'); assert {k.removesuffix('_requirements') for k in c['DEFAULT'] if k.endswith('_requirements')} - {'dev'} == set(EXTRAS)

def test_figures_are_the_same_bytes(tmp_path):
    "In two processes with other hash seeds, at other times"
    code = '''
import sys, numpy as np
from llmcfsr.evaluate import RankTable
from llmcfsr.longtail import plot_by_popularity, save_figure
n = 300; p = np.random.default_rng(0).integers(0, 50, n)
def table(s): return RankTable(user=np.arange(n), target=np.arange(1, n+1), above=np.random.default_rng(s).integers(0, 40, n), tied=np.zeros(n, int), n_candidates=np.full(n, 90), history_length=np.full(n, 3), popularity=p, tail_item=p<9, tail_user=p<9)
fig = plot_by_popularity({'llm-cfsr':table(1), 'é & <pop>':table(2)})
for kind in ('svg', 'pdf', 'png'): save_figure(fig, f'{sys.argv[1]}.{kind}')
'''
    for n in '12': r = run(str(tmp_path/n), code=code, PYTHONHASHSEED=n, MPLBACKEND='agg'); assert r.returncode == 0, r.stderr
    for kind in ('svg', 'pdf', 'png'): assert (tmp_path/f'1.{kind}').read_bytes() == (tmp_path/f'2.{kind}').read_bytes(), kind
