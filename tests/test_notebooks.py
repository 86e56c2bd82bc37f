"""`pytest` is the one test command: every notebook is an item here, run top to bottom in a process of its own.

Cells flagged `#| slow` or `#| gpu` are left out; `NB_FLAGS='slow gpu' pytest` runs them as well. The notebooks of a session run
`NB_WORKERS` at a time (all cores unless told), each on one thread.
"""
import importlib, json, os, pkgutil, re, shutil, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
NBS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(q.startswith(('_','.')) for q in p.relative_to(ROOT).parts))
FLAGS = os.environ.get('NB_FLAGS', '')
WORKERS = int(os.environ.get('NB_WORKERS', 0)) or os.cpu_count() or 1
CODE = '''
import sys
from pathlib import Path
from nbdev.test import test_nb
from nbdev.config import get_config
flags = get_config().tst_flags
ok,seconds = test_nb(Path(sys.argv[1]), skip_flags=flags.split() if isinstance(flags, str) else flags,
                     force_flags=sys.argv[2].split(), basepath=sys.argv[3])
sys.exit(not ok)
'''

def run_notebook(path):
    "The cells of one notebook in a fresh process, as `nbdev_test` runs them, away from any network"
    quiet = dict(MPLBACKEND='agg', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', OMP_NUM_THREADS='1', LLMCFSR_PROGRESS='0')
    return subprocess.run([sys.executable, '-c', CODE, str(path), FLAGS, str(ROOT)], cwd=ROOT, env={**os.environ, **quiet},
                          capture_output=True, text=True, timeout=900)

@pytest.fixture(scope='module')
def runs(request):
    "The runs of the notebooks that this session asked for, a few at a time; where pytest itself shares tests among processes, each runs what it was given and nothing beyond"
    if 'PYTEST_XDIST_WORKER' in os.environ: yield None; return
    asked = [i.callspec.params['path'] for i in request.session.items if getattr(i, 'originalname', '')=='test_notebook' and i.fspath==request.node.fspath]
    pool = ThreadPoolExecutor(WORKERS)
    yield {p: pool.submit(run_notebook, p) for p in asked}
    pool.shutdown(cancel_futures=True)

@pytest.mark.parametrize('path', NBS, ids=lambda p: p.stem)
def test_notebook(path, runs):
    "The cells run without an error"
    r = run_notebook(path) if runs is None else runs[path].result()
    if r.returncode: pytest.fail(f'{path.name}\n{r.stdout[-2000:]}\n{re.sub(chr(27)+r".[0-9;]*m", "", r.stderr)[-6000:]}', pytrace=False)

@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "The notebooks, exported into an empty library and cleaned, in a folder of their own"
    d = tmp_path_factory.mktemp('fresh')/'p'
    shutil.copytree(ROOT/'nbs', d/'nbs', ignore=shutil.ignore_patterns('_*', '.*', '__pycache__'))
    for f in ('settings.ini', 'pyproject.toml', 'setup.py', 'llmcfsr/__init__.py'):
        (d/f).parent.mkdir(exist_ok=True); shutil.copy(ROOT/f, d/f)
    for m in ('nbdev.doclinks import nbdev_export', 'nbdev.clean import nbdev_clean'):
        code = f'import sys; sys.argv=["x"]; from {m} as f; f()'
        subprocess.run([sys.executable, '-c', code], cwd=d, check=True, capture_output=True, text=True)
    return d

def texts(d, pattern): return {p.relative_to(d).as_posix(): p.read_text() for p in sorted(d.rglob(pattern)) if '__pycache__' not in p.parts}
def differ(a, b): return [k for k in sorted({*a, *b}) if a.get(k)!=b.get(k)]

def test_no_drift(fresh):
    "llmcfsr/ is what an export of nbs/ writes, and nothing else"
    assert differ(texts(ROOT/'llmcfsr', '*.py'), texts(fresh/'llmcfsr', '*.py'))==[], 'run nbdev_export'

def test_clean(fresh):
    "Notebooks carry no stray metadata"
    theirs = texts(fresh/'nbs', '*.ipynb')
    assert differ({k: v for k,v in texts(ROOT/'nbs', '*.ipynb').items() if k in theirs}, theirs)==[], 'run nbdev_clean'

@pytest.mark.parametrize('path', NBS, ids=lambda p: p.stem)
def test_stored_outputs(path):
    "A notebook is stored as it ran: outputs where it prints or draws, no error, light, and no path of somebody's machine"
    cells = json.loads(path.read_text())['cells']
    outputs = [o for c in cells for o in c.get('outputs', [])]
    assert not [o for o in outputs if o['output_type']=='error']
    said = json.dumps([o for o in outputs if 'data' not in o or 'image/png' not in o['data']])
    assert not (found := re.findall(r'/(?:home|root|tmp|work|Users)/[^\s"\\]+|0x[0-9a-f]{8,}', said)), f'not the same on every machine: {found}'
    assert path.stat().st_size < 500_000, 'keep figures small: a notebook stays under 500 kB'
    draws = [c for c in cells if c['cell_type']=='code' and 'plt.show()' in ''.join(c['source']) and '#| eval: false' not in ''.join(c['source'])]
    assert all(c['outputs'] for c in draws), 'run tools/run_nbs.py'

MODULES = ['llmcfsr']+[m.name for m in pkgutil.walk_packages([str(ROOT/'llmcfsr')], 'llmcfsr.')]
@pytest.mark.parametrize('name', MODULES)
def test_import(name):
    "Every module imports, and holds what it says it holds"
    mod = importlib.import_module(name)
    assert [o for o in getattr(mod, '__all__', []) if not hasattr(mod, o)]==[]
