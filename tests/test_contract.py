"What scripts outside rely on: names of files, columns, groups and metrics, and the definitions behind them"
import json
import numpy as np, pandas as pd, pytest
from llmcfsr.cli import main
from llmcfsr.datasets import load_dataset, save_dataset
from llmcfsr.recommender import Recommender

GROUPS = ['overall', 'tail_item', 'head_item', 'tail_user', 'head_user', 'tail_user_tail_item', 'tail_user_head_item', 'head_user_tail_item', 'head_user_head_item', *(f'popularity_{g}' for g in range(1, 6))]
METRICS = ['HR@1', 'HR@5', 'HR@10', 'HR@20', 'NDCG@5', 'NDCG@10', 'NDCG@20', 'MRR']
COLUMNS = ['user', 'target', 'above', 'tied', 'n_candidates', 'history_length', 'popularity', 'tail_item', 'tail_user']

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "The planted world as a folder, and a run on it"
    d = tmp_path_factory.mktemp('contract'); save_dataset(load_dataset('planted'), d/'shop')
    assert main(['fit', str(d/'shop'), '--model', 'llm-cfsr', '--encoder', 'tfidf', '--dim', '16', '--blocks', '1', '--epochs', '2', '--out', str(d/'run')]) == 0
    return d

def test_files(shop):
    files = {p.relative_to(shop/'run').as_posix() for p in (shop/'run').rglob('*') if p.is_file()}
    assert {'config.json', 'history.jsonl', 'metrics.json', 'ranks.parquet', 'ranks_sampled.parquet', 'model/model.safetensors', 'report.md'} <= files
    assert not [f for f in files if f.endswith(('.pkl', '.pt', '.pth', '.bin', '.tmp'))]
    for line in (shop/'run/history.jsonl').read_text().splitlines():
        assert {'epoch', 'train_seconds', 'valid_seconds', 'loss', 'valid', 'targets', 'peak_rss_mib'} <= json.loads(line).keys()

def test_metrics(shop):
    m = json.loads((shop/'run/metrics.json').read_text())
    for part in ('full', 'sampled'):
        assert list(m['test'][part]) == GROUPS
        for g in m['test'][part].values(): assert {'n', *METRICS} <= g.keys()
    assert {'coverage', 'gini', 'ARP', 'APLT', 'novelty'} <= m['test']['beyond'].keys() and {'item', 'user'} == m['thresholds'].keys() and {'embed', 'fit', 'evaluate'} == m['seconds'].keys() and m['parameters'] > 0

