"""The exported scorer says what the model says, for every system. One system is exported here; `SLOW=1 pytest tests/test_export.py` exports them all (a minute)."""
import json, os, subprocess, sys
import numpy as np, pytest
from llmcfsr.core import InputError
from llmcfsr.datasets import load_dataset
from untrained import untrained
pytest.importorskip('onnxruntime', reason='onnxruntime is an extra: pip install "llmcfsr[onnx]"'); pytest.importorskip('onnxscript', reason='onnxscript is an extra: pip install "llmcfsr[onnx]"')
from llmcfsr.export import load_exported

DATA = load_dataset('planted'); ITEMS = [str(i) for i in DATA.interactions.items[1:]]
MODELS = dict(gru4rec={}, sasrec={}, bert4rec={}, **{f'llm-cfsr {b}': dict(model='llm-cfsr', backbone=b) for b in ('sasrec', 'gru4rec', 'bert4rec')}, **{'llm-cfsr text': dict(model='llm-cfsr', view='se'), 'llm-esr': dict(model='llm-esr'), 'llm-esr bert4rec': dict(model='llm-esr', backbone='bert4rec'), 'llm-init': dict(model='llm-init')}, **{m: dict(model=m) for m in ('summed', 'llmemb', 'rlmrec', 'ssl', 'melt', 'cities')})
slow = pytest.mark.skipif(not os.environ.get('SLOW'), reason='exports another system: SLOW=1 pytest tests/test_export.py')

@pytest.mark.parametrize('name', [n if n == 'gru4rec' else pytest.param(n, marks=slow) for n in MODELS])
def test_same_scores(name, tmp_path):
    "Alone and in company, short, full and too long, empty: 1e-4 of the size of the scores; the lists are the same; neither PyTorch nor a compiled loop is needed"
    rec = untrained(DATA, **{'model': name, **MODELS[name]}); rec.export(tmp_path/'out'); other = load_exported(tmp_path/'out', threads=1); g = np.random.default_rng(0)
    for B, T in ((1, 1), (3, 2), (1, 5), (3, 11), (2, 12), (3, 40)):
        histories = [[ITEMS[i] for i in g.integers(0, len(ITEMS), max(1, T-2*b))] for b in range(B)]+([[]] if B == 3 else [])
        want, got = rec.scores(histories), other.scores(histories); full = [n for n, h in enumerate(histories) if h]
        assert got.dtype == want.dtype == np.float32 and got.shape == want.shape and abs(got-want)[full].max() <= 1e-4*abs(want[full]).max()
        assert all((got[n] == want[n]).all() for n, h in enumerate(histories) if not h)
        a, b = (r.recommend(histories, k=10) for r in (rec, other)); assert list(a.columns) == list(b.columns) and (a['history'] == b['history']).all() and (a['item'] == b['item']).mean() > .95
    assert other.labels == rec.labels and other.data == rec.data and other.items == rec.items
    code = f"import sys; from llmcfsr.export import load_exported; r = load_exported({str(tmp_path/'out')!r}); r.recommend([r.items[:3]]); assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True); assert done.returncode == 0, done.stderr

@pytest.mark.parametrize('fuse', [(), pytest.param(('prediction',), marks=slow)])
def test_a_balance_and_a_prior_are_exported(fuse, tmp_path):
    rec = untrained(DATA, model='llm-cfsr', fuse=fuse); histories = [ITEMS[:3], ITEMS[5:9]]; plain = rec.scores(histories); rec.set_balance(.5).set_prior(.3).export(tmp_path/'out'); want,got = rec.scores(histories),load_exported(tmp_path/'out', threads=1).scores(histories)
    assert abs(got-want).max() <= 1e-4*abs(want).max() < abs(want-plain).max()

def test_whole_or_not_at_all(tmp_path, monkeypatch):
    "A failure leaves the old folder as it was, and a folder that was tampered with is named"
    import llmcfsr.export as export
    rec = untrained(DATA, model='sasrec'); out = tmp_path/'out'; out.mkdir(); (out/'old').write_text('here')
    def broken(*args): raise RuntimeError('the lights go out')
    monkeypatch.setattr(export, 'onnx_model', lambda *args: __import__('onnx').helper.make_model(__import__('onnx').helper.make_graph([], 'empty', [], []))); monkeypatch.setattr(export, '_readme', broken)
    with pytest.raises(RuntimeError): rec.export(out)
    assert [p.name for p in out.iterdir()] == ['old'] and [p.name for p in tmp_path.iterdir()] == ['out']
    for files, said in (({}, 'config.json does not exist'), ({'config.json': {'format': 'llmcfsr-model-1'}}, 'is not an exported recommender'), ({'config.json': {'format': 'llmcfsr-onnx-1', 'items': 'x'}, 'items.json': ['a']}, 'not the catalogue')):
        for k, v in files.items(): (out/k).write_text(json.dumps(v))
        with pytest.raises(InputError, match=said): load_exported(out)

def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(InputError, match='take another system'): untrained(DATA, model='caser').export(tmp_path/'caser')
    from llmcfsr.recommender import Recommender
    for rec, said in ((Recommender(model='sasrec'), 'not trained'), (Recommender(model='pop').fit(DATA), 'only counts')):
        with pytest.raises(InputError, match=said): rec.export(tmp_path/'x')
    assert not (tmp_path/'x').exists()
