"What makes a step fast is counted, not timed: positions, rows, operations and the largest tensor; and the fast road gives the loss and the gradient of the plain one"
import dataclasses, itertools
from pathlib import Path
import numpy as np, pytest, torch, torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from llmcfsr.batches import SeqLoader, length_parts
from llmcfsr.baselines.llmesr import build_llmesr
from llmcfsr.datasets import load_dataset
from llmcfsr.losses import objective, renumber
from llmcfsr.model import LEVELS, ModelConfig, ModelScorer, build_model, packed
from llmcfsr.planted import planted_world
from llmcfsr.rowadam import RowAdam
from llmcfsr.split import leave_one_out
from llmcfsr.train import TrainConfig, adam, fit, train_step

SHARED = Path(__file__).resolve().parents[2]/'shared/data'
SETS = sorted(p.parent.name for p in SHARED.glob('*/inter.txt'))
split = leave_one_out(planted_world(seed=0).interactions); V = split.inter.n_items
E = torch.randn(V+1, 48, generator=torch.Generator().manual_seed(0)); E[0] = 0
SYSTEMS = {f'{b}-{"+".join(f) or v}': ModelConfig(backbone=b, view=v, fuse=f, d=8, blocks=2, heads=2, max_len=7, dropout=0., facets=3)
    for b in ('sasrec', 'gru4rec', 'bert4rec') for v,f in [('co', ()), ('se', ()), *(('dual', f) for n in range(4) for f in itertools.combinations(LEVELS, n))]}

def awake(model, seed=1):
    "Zero-initialised outputs get something to say"
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n,p in model.named_parameters():
            if 'W_o' in n or n.endswith('gamma'): p.add_(.5*torch.randn(p.shape, generator=gen))
    return model.train()

def plain(model, batch, loss):
    "The loss from the whole tables and the padded rectangle, gradients by autograd alone"
    items = model.items(); at = batch.target>0
    with torch.enable_grad():
        x = model.encode(model.lookup(items, batch.history, batch.real), batch.real).map(lambda h: h[at])
    if loss=='softmax': return F.cross_entropy(model.score_all(x, items.map(lambda e: e[1:])), batch.target[at]-1)
    y = model.score(x, items.map(lambda e: e[torch.cat([batch.target[at][:,None], batch.negative[at]], 1)]))
    return F.softplus(-y[:,0]).mean()+F.softplus(y[:,1:]).mean()

def gradient(model, loss):
    model.zero_grad(); loss.backward()
    return {n:p.grad for n,p in model.named_parameters() if p.grad is not None}

@pytest.mark.parametrize('name', [*SYSTEMS, 'llm-esr'])
@pytest.mark.parametrize('loss', ['bce', 'softmax'])
def test_fast_is_plain(name, loss):
    "Loss and gradient of a step, for every backbone and every fusion"
    config = SYSTEMS.get(name, SYSTEMS['sasrec-dual'])
    model = awake(build_llmesr(config, E) if name=='llm-esr' else build_model(config, E if config.view!='co' else None, n_items=V, id_init=None if config.view!='co' else E[:,:8]))
    batch = next(SeqLoader(split, max_len=7, batch_size=60, kind='next' if model.causal else 'cloze', seed=3).epoch(0))
    fast,slow = objective(model, batch, loss=loss)['total'],plain(model, batch, loss)
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    got,want = gradient(model, fast),gradient(model, slow)
    scale = max(float(g.abs().max()) for g in want.values())
    assert got.keys()==want.keys()
    for n in want: assert float((got[n]-want[n]).abs().max()) <= 1e-5*scale, n

@pytest.mark.parametrize('loss', ['bce', 'softmax', 'sampled', 'gbce'])
@pytest.mark.parametrize('name', ['sasrec-co', 'gru4rec-dual', 'bert4rec-embedding+sequence+prediction', 'sasrec-embedding+sequence+prediction'])
def test_bfloat16_steps(name, loss, monkeypatch):
    "A step under autocast, as on a GPU, here on the processor: near the loss of float32, every gradient a number and in float32"
    monkeypatch.setenv('LLMCFSR_COMPILED', '0'); config = SYSTEMS[name]
    model = awake(build_model(config, E if config.view!='co' else None, n_items=V, id_init=None if config.view!='co' else E[:,:8]))
    batch = next(SeqLoader(split, max_len=7, batch_size=60, kind='next' if model.causal else 'cloze', negatives=0 if loss=='softmax' else 4, seed=3).epoch(0)); seen = []
    for on in (False, True):
        torch.manual_seed(0)
        with torch.autocast('cpu', torch.bfloat16, enabled=on): y = objective(model, batch, loss=loss, **({'shared':32} if loss=='sampled' else {}))['total']
        seen.append(y.item()); g = gradient(model, y)
    assert abs(seen[1]/seen[0]-1) < .03 and all(x.dtype==torch.float32 and x.isfinite().all() for x in g.values())

