"""Whatever is handed in, the answer is a result or one `InputError` line: never another exception, never a hang. Some thousand cases by default; LLMCFSR_FUZZ
multiplies them:

    LLMCFSR_FUZZ=20 pytest tests/test_robust_fuzz.py

Cases are drawn by hypothesis, the same ones in every run; each has ten seconds.
"""
import contextlib, copy, io, json, os, shutil, signal
from datetime import timedelta
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from llmcfsr.cli import main
from llmcfsr.core import InputError, read_json
from llmcfsr.datasets import Dataset, from_frames, load_dataset, save_dataset
from llmcfsr.evaluate import RankTable
from llmcfsr.experiment import load_run, read_runs, run
from llmcfsr.itemtable import ItemTable
from llmcfsr.planted import planted_world
from llmcfsr.recommender import Options, Recommender, make_options

TIMES = float(os.environ.get('LLMCFSR_FUZZ', 1))
COUNT = {}
WORLD = planted_world(seed=5, topics=2, users=12, head=3, tail=4); SHOP = Dataset('shop', WORLD.interactions, WORLD.catalog); KNOWN = [str(i) for i in SHOP.interactions.items[1:]]

def fuzz(n):
    "n cases of a test, times LLMCFSR_FUZZ"
    return settings(max_examples=max(1, int(n*TIMES)), deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

class Hang(BaseException): "a case that does not end"
@contextlib.contextmanager
def in_time(seconds=10):
    "Ends a case that takes longer than its time"
    def late(*_): raise Hang
    old = signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, seconds)
    try: yield
    finally: signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, old)

def answers(f, *args, **kwargs):
    "A result, or None for an `InputError` of one line"
    name = os.environ.get('PYTEST_CURRENT_TEST', '').split('::')[-1].split(' ')[0]; COUNT[name] = COUNT.get(name, 0)+1
    with in_time():
        try: return f(*args, **kwargs)
        except InputError as e: assert str(e).strip(); return None

def commanded(*argv):
    "Exit code 0, or 2 and one line"
    out,err = io.StringIO(),io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: code = answers(main, list(argv))
        except SystemExit as e: code = e.code
    assert code in (0, 2), (argv, code); assert code == 0 or err.getvalue().count('\n') == 1 and 'Traceback' not in err.getvalue(), (argv, err.getvalue())
    return code

texts = st.text(max_size=12) | st.sampled_from(['', ' ', '\0', '\ud800', '\u202e', '\n', '\ufeff', 'nan', 'None', '-1', 'é'*50, *KNOWN[:3]])
scalars = texts | st.integers() | st.integers(-2**70, 2**70) | st.floats() | st.none() | st.booleans() | st.binary(max_size=5)
anything = st.recursive(scalars, lambda x: st.lists(x, max_size=4) | st.dictionaries(texts, x, max_size=3) | st.tuples(x, x), max_leaves=8)
known = st.sampled_from(KNOWN)
histories = anything | st.lists(st.lists(known, max_size=20), max_size=4) | st.lists(st.lists(known | scalars, max_size=5), max_size=3)

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    d = tmp_path_factory.mktemp('fuzz'); small = dict(encoder='tfidf', dim=4, blocks=1, epochs=1, max_len=6); rec = Recommender(model='llm-cfsr', **small).fit(SHOP); rec.save_pretrained(d/'model'); run(SHOP, Options(model='pop'), d/'run', source='shop'); save_dataset(SHOP, d/'shop')
    E = np.ones((len(KNOWN)+1, 3), 'f4'); E[0] = 0; ItemTable(E, {}, SHOP.interactions.items).save(d/'table.safetensors'); yield d,rec
    if TIMES > 1: print('\n', json.dumps(COUNT), sum(COUNT.values()))