def test_ranks_say_what_the_definitions_say(shop):
    "Every column of the ranks, made again from the raw lines by plain counting"
    lines = [l.split()[:2] for l in (shop/'shop/inter.txt').read_text().splitlines()]; history = {}
    for u,i in lines: history.setdefault(u, []).append(i)
    pop = pd.Series([i for h in history.values() for i in (h[:-2] if len(h) >= 3 else h)]).value_counts(); items = {i for _,i in lines} | {json.loads(l)['item_id'] for l in (shop/'shop/item_attributes.jsonl').read_text().splitlines()}
    counts = sorted((int(pop.get(i, 0)) for i in items), reverse=True); t_item = max(1, counts[-(-len(items)//5)-1])
    ranked = {u:h for u,h in history.items() if len(h) >= 3}; lengths = sorted((len(h)-1 for h in ranked.values()), reverse=True); t_user = lengths[-(-len(lengths)//5)-1]
    m = json.loads((shop/'run/metrics.json').read_text()); assert m['thresholds'] == dict(item=t_item, user=t_user)
    for name in ('ranks', 'ranks_sampled'):
        r = pd.read_parquet(shop/f'run/{name}.parquet'); assert list(r.columns) == COLUMNS and len(r) == len(ranked)
        for row in r.itertuples():
            h = history[row.user]
            assert row.target == h[-1] and row.history_length == len(h)-1 and row.popularity == pop.get(h[-1], 0) and row.tail_item == (row.popularity < t_item) and row.tail_user == (len(h)-1 < t_user)
            assert row.n_candidates == (101 if name == 'ranks_sampled' else len(items-set(h[:-1]) | {h[-1]})) and 0 <= row.above and 0 <= row.tied and row.above+row.tied < row.n_candidates
        a,b = r.above.to_numpy(),r.tied.to_numpy()
        hit = np.clip(10-a, 0, b+1)/(b+1); gain = np.array([np.mean([1/np.log2(p+2) if p < 10 else 0 for p in range(x, x+y+1)]) for x,y in zip(a, b)])
        for g,who in (('overall', np.ones(len(r), bool)), ('tail_item', r.tail_item), ('tail_user', r.tail_user), ('head_user_tail_item', ~r.tail_user & r.tail_item)):
            got = m['test']['full' if name == 'ranks' else 'sampled'][g]
            assert got['n'] == who.sum() and np.isclose(got['HR@10'], hit[who].mean(), atol=1e-12) and np.isclose(got['NDCG@10'], gain[who].mean(), atol=1e-12)

def test_commands(shop, capsys):
    capsys.readouterr(); item = json.loads((shop/'run/model/items.json').read_text())[:2]
    assert main(['recommend', str(shop/'run'), '--history', ','.join(item), '-k', '4', '--json']) == 0
    top = json.loads(capsys.readouterr().out)['items']; assert len(top) == 4 and not {t['item'] for t in top} & set(item)
    before = json.loads((shop/'run/metrics.json').read_text())['test']
    assert main(['evaluate', str(shop/'run')]) == 0 and json.loads((shop/'run/metrics.json').read_text())['test'] == before
    assert main(['fit', str(shop/'shop'), '--model', 'pop', '--out', str(shop/'pop')]) == 0
    capsys.readouterr(); assert main(['compare', str(shop/'run'), str(shop/'pop'), '--json']) == 0
    assert {d['group'] for d in json.loads(capsys.readouterr().out)['differences']} == {'overall', 'tail_item', 'head_item'}

@pytest.mark.parametrize('model,backbone', [('llm-cfsr', 'sasrec'), ('llm-cfsr', 'gru4rec'), ('llm-cfsr', 'bert4rec'), ('llm-esr', 'sasrec'), ('bert4rec', 'sasrec')])
def test_recommender(model, backbone, tmp_path):
    "Frames in, states that know no future, scores in the order of items, the same after a round trip"
    d = load_dataset('planted'); i = d.interactions
    frame = pd.DataFrame(dict(user=i.users[np.repeat(np.arange(i.n_users), i.lengths)], item=i.items[i.item], time=i.time))
    goods = pd.DataFrame([dict(item_id=k, **a) for k,a in zip(i.items[1:], d.catalog.attrs[1:])])
    goods = goods[goods.item_id.isin(frame.item)]
    rec = Recommender(model=model, backbone=backbone, encoder='tfidf', epochs=1, dim=16, blocks=1, seed=0).fit(frame, goods)
    h = rec.items[:4]; s = rec.states([h, h[:1]]); assert s.shape[:2] == (2, 4) and (s[1,:3] == 0).all()
    other = rec.states([h[:2]+rec.items[7:9]]); assert np.abs(other[0,:2]-s[0,:2]).max() < 1e-5 < np.abs(other[0,2:]-s[0,2:]).max()
    y = rec.scores([h]); assert y.shape == (1, len(rec.items))
    top = rec.recommend([h, []], k=5); assert list(top.columns) == ['history', 'rank', 'item', 'score'] and top['rank'].tolist() == [1,2,3,4,5]*2
    order = [rec.items[n] for n in np.argsort(-y[0], kind='stable') if rec.items[n] not in h][:5]; assert top[top.history == 0].item.tolist() == order
    rec.save_pretrained(tmp_path/'m'); assert (Recommender.from_pretrained(tmp_path/'m').scores([h]) == y).all()