def test_bfloat16_is_for_gpus():
    model,batch,f = step_of(ModelConfig(d=8, blocks=1, max_len=7))
    with pytest.raises(ValueError, match="take precision='fp32'"): fit(model, SeqLoader(split, max_len=7), f, lambda m: {'NDCG@10':0.}, TrainConfig(epochs=1, precision='bf16'))

@pytest.mark.parametrize('name', [*SYSTEMS, 'llm-esr'])
def test_compiled_is_recorded(name, monkeypatch):
    "Loss, gradient and scores of the compiled loops are those of the recorded calls they replace"
    config = SYSTEMS.get(name, SYSTEMS['sasrec-dual']); got = []
    for on in '01':
        monkeypatch.setenv('LLMCFSR_COMPILED', on)
        model = awake(build_llmesr(config, E) if name=='llm-esr' else build_model(config, E if config.view!='co' else None, n_items=V, id_init=None if config.view!='co' else E[:,:8]))
        assert model.jagged==(on=='1' and config.backbone!='gru4rec')
        batch = next(SeqLoader(split, max_len=7, batch_size=60, kind='next' if model.causal else 'cloze', seed=3).epoch(0)); loss = objective(model, batch, loss='bce')['total']
        got.append((loss, gradient(model, loss), torch.from_numpy(ModelScorer(model).scores([[1,2,3],[4],[5,6,7,8,9,1,2,3,4]]))[:,1:]))
    (a,g,y),(b,h,z) = got; scale = max(float(x.abs().max()) for x in g.values())
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6); torch.testing.assert_close(y, z, rtol=1e-4, atol=1e-5)
    for n in g: assert float((g[n]-h[n]).abs().max()) <= 1e-5*scale, n

def long_tailed(n=2000, seed=0):
    "Lengths as shops have them"
    return np.minimum(np.random.default_rng(seed).lognormal(1.2, 1.1, n).astype(int)+1, 200)

def padding(length, batch=128):
    "Positions computed for each real one"
    length = np.random.default_rng(0).permutation(length); done = 0
    for a in range(0, len(length), batch): done += sum((j-i)*w for i,j,w in length_parts(np.sort(length[a:a+batch]), 10))
    return done/length.sum()

def test_padding_is_bounded(): assert padding(long_tailed()) < 1.5

@pytest.mark.skipif(not SETS, reason='shared/data is not beside the repository')
@pytest.mark.parametrize('name', SETS)
def test_padding_on_real_data(name):
    "Fewer than 1.5 positions for each real one, on every data set at hand"
    split = leave_one_out(load_dataset(SHARED/name, missing_text='empty', unseen_items='keep').interactions)
    done = real = 0
    for b in SeqLoader(split, max_len=200, negatives=0).epoch(0): assert packed(b, 0)[0].n==int(b.real.sum()); p = packed(b)[0]; done += len(p.real); real += int(p.real.sum())
    assert done < 1.5*real

def step_of(config, loss='bce', V=V, E=E, split=split, **kwargs):
    model = build_model(config, E, n_items=V, seed=0); model.train()
    return model,next(SeqLoader(split, max_len=config.max_len, seed=0, **kwargs).epoch(0)),lambda m,b: objective(m, b, loss=loss)

def test_each_text_is_adapted_once():
    "The adapter and the facets see the items of a step once each"
    model,batch,f = step_of(ModelConfig(d=16, blocks=1, max_len=20)); seen = []
    hooks = [m.register_forward_hook(lambda m,x,y: seen.append(len(x[0]))) for m in (model.views.se.adapter, model.embedding.facet)]
    f(model, batch)['total'].backward(); [h.remove() for h in hooks]
    assert seen==[len(renumber([batch.history, batch.target, batch.negative], V)[0])]*2

class Count(TorchDispatchMode):
    "How many operations run, and how large their largest result is"
    def __init__(self): super().__init__(); self.calls,self.most = 0,0
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {})); self.calls += 1
        dense = lambda xs: [t for t in xs if isinstance(t, torch.Tensor) and t.layout==torch.strided]
        known = {t.untyped_storage().data_ptr() for t in dense(args)}                           # views and work in place make nothing
        for t in dense(out if isinstance(out, (tuple, list)) else (out,)):
            if t.untyped_storage().data_ptr() not in known: self.most = max(self.most, t.numel())
        return out