@fuzz(1200)
@given(h=histories, k=st.integers(-3, 50) | scalars, seen=st.booleans())
def test_histories(made, h, k, seen):
    top = answers(made[1].recommend, h, k=k, exclude_seen=seen)
    if top is not None: assert set(top['item']) <= set(KNOWN) and np.isfinite(top['score']).all()

@fuzz(400)
@given(h=histories)
def test_scores_and_states(made, h):
    for f in (made[1].scores, made[1].states):
        y = answers(f, h)
        if y is not None: assert np.isfinite(y).all()

columns = st.lists(scalars, max_size=8) | st.lists(texts, min_size=4, max_size=8) | st.lists(st.integers(-2**64, 2**64) | st.floats(), max_size=8) | st.lists(known, max_size=8) | st.lists(st.datetimes() | st.none(), max_size=8)
@fuzz(500)
@given(user=columns, item=columns, time=columns | st.none(), names=st.sampled_from([('user', 'item', 'time'), ('user', 'item', 'when'), ('u', 'item', 'time'), ('user', 'user', 'time')]), attrs=columns | st.none())
def test_frames(user, item, time, names, attrs):
    n = min(len(user), len(item), len(time) if time is not None else 99); columns_ = dict(zip(names, (user[:n], item[:n], *(() if time is None else (time[:n],)))))
    try: frame = pd.DataFrame(columns_); goods = None if attrs is None else pd.DataFrame(dict(item_id=attrs, title=attrs))
    except (ValueError, OverflowError, TypeError): return                # pandas itself will have none of it
    d = answers(from_frames, frame, goods, missing_text='empty', unseen_items='keep')
    if d is not None: assert len(d.interactions.item) == n and d.interactions.item.min() >= 1

@fuzz(500)
@given(raw=st.binary(max_size=60) | texts.map(lambda t: t.encode('utf-8', 'surrogatepass')) | st.lists(st.lists(texts | st.integers().map(str), min_size=1, max_size=4).map(' '.join), max_size=6).map(lambda l: '\n'.join(l).encode('utf-8', 'surrogatepass')), attrs=st.none() | st.binary(max_size=60) | st.lists(anything.map(lambda x: json.dumps(x, default=str)) | st.fixed_dictionaries(dict(item_id=texts | known, title=anything)).map(lambda x: json.dumps(x, default=str)), max_size=4).map(lambda l: '\n'.join(l).encode('utf-8', 'surrogatepass')))
def test_folders(tmp_path_factory, raw, attrs):
    d = tmp_path_factory.getbasetemp()/'folder'; shutil.rmtree(d, ignore_errors=True); d.mkdir(); (d/'inter.txt').write_bytes(raw)
    if attrs is not None: (d/'item_attributes.jsonl').write_bytes(attrs)
    code = commanded('data', str(d), '--json', '--missing-text', 'empty', '--unseen-items', 'drop'); assert code in (0, 2)

FIELDS = [f for f in Options.__dataclass_fields__]
@fuzz(800)
@given(o=st.dictionaries(st.sampled_from(FIELDS) | texts, anything | st.sampled_from(['cpu', 'cuda', 'cuda:9', 'sasrec', 'softmax']), max_size=4))
def test_options(o):
    try: made_ = answers(make_options, **o)
    except TypeError as e: assert 'keywords must be strings' in str(e)
    else: assert made_ is None or json.dumps(made_.fuse)

