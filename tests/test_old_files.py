"What version 0.1.0 wrote (tests/fixtures/make_old.py made it) is read for ever, and gives what it gave then"
import json, shutil
from pathlib import Path
import numpy as np, pytest
from llmcfsr.cli import main
from llmcfsr.core import InputError
from llmcfsr.datasets import load_dataset
from llmcfsr.evaluate import RankTable, metrics
from llmcfsr.experiment import evaluate_run, load_run, read_metrics, read_runs
from llmcfsr.itemtable import ItemTable
from llmcfsr.recommender import Options, Recommender, item_vectors
from llmcfsr.split import cases, draw_candidates, leave_one_out, load_candidates

OLD = Path(__file__).parent/'fixtures'/'0.1.0'
SAID = json.loads((OLD/'said.json').read_text())
@pytest.fixture(scope='module')
def shop(): return load_dataset(OLD/'shop', unseen_items='keep')

def test_size(): assert sum(p.stat().st_size for p in OLD.parent.rglob('*') if p.is_file()) < 150_000

@pytest.mark.parametrize('name', SAID['models'])
def test_model(name):
    "The same lists, the same scores as far as another machine adds alike"
    rec = Recommender.from_pretrained(OLD/name if (OLD/name).exists() else OLD/'run/model'); h,then = SAID['history'],SAID['models'][name]
    np.testing.assert_allclose(rec.scores([h, h[:1]]), np.array(then['scores'], 'f4'), rtol=1e-4, atol=1e-5)
    assert rec.recommend([h, h[:1], []], k=4)['item'].tolist() == then['lists']

def test_run(tmp_path, shop, capsys):
    "Its metrics come out again, from its ranks and from its model"
    run = tmp_path/'run'; shutil.copytree(OLD/'run', run); m = read_metrics(run)['test']['full']['overall']; assert m == SAID['overall'] and load_run(run)['options']['model'] == 'llm-cfsr'
    r = RankTable.load(run/'ranks.parquet'); assert {k:v for k,v in m.items() if k in metrics(r)} == pytest.approx(metrics(r), abs=1e-12) and len(read_runs([run])) == 1
    again = evaluate_run(run, shop)['test']['full']['overall']; assert again == pytest.approx(m, abs=1e-6)
    capsys.readouterr(); assert main(['recommend', str(run), '--history', ','.join(SAID['history']), '-k', '4', '--json']) == 0
    assert [i['item'] for i in json.loads(capsys.readouterr().out)['items']] == SAID['models']['llm-cfsr']['lists'][:4]

def test_checkpoint(tmp_path, shop):
    "A run that was begun then goes on now"
    shutil.copytree(OLD/'checkpoint', tmp_path/'c'); go = lambda n, **kwargs: Recommender(model='sasrec', encoder='tfidf', dim=4, blocks=1, epochs=n, batch_size=16, max_len=12, dropout=.2, seed=1).fit(shop, checkpoint=tmp_path/'c', **kwargs)
    with pytest.raises(InputError, match='resume=True'): go(3)
    rec = go(3, resume=True); assert [r['epoch'] for r in rec.records] == [1, 2, 3]

def test_tables(shop):
    table = ItemTable.load(OLD/'table.safetensors', items=shop.interactions.items); np.testing.assert_allclose(table.E, item_vectors(shop, Options(encoder='tfidf')).E, atol=1e-5)
    split = leave_one_out(shop.interactions); assert (load_candidates(OLD/'candidates.safetensors', cases(split, 'test')).negative == draw_candidates(split, 'test', k=5).negative).all()