def test_arithmetic_of_a_step():
    "Floating point operations of SASRec for each real position, against those of its matrices"
    d,blocks = 64,2
    model,batch,f = step_of(ModelConfig(view='co', fuse=(), id_init='random', d=d, blocks=blocks, max_len=200), E=None)
    in_place = {torch.ops.aten.addmm_:lambda y, a, b, *_, out_shape=None, **__: 2*a[0]*a[1]*b[1]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as flops: f(model, batch)['total'].backward()
    share = flops.get_total_flops()/(batch.real.sum().item()*3*blocks*6*2*d*d)                    # forward and twice back, six matrices a block
    assert share==1 if model.jagged else share < 1.5                     # without padding exactly that (attention and scores are loops); else no more than half as much again for padding, attention and scores

@pytest.mark.parametrize('name,compiled,most', [('sasrec', 1, 500), ('llm-cfsr', 1, 1150), ('sasrec', 0, 1300), ('llm-cfsr', 0, 4200)])
def test_operations_of_a_step(name, compiled, most, monkeypatch):
    "Small steps are bound by the number of calls: it does not follow the batch; where loops are not compiled it follows the groups of like length, of which there are few"
    monkeypatch.setenv('LLMCFSR_COMPILED', str(compiled))
    config = ModelConfig(d=16, max_len=20, **(dict(view='co', fuse=(), id_init='random') if name=='sasrec' else {}))
    for size in (128, 512):
        model,batch,f = step_of(config, batch_size=size, E=None if name=='sasrec' else E)
        with Count() as c: f(model, batch)['total'].backward()
        assert c.calls < most

def test_no_table_of_targets_by_items():
    "Full softmax over 30,000 items holds a slice of the scores, and no more"
    V = 30_000; model,batch,f = step_of(ModelConfig(view='co', fuse=(), id_init='random', d=16, blocks=1, max_len=20), 'softmax', V=V, E=None, batch_size=512)
    with Count() as c: f(model, batch)['total'].backward()
    assert int((batch.target>0).sum())*V > 10*c.most and c.most <= max(2**20, (V+1)*16)

@pytest.mark.parametrize('loss', ['gbce', 'sampled'])
@pytest.mark.parametrize('name', ['sasrec-co', 'sasrec-prediction'])
def test_own_negatives_are_not_laid_out(name, loss, monkeypatch):
    "Targets with negatives of their own: where loops are compiled nothing is as large as half the vectors of all candidates; loss and gradient are those of the gathered vectors"
    config,K,ran = dataclasses.replace(SYSTEMS[name], d=32, id_init='random'),64,{}; text = None if config.view=='co' else E; views = 1 if text is None else 2
    for compiled in (1, 0):
        monkeypatch.setenv('LLMCFSR_COMPILED', str(compiled)); model,batch,_ = step_of(config, negatives=K, E=text); awake(model)
        with Count() as c: total = objective(model, batch, loss=loss, shared=0)['total']; grads = gradient(model, total)
        ran[compiled] = total.detach(),grads,c.most/(int((batch.target>0).sum())*(1+K)*32*views)
    (fast,got,most),(slow,want,laid) = ran[1],ran[0]; torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6); scale = max(float(g.abs().max()) for g in want.values())
    assert got.keys()==want.keys() and all(float((got[n]-want[n]).abs().max()) <= 1e-5*scale for n in want)
    assert most < .5 < laid

def test_a_step_touches_its_rows():
    "With sampled negatives no operation of a step is as long as the id table"
    V = 50_000; model,batch,f = step_of(ModelConfig(view='co', fuse=(), id_init='random', d=16, blocks=1, max_len=20), V=V, E=None)
    opt = adam(model, TrainConfig()); train_step(model, batch, f, opt)
    with Count() as c: train_step(model, batch, f, opt)
    assert c.most < (V+1)*16/2

def test_rows_resume(tmp_path):
    "A run whose long table is stepped by rows, broken off and resumed, is the unbroken run bit for bit, and leaves no optimiser behind"
    V = 2**14
    def train(folder, epochs, resume=False):
        model = build_model(ModelConfig(view='co', fuse=(), id_init='random', d=8, blocks=1, max_len=10), n_items=V, seed=0)
        fit(model, SeqLoader(split, max_len=10, seed=0), objective, lambda m: {'NDCG@10':float(m.items().c.detach().abs().sum())}, TrainConfig(epochs=epochs, lr=.01), checkpoint=folder, resume=resume)
        return model
    whole = train(tmp_path/'whole', 3); train(tmp_path/'torn', 1); torn = train(tmp_path/'torn', 3, True)
    assert all(torch.equal(a, b) for a,b in zip(whole.state_dict().values(), torn.state_dict().values()))
    assert isinstance(adam(torn, TrainConfig()), RowAdam) and whole.views.co.fresh is None and not whole.views.co.weight[0].any()
