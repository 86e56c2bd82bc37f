"Reasons, asked for with source ids: they add up, they are what happens without the item, and they can be drawn"
import io, json
import matplotlib; matplotlib.use('agg')
import numpy as np, pytest, torch
from llmcfsr.core import InputError
from llmcfsr.datasets import load_dataset
from llmcfsr.model import ModelScorer
from llmcfsr.why import why, why_frame
from untrained import untrained

DATA = load_dataset('planted'); ITEMS = [str(i) for i in DATA.interactions.items[1:]]
MODELS = dict(sasrec={}, gru4rec={}, bert4rec={}, **{f'llm-cfsr {b}': dict(model='llm-cfsr', backbone=b) for b in ('sasrec', 'gru4rec', 'bert4rec')}, **{'llm-cfsr plain': dict(model='llm-cfsr', fuse=()), 'llm-cfsr text': dict(model='llm-cfsr', view='se'), 'llm-esr': dict(model='llm-esr'), 'llm-esr gru4rec': dict(model='llm-esr', backbone='gru4rec')})
each = pytest.mark.parametrize('name', MODELS)
def rec_of(name): return untrained(DATA, **{'model': name, **MODELS[name]})

@each
def test_reasons(name):
    "Shares add up to the score, ranks are those of the list, influence is the difference of two answers"
    rec = rec_of(name); history = [ITEMS[i] for i in (3, 77, 3, 150, 12)]; top = rec.recommend([history], k=200); mean = rec.scores([history]).mean()
    for r in (0, 7, 150):
        item, score = top['item'][r], float(top['score'][r]); got = rec.why(history, item)
        assert got['item'] == item and got['label'] == rec.labels[item] and got['rank'] == r+1 and got['score'] == pytest.approx(score, rel=1e-5)
        assert sum(got['shares'].values()) == pytest.approx(score, abs=1e-5*max(1, abs(score))) and sum(got['leads'].values()) == pytest.approx(score-mean, abs=1e-4) and np.sum(got['parts']) == pytest.approx(score, abs=1e-4)
        assert len(got['shares']) == (1 if name in ('sasrec', 'gru4rec', 'bert4rec', 'llm-cfsr text') else 2) and json.loads(json.dumps(got, allow_nan=False)) == got
        for t, row in enumerate(got['history']):
            rest = history[:t]+history[t+1:]; y = rec.scores([rest])[0]
            assert row['item'] == history[t] and row['influence'] == pytest.approx(score-y[ITEMS.index(item)], abs=1e-4) and row['lead'] == pytest.approx((score-mean)-(y[ITEMS.index(item)]-y.mean()), abs=1e-4)
            others = np.array([y[n] for n, i in enumerate(ITEMS) if i not in history and i != item]); own = y[ITEMS.index(item)]
            assert 1+(others > own+1e-5).sum() <= row['rank_without'] <= 1+(others >= own-1e-5).sum()

@each
def test_attention(name):
    "Weights are shares of one; a model without attention says so; with a mask behind, it keeps some for itself"
    rec = rec_of(name); f = why_frame(rec.why(ITEMS[10:16], ITEMS[40]))
    if 'gru' in name: assert f.attention.isna().all() and f.rollout.isna().all()
    else:
        total = f[['attention', 'rollout']].sum(); assert (f.attention > 0).all() and (total < 1-1e-4).all() if 'bert' in name else np.allclose(total, 1, atol=1e-5)
    assert f.cross.notna().all() == (name.startswith(('llm-cfsr ', 'llm-esr')) and name not in ('llm-cfsr plain', 'llm-cfsr text')) and f.text_cosine.notna().all() == name.startswith('llm')
    if name.startswith('llm'): assert (f.text_cosine.abs() <= 1+1e-5).all()

def test_looking_changes_nothing():
    "Scores, weights, mode and hooks are as before"
    rec = rec_of('llm-cfsr sasrec'); model = rec.model.train(); before = {k: v.clone() for k, v in model.state_dict().items()}; y = rec.scores([ITEMS[:4]])
    why(model, [1, 2, 3], 9, ModelScorer(model)); rec.why(ITEMS[:4], ITEMS[9])
    assert model.training and not any(m._forward_pre_hooks for m in model.modules()) and all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and (rec.scores([ITEMS[:4]]) == y).all()

def test_only_what_is_read():
    "A history longer than the model reads is explained by what it reads, and no older item slips in when one is taken out"
    for name, n in (('sasrec', 12), ('bert4rec', 11)):
        rec = rec_of(name); long = ITEMS[:30]; got = rec.why(long, ITEMS[50])
        assert [r['item'] for r in got['history']] == long[-n:] and got['score'] == pytest.approx(rec.scores([long])[0, 50], rel=1e-5)
        y = rec.scores([long[-n+1:]])[0]; assert got['history'][0]['influence'] == pytest.approx(got['score']-y[50], abs=1e-5)

def test_edges():
    rec = rec_of('sasrec'); one = rec.why(ITEMS[:1], ITEMS[5])['history'][0]; assert one['influence'] is one['lead'] is one['rank_without'] is None and one['attention'] == pytest.approx(1)
    own = rec.why(ITEMS[:3], ITEMS[1]); assert own['score'] == pytest.approx(rec.scores([ITEMS[:3]])[0, 1]) and own['rank'] >= 1         # an item of the history can be asked about
    for bad, said in ((([], ITEMS[5]), 'gives no reasons'), (([ITEMS[0]], 'nobody'), "'nobody'"), ((['nobody'], ITEMS[0]), "'nobody'")):
        with pytest.raises(InputError, match=said) as e: rec.why(*bad)
        assert '\n' not in str(e.value)

@pytest.mark.parametrize('name', ['llm-cfsr sasrec', 'gru4rec'])
def test_drawn(name):
    from matplotlib import pyplot as plt
    fig = rec_of(name).plot_why(ITEMS[:30] if 'cfsr' in name else ITEMS[:1], ITEMS[60], most=6)
    for form, start in dict(svg=b'<?xml', pdf=b'%PDF', png=b'\x89PNG').items(): out = io.BytesIO(); fig.savefig(out, format=form); assert out.getvalue().startswith(start)
    assert len(fig.axes) == (3 if 'cfsr' in name else 2) and ('6 weaker positions' in fig.get_suptitle()) == ('cfsr' in name); plt.close(fig)
