"Invariants of reading, splitting and drawing, on generated and, where they are at hand, on real data"
import hashlib, json, os, string
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st, HealthCheck
from llmcfsr.core import InputError
from llmcfsr.datasets import Dataset, from_frames, load_dataset, save_dataset
from llmcfsr.interactions import index_ids, k_core, min_count
from llmcfsr.split import cases, draw_candidates, head_tail, in_training, leave_one_out, popularity

ROOT = Path(__file__).resolve().parents[1]
GOLDEN,DATA = Path(os.environ.get('LLMCFSR_GOLDEN', ROOT.parent/'shared/golden')), Path(os.environ.get('LLMCFSR_DATA', ROOT.parent/'shared/data'))
FOLDERS = sorted(p.parent for p in DATA.glob('*/inter.txt'))

ids = st.text(st.characters(blacklist_categories=('Cs', 'Cc', 'Zs', 'Zl', 'Zp')), min_size=1, max_size=5).filter(lambda s: s.split() == [s])
events = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30), st.integers(0, 20)), min_size=3, max_size=120)
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def frame(rows): return pd.DataFrame([(f'u{u}', f'i{i}', t) for u,i,t in rows], columns=['user', 'item', 'time'])

@few
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=40))
def test_folder_round_trip(tmp_path_factory, pairs):
    "Ids come back to the letter, each history in its order"
    inter = index_ids(pd.DataFrame([(u, i, n) for n,(u,i) in enumerate(pairs)], columns=['user', 'item', 'time']))
    folder = tmp_path_factory.mktemp('d')/'shop'; save_dataset(Dataset('shop', inter), folder)
    try: again = load_dataset(folder).interactions
    except InputError as e: assert 'one item' in str(e) or 'nobody' in str(e); return
    told = lambda d: {d.users[u]:[d.items[i] for i in d.history(u)] for u in range(d.n_users)}
    assert told(again) == told(inter) and list(again.users) == list(inter.users)

lines = st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b'a b', b'a b 1', b'a b -1', b'a\tc 2', b'\r', b'\xef\xbb\xbfa b', b'a b 99999999999999999999', b'a b 1e9', b'\x00 \x00 0'])), max_size=6).map(b'\n'.join)
@few
@given(lines)
def test_any_bytes_as_interactions(tmp_path_factory, content):
    "Whatever lies in inter.txt is read or answered with one line that names the file"
    folder = tmp_path_factory.mktemp('d'); (folder/'inter.txt').write_bytes(content)
    try: d = load_dataset(folder)
    except InputError as e: assert '\n' not in str(e); return
    assert d.interactions.lengths.max() >= 3

objects = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), lambda x: st.lists(x, max_size=2) | st.dictionaries(st.sampled_from(['item_id', 'title', 'x']), x, max_size=3), max_leaves=5)
texts = st.lists(st.one_of(st.binary(max_size=12), objects.map(lambda o: json.dumps(o).encode()), st.sampled_from('ab').map(lambda k: json.dumps({'item_id':k, 'title':'Tea'}).encode())), max_size=4).map(b'\n'.join)
@few
@given(texts, st.sampled_from(['error', 'keep']))
def test_any_bytes_as_text(tmp_path_factory, content, unseen):
    "The same for item_attributes.jsonl; what is read can be written and read again"
    folder = tmp_path_factory.mktemp('d'); (folder/'inter.txt').write_text('u a\nu b\nu a\n'); (folder/'item_attributes.jsonl').write_bytes(content)
    try: d = load_dataset(folder, unseen_items=unseen)
    except InputError as e: assert '\n' not in str(e); return
    assert d.catalog.n_items == d.interactions.n_items >= 2
    if all(k.split() == [k] for k in d.interactions.items[1:]):
        save_dataset(d, folder/'again'); assert load_dataset(folder/'again', unseen_items=unseen).fingerprint == d.fingerprint

@few
@given(events)
def test_split_parts(rows):
    "Training, validation and test of a user are the sorted history, in this order, nothing twice and nothing lost"
    f = frame(rows); inter = index_ids(f)
    try: split = leave_one_out(inter)
    except InputError: assert inter.lengths.max() < 3; return
    valid,test = cases(split, 'valid'),cases(split, 'test'); train = in_training(split)
    for u,name in enumerate(inter.users):
        mine = f[f.user == name].sort_values('time', kind='stable').item.tolist(); part = slice(inter.start[u], inter.start[u+1])
        assert [inter.items[i] for i in inter.history(u)] == mine
        assert train[part].sum() == len(mine)-(2 if len(mine) >= 3 else 0)
    for n,u in enumerate(test.user):
        h = inter.history(u); assert (np.append(test.history(n), test.target[n]) == h).all() and (np.append(valid.history(n), valid.target[n]) == h[:-1]).all()
    assert popularity(split).sum() == train.sum()

