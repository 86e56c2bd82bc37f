"""What a reader of results leans on. Where a promise is tested elsewhere, the place is named:

(a) nothing hears the future             here; inside the network tests/test_properties.py::test_no_position_hears_the_future, ::test_a_mask_hides_its_item
(b) exact resume                         here, at every step; by a killed process tests/test_training.py, tests/test_robust_kills.py; of tuning tests/test_tuning_processes.py::test_killed_and_resumed
(c) two processes are one                here, of evaluation; of tuning and embedding tests/test_tuning_processes.py
(d) damaged vector files                 tests/test_robust_files.py::test_every_flipped_bit, ::test_torn, ::test_wrong_content
(e) nothing that is handed in is run     tests/test_robust_files.py::test_nothing_is_run
(f) a download with a wrong hash         here
(g) embedding that is killed             here; of exported tables nbs/15_itemtable.ipynb and tests/test_tuning_processes.py
(h) padding and unknown ids              here
(i) users shorter than three             here; tests/test_bad_input.py::test_short_users_train_and_are_not_ranked
(j) ties                                 here
(k) sampled is full with all negatives   here
(l) ONNX is torch                        tests/test_export.py
(m) files of old versions                tests/test_old_files.py
"""
import functools, os, signal, socket, time
import numpy as np, pandas as pd, pytest, torch
from safetensors.torch import load_file
from llmcfsr import train
from llmcfsr.core import InputError
from llmcfsr.datasets import Dataset, from_frames
from llmcfsr.evaluate import rank_cases, user_values
from llmcfsr.model import LEVELS
from llmcfsr.planted import planted_world
from llmcfsr.recommender import Recommender
from llmcfsr.split import cases, draw_candidates, head_tail, leave_one_out

SMALL = dict(encoder='tfidf', dim=8, blocks=1, epochs=3, batch_size=16, max_len=12, dropout=.3, seed=1)
SYSTEMS = [(m, b) for m in ('llm-cfsr', 'llm-esr', 'llm-init') for b in ('sasrec', 'gru4rec', 'bert4rec')]+[(m, 'sasrec') for m in ('sasrec', 'gru4rec', 'bert4rec')]
every = pytest.mark.parametrize('model,backbone', SYSTEMS)

@functools.cache
def shop(users=60):
    w = planted_world(seed=3, topics=3, users=users, head=3, tail=5); return Dataset('shop', w.interactions, w.catalog)
@functools.cache
def trained(model, backbone): return Recommender(model=model, backbone=backbone, **(dict(fuse=LEVELS) if model=='llm-cfsr' else {}), **{**SMALL, 'epochs':1}).fit(shop())

@every
def test_a_nothing_hears_the_future(model, backbone):
    "Items after t are exchanged: states up to t stay, to the bit, and t+1 moves; in one pass through the network too, where it is causal"
    rec = trained(model, backbone); h = rec.items[:6]; g = np.random.default_rng(0)
    states = rec.states([h])[0]; assert states.shape[0] == 6
    for t in range(1, 6):
        changed = h[:t]+[rec.items[i] for i in g.permutation(np.arange(8, 20))[:6-t]]
        other = rec.states([changed])[0]; assert (other[:t] == states[:t]).all() and (other[t:] != states[t:]).any(1).all()
        prefix = rec.scores([h[:t]]); assert (rec.scores([changed[:t]]) == prefix).all()
        if rec.model.causal:
            with torch.no_grad():
                items = rec.model.items(); real = torch.ones(1, 6, dtype=torch.bool)
                one,two = (rec.model.states(items, torch.from_numpy(rec.rows([x])[0]).long()[None], real).cat() for x in (h, changed)); assert torch.equal(one[:,:t], two[:,:t]) and not torch.equal(one[:,t:], two[:,t:])

