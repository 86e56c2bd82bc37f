"Properties of the combined models: every backbone, every set of fused levels, and the sound LLM-ESR"
import itertools
import numpy as np, pytest, torch
from torch import nn
from llmcfsr.batches import SeqBatch, pad_histories
from llmcfsr.baselines.llmesr import build_llmesr
from llmcfsr.model import ModelConfig, ModelScorer, build_model
from llmcfsr.views import Views

V,M,T = 30,12,9
BACKBONES = ('sasrec', 'bert4rec', 'gru4rec')
LEVELS = ('embedding', 'sequence', 'prediction')
FUSED = [c for n in range(4) for c in itertools.combinations(LEVELS, n)]
SYSTEMS = [('llm-cfsr', fuse) for fuse in FUSED]+[('llm-esr', ())]
named = lambda s: s[0]+'-'+('+'.join(l[:3] for l in s[1]) or 'none')
def cat(v): return torch.cat([o for o in v if o is not None], -1)

def make(system, backbone, noise=.2):
    "A model whose every parameter is disturbed, so that nothing is hidden by a zero at the start"
    E = torch.randn(V+1, M, generator=torch.Generator().manual_seed(0)); E[0] = 0
    config = ModelConfig(backbone=backbone, view='dual', fuse=system[1], d=8, blocks=2, heads=2, max_len=T, dropout=.3, facets=3)
    model = build_llmesr(config, E, seed=0) if system[0]=='llm-esr' else build_model(config, E, seed=0)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters(): p += noise*torch.randn(p.shape, generator=g)*p.requires_grad
    return model.eval()

def grid(backbones=BACKBONES, systems=SYSTEMS):
    return lambda test: pytest.mark.parametrize('backbone', backbones)(pytest.mark.parametrize('system', systems, ids=named)(test))
HISTORIES = [np.array(h) for h in ([3,7,1,9,22,5,4], [8], [2,30,2,11], [6,5,4,3,2,1,9,8,7,30,12])]      # one longer than the model reads

@grid()
@torch.no_grad()
def test_no_position_hears_the_future(system, backbone):
    model = make(system, backbone); x = Views(torch.randn(2, T, 8), torch.randn(2, T, 8)); real = torch.ones(2, T).bool(); real[1,:3] = False
    before = cat(model.encode(x, real))
    for t,view in itertools.product(range(3, T), range(2)):
        y = Views(*(o.clone() for o in x)); y[view][:,t] += torch.randn(2, 8)
        moved = (cat(model.encode(y, real))!=before).any(-1)
        assert moved[:,t].all()
        if model.causal: assert not moved[:,:t].any()
        else: assert moved[:,3:].all()

@grid(('bert4rec',))
@torch.no_grad()
def test_a_mask_hides_its_item(system, backbone):
    "The state at a masked position depends on the other ids alone: neither the target nor the vector of the masked item reaches it"
    model = make(system, backbone); items = model.items()
    history,real = torch.tensor([[0,4,5,6,7], [8,9,5,2,1]]),torch.tensor([[0,1,1,1,1], [1,1,1,1,1]]).bool(); masked = history.clone(); masked[:,2] = 0
    def states(history, target, items): return cat(model.states_at(items, SeqBatch(history, real, target, target[...,None], torch.arange(2))))
    target = torch.zeros_like(history); target[:,2] = 5; told = states(masked, target, items)
    changed = items.map(torch.clone)
    for o in changed: o[5] = torch.randn(8)
    assert torch.equal(states(masked, target*4, items), told) and torch.equal(states(masked, target, changed), told)
    assert not torch.equal(states(history, target, changed), states(history, target, items))          # unmasked, it would be heard

@grid()
@torch.no_grad()
def test_padding_changes_nothing(system, backbone):
    model = make(system, backbone); items = model.items()
    history,real = pad_histories(HISTORIES[:3], T); short = [pad_histories([h], T) for h in HISTORIES[:3]]
    wide,wide_real = (torch.nn.functional.pad(o, (T-o.shape[1], 0)) for o in (history, real))
    states = cat(model.states(items, wide, wide_real))
    for b,(h,r) in enumerate(short): torch.testing.assert_close(states[b,-h.shape[1]:], cat(model.states(items, h, r))[0], rtol=1e-5, atol=1e-5)
    for o in items: o[0] = 100.                                                # whatever stands in the padding row
    torch.testing.assert_close(cat(model.states(items, wide, wide_real))[wide_real], states[wide_real], rtol=1e-5, atol=1e-5)

@grid()
def test_batch_equals_single(system, backbone):
    scorer = ModelScorer(make(system, backbone), batch=3); together = scorer.scores(HISTORIES)
    assert together.shape == (len(HISTORIES), V+1) and np.isneginf(together[:,0]).all() and np.isfinite(together[:,1:]).all()
    for h,y in zip(HISTORIES, together): np.testing.assert_allclose(scorer.scores([h])[0,1:], y[1:], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scorer.scores([HISTORIES[3][-T:]])[0], scorer.scores([HISTORIES[3]])[0])       # nothing older than max_len is read

@grid()
@torch.no_grad()
def test_a_candidate_is_scored_alone(system, backbone):
    model = make(system, backbone); items = model.items(); history,real = pad_histories(HISTORIES, T)
    h = model.user_state(items, history, real); every = model.score_all(h, items)
    for ids in ([5], [5,6,7], [29,5]):
        c = items.map(lambda o: o[torch.tensor(ids)][None].expand(len(history), -1, -1))
        torch.testing.assert_close(model.score(h, c), every[:,ids], rtol=1e-5, atol=1e-5)

@grid()
@torch.no_grad()
def test_targets_read_the_states_of_their_positions(system, backbone):
    model = make(system, backbone); items = model.items(); history,real = pad_histories(HISTORIES, T)
    target = torch.where(real, torch.randint(1, V+1, history.shape, generator=torch.Generator().manual_seed(3)), 0); target[:,-2] = 0
    batch = SeqBatch(history, real, target, target[...,None], torch.arange(len(history)))
    want = cat(model.states(items, history, real))[target>0]
    for parts in (1, 2, 4): torch.testing.assert_close(cat(model.states_at(items, batch, parts)), want, rtol=1e-5, atol=1e-5)

@grid(systems=[s for s in SYSTEMS if s[1]])
@torch.no_grad()
def test_untrained_fusion_is_the_plain_dual_view(system, backbone):
    "Of the same seed: a row of an ablation table starts where the full model starts"
    plain,fused = (make(('llm-cfsr', f), backbone, noise=0.) for f in ((), system[1]))
    history,real = pad_histories(HISTORIES, T); y = []
    for m in (plain, fused): items = m.items(); y.append(m.score_all(m.user_state(items, history, real), items))
    assert torch.equal(*y) and float(y[0].std()) > 0