@few
@given(events, st.integers(1, 5))
def test_candidates(rows, k):
    "Different items, none of the user's whole sequence, the same on every call"
    try: split = leave_one_out(index_ids(frame(rows))); c = draw_candidates(split, 'test', k)
    except InputError: return
    assert c.negative.shape == (len(c.cases), min(k, min(split.inter.n_items-len(set(split.inter.history(u))) for u in c.cases.user)))
    for u,row in zip(c.cases.user, c.negative.tolist()):
        assert len(set(row)) == len(row) and not set(row) & set(split.inter.history(u).tolist()) and all(1 <= i <= split.inter.n_items for i in row)
    assert draw_candidates(split, 'test', k).print == c.print

@few
@given(events, st.integers(1, 4), st.integers(1, 4))
def test_cores(rows, user, item):
    "A core is its own core, and lies within one pass"
    f = frame(rows); core = k_core(f, user, item)
    assert k_core(core, user, item).equals(core)
    if len(core): assert core.user.value_counts().min() >= user and core.item.value_counts().min() >= item
    assert len(core.merge(min_count(f, user, item), how='inner', on=['user', 'item', 'time']).drop_duplicates()) == len(core.drop_duplicates())

@few
@given(events)
def test_head_is_monotone(rows):
    "No tail item is more popular than a head item, and at least a fifth of the items is head unless they are cold"
    try: g = head_tail(leave_one_out(index_ids(frame(rows))))
    except InputError: return
    pop,tail = g.popularity[1:],g.tail_item[1:]
    if tail.any() and (~tail).any(): assert pop[tail].max() < pop[~tail].min()
    assert (~tail).sum() >= min(np.ceil(.2*len(pop)-1e-9), (pop > 0).sum())

@pytest.mark.skipif(not FOLDERS, reason='no real data at hand (set LLMCFSR_DATA to a folder of data sets)')
@pytest.mark.parametrize('folder', FOLDERS, ids=lambda p: p.name)
def test_real_data(folder):
    d = load_dataset(folder); i = d.interactions
    lines = (folder/'inter.txt').read_text().splitlines()
    assert len(i.item) == len(lines) and i.n_users == len({l.split()[0] for l in lines}) and i.n_items == len({l.split()[1] for l in lines})
    if d.catalog is not None: assert d.catalog.n_items == i.n_items and all(d.catalog.attrs[1:])

def digest(counts): return hashlib.sha256(np.asarray(counts, '<i8').tobytes()).hexdigest()

SPLITS = sorted(GOLDEN.glob('splits_*.json'))
@pytest.mark.skipif(not SPLITS, reason='no golden fixtures at hand (set LLMCFSR_GOLDEN to their folder)')
@pytest.mark.parametrize('path', SPLITS, ids=lambda p: p.stem)
def test_golden_splits(path):
    "Counts, split and popularity of the authors' files are those of the released loader"
    want = json.loads(path.read_text()); file = DATA/f"llmesr_{path.stem.removeprefix('splits_')}_ids/inter.txt"
    if not file.exists(): pytest.skip(f'{file.parent.name} is not at hand')
    assert hashlib.sha256(file.read_bytes()).hexdigest() == want['file_sha256']
    i = load_dataset(file.parent).interactions; split = leave_one_out(i); r = want['results']; test = cases(split, 'test')
    assert (i.n_users, i.n_items, len(i.item), i.lengths.min(), i.lengths.max()) == tuple(r[k] for k in ('users', 'items', 'interactions', 'min_length', 'max_length'))
    source = np.array([0]+[int(k) for k in i.items[1:]]); counts = np.zeros(i.n_items+1, np.int64); counts[source] = popularity(split)
    c = r['count_checksums']['train']; assert digest(counts) == c['sha256'] and counts.sum() == c['sum'] and (counts[1:] == 0).sum() == c['items_with_zero']
    g = head_tail(split, item_threshold=want['hyper_parameters']['ts_item'], user_threshold=want['hyper_parameters']['ts_user'])
    user,item = g.tail_user[test.user],g.tail_item[test.target]
    assert {f"{'tail' if u else 'head'} user x {'tail' if t else 'head'} item":int(((user == u) & (item == t)).sum()) for u in (True, False) for t in (True, False)} == r['cells']['train only']
    assert user.sum() == r['tail_users'] and item.sum() == r['tail_test_targets']['train'] and g.tail_item.sum() == r['tail_items_in_catalogue']['train']
    assert (g.popularity[test.target] == 0).sum() == r['unseen']['test_targets_never_in_train']