class Off(BaseException): "the plug is pulled"
def steps(monkeypatch, stop=None):
    "Takes note of what chance has in store at each step, and pulls the plug at step `stop`"
    seen,real = [],train.train_step
    def step(model, batch, *args, **kwargs):
        if len(seen) == stop: raise Off
        seen.append((torch.get_rng_state().numpy().tobytes(), batch.history.numpy().tobytes(), batch.target.numpy().tobytes(), batch.negative.numpy().tobytes() if torch.is_tensor(batch.negative) else None)); return real(model, batch, *args, **kwargs)
    monkeypatch.setattr(train, 'train_step', step); return seen

def bare(records): return [{k:v for k,v in r.items() if k not in ('train_seconds', 'valid_seconds', 'peak_rss_mib')} for r in records]

@pytest.mark.parametrize('options', [dict(model='sasrec'), dict(model='bert4rec', loss='gbce', negatives=4), dict(model='gru4rec', loss='sampled', negatives=16), dict(model='llm-cfsr', weight_decay=.01), dict(model='llm-esr', backbone='gru4rec')], ids=lambda o: o['model'])
def test_b_resumed_is_unbroken(options, tmp_path, monkeypatch):
    "Stopped before any step, or between epochs, and resumed: weights, Adam's state, records and every random draw are those of the unbroken run, bit for bit"
    def go(folder, stop=None, **kwargs):
        with monkeypatch.context() as m:
            seen = steps(m, stop); rec = Recommender(**{**SMALL, **options})
            try: rec.fit(shop(), checkpoint=tmp_path/folder, **kwargs)
            except Off: return seen,None
        return seen,rec
    want,rec = go('whole'); tensors = load_file(tmp_path/'whole/epoch-3.safetensors'); n = len(want)//3; assert len(want) == 3*n and any(k.startswith('adam/') for k in tensors)
    for stop in range(len(want)) if options['model'] == 'sasrec' else (1, n, 2*n+1):
        seen,_ = go(f'at{stop}', stop); assert seen == want[:stop]
        again,other = go(f'at{stop}', resume=True); assert again == want[stop//n*n:]                       # an epoch that was broken off is made again
        assert bare(other.records) == bare(rec.records) and all(torch.equal(v, other.model.state_dict()[k]) for k,v in rec.model.state_dict().items())
        kept = load_file(tmp_path/f'at{stop}/epoch-3.safetensors'); assert kept.keys() == tensors.keys() and all(torch.equal(v, kept[k]) for k,v in tensors.items())
    def last(records):
        if len(records) == 2: raise Off
    with pytest.raises(Off): Recommender(**{**SMALL, **options}).fit(shop(), checkpoint=tmp_path/'between', on_epoch=last)
    again,other = go('between', resume=True); assert again == want[2*n:] and bare(other.records) == bare(rec.records)
    assert other.seconds['fit'] >= sum(r['train_seconds']+r['valid_seconds'] for r in other.records)       # the epochs before the stop took time as well

EVALUATE = '''
import json, os
from accelerate import PartialState
from llmcfsr.datasets import Dataset
from llmcfsr.experiment import evaluate
from llmcfsr.planted import planted_world
from llmcfsr.recommender import Recommender
import llmcfsr.evaluate
team = PartialState(cpu=True) if 'WORLD_SIZE' in os.environ else None
w = planted_world(seed=3, topics=3, users=2500, head=3, tail=40); shop = Dataset('shop', w.interactions, w.catalog); read = llmcfsr.evaluate._reader; rows = []
def counting(scorer, cases, at): rows.append(len(at)); return read(scorer, cases, at)
llmcfsr.evaluate._reader = counting
rec = Recommender.from_pretrained(argv[0]); out = evaluate(rec, shop, team); out['metrics'].pop('seconds')
me = team.process_index if team else 'alone'; out['full'].save(f'{argv[1]}/full-{me}', shop.interactions); out['sampled'].save(f'{argv[1]}/sampled-{me}', shop.interactions)
open(f'{argv[1]}/metrics-{me}', 'w').write(json.dumps(dict(out['metrics']))); open(f'{argv[1]}/read-{me}', 'w').write(str(sum(rows)))
if team: team.destroy_process_group()
'''

def test_c_two_processes_evaluate_as_one(tmp_path, forks):
    "The users are shared out; metrics and ranks of either process are those of one alone, byte for byte"
    w = planted_world(seed=3, topics=3, users=2500, head=3, tail=40); Recommender(model='gru4rec', **{**SMALL, 'epochs':1, 'batch_size':128}).fit(Dataset('shop', w.interactions, w.catalog)).save_pretrained(tmp_path/'m')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = str(s.getsockname()[1])
    for p in [forks.start(EVALUATE, tmp_path/'m', tmp_path, WORLD_SIZE='2', RANK=str(r), LOCAL_RANK=str(r), MASTER_ADDR='127.0.0.1', MASTER_PORT=port) for r in range(2)]+[forks.start(EVALUATE, tmp_path/'m', tmp_path)]: assert p.wait() == 0, p.said()[-3000:]
    for what in ('metrics', 'full', 'sampled'): a,b,c = ((tmp_path/f'{what}-{k}').read_bytes() for k in ('alone', 0, 1)); assert a == b == c
    read = {k:int((tmp_path/f'read-{k}').read_text()) for k in ('alone', 0, 1)}; assert read[0]+read[1] == read['alone'] == 5000 and min(read.values()) > 1000

def test_f_a_download_that_was_altered_leaves_nothing(tmp_path, monkeypatch):
    from llmcfsr import datasets
    wheel = tmp_path/'recbole.whl'; wheel.write_bytes(b'PK altered on the way'); home = tmp_path/'cache'/'ml-100k'
    def refused(into, timeout): raise OSError('no network')
    monkeypatch.setattr(datasets, '_from_grouplens', refused); monkeypatch.setattr(datasets, '_from_wheel', lambda into: datasets.take_from_wheel(wheel, into))
    with pytest.raises(InputError, match='sha256'): datasets.fetch_ml100k(home)
    assert list((tmp_path/'cache').iterdir()) == []

EMBED = '''
import numpy as np
from llmcfsr import textencoder
from llmcfsr.contrastive import TuneConfig
from llmcfsr.core import Shelf
from llmcfsr.itemtable import embed_catalog, item_table
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
catalog = planted_world(seed=0).catalog; texts = item_texts(catalog); encoder = textencoder.tiny_encoder(texts); shelf = Shelf(argv[1]); n,encode = [0],textencoder.encode
def counting(encoder, texts, **kwargs): n[0] += len(texts); return encode(encoder, texts, **kwargs)
textencoder.encode = counting
table = embed_catalog(encoder, texts, shelf, page=4) if argv[0]=='embed' else item_table(catalog, encoder, shelf=shelf, finetune=True, tune=TuneConfig(steps=13, batch=12))
np.save(argv[2], table.E); print(n[0])
'''

@pytest.mark.parametrize('how', ['embed', 'table'])
def test_g_embedding_that_is_killed(how, tmp_path, forks):
    "The second attempt gives the same matrix, bit for bit; what was embedded, or tuned, is not done again"
    begin = lambda name: forks.start(EMBED, how, tmp_path/f'shelf-{name}', tmp_path/f'{name}.npy')
    def end(p): assert p.wait() == 0, p.said()[-3000:]; return int(p.said())
    kept = lambda: [f for d,_,files in os.walk(tmp_path/'shelf-torn') if not d.endswith('.tmp') for f in files if f.endswith(('.safetensors', '.tuning')) and not f.startswith('.')]     # folders may vanish meanwhile
    p = begin('torn')
    while p.running() and len(kept()) < (3 if how == 'embed' else 1): time.sleep(.001)
    p.kill(); assert p.wait() == -signal.SIGKILL and p.said() == '', 'it ended before it could be killed'
    n,m = end(begin('whole')),end(begin('torn')); assert m <= n-12 if how == 'embed' else m == n
    assert (tmp_path/'whole.npy').read_bytes() == (tmp_path/'torn.npy').read_bytes()

@every
def test_h_padding_and_foreign_ids_are_never_recommended(model, backbone):
    rec = trained(model, backbone); V = len(rec.items); h = rec.items[:5]
    top = rec.recommend([h, h[:1], []], k=V+7)
    assert not {'', None} & set(top.item) and set(top.item) <= set(rec.items) and top.groupby('history').size().tolist() == [V-5, V-1, V] and not top.duplicated(['history', 'item']).any() and np.isfinite(top.score).all()
    assert not len(rec.recommend([rec.items], k=3)) and rec.scores([h]).shape == (1, V) and (rec.scores([h]).argmax() < V)
    with pytest.raises(InputError, match="'nowhere'"): rec.recommend([['nowhere']])
    with pytest.raises(InputError, match="item ''"): rec.recommend([['']])

def lines(*rows): return pd.DataFrame([(u, i, t) for u,items in rows for t,i in enumerate(items.split())], columns=['user', 'item', 'time'])

def test_i_users_shorter_than_three():
    "They train and count as popularity, and are neither validated nor tested"
    d = from_frames(lines(('ann', 'a b c d'), ('bob', 'a b'), ('cid', 'a'), ('dan', 'b c a'))); split = leave_one_out(d.interactions); users = d.interactions.users
    for which in ('valid', 'test'): assert [users[u] for u in cases(split, which).user] == ['ann', 'dan']
    assert dict(zip(d.interactions.items[1:], head_tail(split).popularity[1:])) == dict(a=3, b=3, c=0, d=0)
    rec = Recommender(model='sasrec', **{**SMALL, 'epochs':1}).fit(d); assert rec.popularity[1:].tolist() == [3, 3, 0, 0]
    with pytest.raises(InputError, match='3 interactions'): Recommender(model='pop').fit(lines(('ann', 'a b'), ('bob', 'b a')))

def test_j_ties_are_shared():
    "A scorer that says nothing gets k/n, wherever the target stands; among equals a list is in the order of the catalogue"
    d = shop(); split = leave_one_out(d.interactions); V = d.interactions.n_items
    class Same:
        n_items = V
        def scores(self, histories): y = np.ones((len(histories), V+1), 'f4'); y[:,0] = -np.inf; return y
    r = rank_cases(Same(), cases(split, 'test'), head_tail(split), draw_candidates(split, 'test', k=9), top=3)
    assert (r.full.above == 0).all() and (r.full.tied == r.full.n_candidates-1).all() and (r.sampled.tied == 9).all()
    for k in (1, 5, 10): np.testing.assert_allclose(user_values(r.sampled, f'HR@{k}'), k/10, rtol=1e-12); np.testing.assert_allclose(user_values(r.full, f'HR@{k}'), k/r.full.n_candidates, rtol=1e-12)
    np.testing.assert_allclose(user_values(r.sampled, 'NDCG@10'), np.mean([1/np.log2(p+2) for p in range(10)]), rtol=1e-12)
    for u,first in zip(r.full.user, r.top): had = set(d.interactions.history(u)[:-1].tolist()); assert first.tolist() == [i for i in range(1, V+1) if i not in had][:3]

@pytest.mark.parametrize('model', ['pop', 'gru4rec'])
def test_k_sampled_is_full_with_every_negative(model):
    "Where all items a user never took are negatives, the two rankings are one"
    g = np.random.default_rng(0); items = [f'i{n}' for n in range(25)]
    d = from_frames(lines(*((f'u{u}', ' '.join(g.permutation(items)[:7])) for u in range(40)))); split = leave_one_out(d.interactions); drawn = draw_candidates(split, 'test', k=25)
    assert drawn.negative.shape == (40, 18) and all(set(n) | set(d.interactions.history(u)) == set(range(1, 26)) for u,n in zip(drawn.cases.user, drawn.negative))
    r = rank_cases(Recommender(model=model, **{**SMALL, 'epochs':1}).fit(d).scorer, cases(split, 'test'), head_tail(split), drawn)
    for k in ('above', 'tied', 'n_candidates'): assert (getattr(r.full, k) == getattr(r.sampled, k)).all()