flags = st.sampled_from(['--model', '--epochs', '--dim', '--heads', '--device', '--loss', '--fuse', '--seed', '--dropout', '--lr', '--json', '--resume', '-k', '--history', '--help', '--version', '--out', '--metric', '--data', '--encoder', '--max-len', '--negatives', '--view'])
words = flags | texts | st.integers().map(str) | st.floats().map(str) | st.sampled_from(['planted', 'nowhere', 'pop', 'sasrec', 'RUN', 'SHOP', 'cuda', 'NDCG@10', 'HR@0', 'nan', 'inf', '-1'])
@fuzz(500)
@given(command=st.sampled_from(['recommend', 'compare', 'evaluate', 'data', 'embed', 'judge', 'fit', 'nosuch', '']), more=st.lists(words, max_size=6))
def test_command_lines(made, command, more, tmp_path_factory):
    "Commands that would really train are refused something they need, so that a case stays short"
    d = made[0]; put = lambda w: dict(RUN=str(d/'run'), SHOP=str(d/'shop')).get(w, w); argv = [command, *map(put, more)]
    if command in ('fit', 'embed', 'judge'): argv += ['--no-such-flag'] if 'planted' in more or 'SHOP' in more else []
    old = os.getcwd(); os.chdir(tmp_path_factory.getbasetemp())
    try: commanded(*[w for w in argv if '\0' not in w])
    finally: os.chdir(old)

@fuzz(300)
@given(history=texts | st.lists(known | texts, max_size=6).map(','.join), k=st.integers(-5, 10**20).map(str) | texts)
def test_recommend_command(made, history, k): commanded('recommend', str(made[0]/'run'), f'--history={history}', f'-k={k}', '--json')

def nodes(x, path=()):
    yield path
    for k,v in x.items() if isinstance(x, dict) else enumerate(x[:3]) if isinstance(x, list) else (): yield from nodes(v, (*path, k))
def changed(x, path, v):
    if not path: return v
    x = copy.copy(x); x[path[0]] = changed(x[path[0]], path[1:], v); return x

@fuzz(600)
@given(data=st.data())
def test_json_files(made, data, tmp_path_factory):
    "One place of a JSON file holds something else"
    d = tmp_path_factory.getbasetemp()/'json'; name,top,read = data.draw(st.sampled_from([('model/config.json', 'model', Recommender.from_pretrained), ('model/items.json', 'model', Recommender.from_pretrained), ('model/labels.json', 'model', Recommender.from_pretrained), ('run/config.json', 'run', load_run), ('run/metrics.json', 'run', lambda p: read_runs([p]))]))
    shutil.rmtree(d, ignore_errors=True); shutil.copytree(made[0]/top, d/top); note = read_json(d/name); note = {k:v for k,v in note.items() if k != 'print' or data.draw(st.booleans())} if isinstance(note, dict) else note
    place = data.draw(st.sampled_from(list(nodes(note)))); value = data.draw(anything)
    try: (d/name).write_text(json.dumps(changed(note, place, value), default=str), encoding='utf-8', errors='surrogatepass')
    except (TypeError, ValueError): return
    answers(read, d/top)

FILES = {'model/model.safetensors':('model', Recommender.from_pretrained), 'model/config.json':('model', Recommender.from_pretrained), 'model/items.json':('model', Recommender.from_pretrained), 'table.safetensors':('table.safetensors', ItemTable.load), 'run/ranks.parquet':('run/ranks.parquet', RankTable.load), 'run/config.json':('run', load_run), 'shop/inter.txt':('shop', load_dataset), 'shop/item_attributes.jsonl':('shop', load_dataset)}
@fuzz(900)
@given(name=st.sampled_from(list(FILES)), where=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=9), st.integers(0, 9)), min_size=1, max_size=4), kept=st.floats(.0, 1.) | st.just(1.))
def test_bytes(made, name, where, kept, tmp_path_factory):
    "Bytes are put in, taken out and cut off"
    top,read = FILES[name]; d = tmp_path_factory.getbasetemp()/'bytes'; shutil.rmtree(d, ignore_errors=True); d.mkdir(); shutil.copytree(made[0]/top, d/top) if (made[0]/top).is_dir() else ((d/top).parent.mkdir(exist_ok=True), shutil.copy(made[0]/top, d/top))
    raw = bytearray((d/name).read_bytes())
    for at,put,gone in where: a = int(at*len(raw)); raw[a:a+gone] = put
    (d/name).write_bytes(raw[:int(kept*len(raw))]); answers(read, d/top)
