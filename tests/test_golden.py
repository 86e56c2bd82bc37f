"The released programs' numbers, reproduced by llmcfsr.baselines.compat; sizes and hyper-parameters are read from each fixture"
import json, os, random
from pathlib import Path
import numpy as np, pytest, torch, torch.nn.functional as F
from torch import nn
from safetensors.torch import load_file
from llmcfsr.attention import causal_mask, no_mask, two_way_mask
from llmcfsr.backbones import position_numbers
from llmcfsr.baselines.compat import (PaddedGRU, PaddedTransformer, Release, alignment_losses, append_mask, dropped_views, llmesr_losses,
    recommendation_loss, release_groups, release_popularity, shifted_table, soft_target_loss, text_items)
from llmcfsr.baselines.llmesr import SwappedAttention
from llmcfsr.textencoder import last_pool, mean_pool

GOLDEN = Path(os.environ.get('LLMCFSR_GOLDEN') or Path(__file__).resolve().parents[1]/'../shared/golden')
ELSEWHERE = ('splits', 'ranking_ties', 'diversity')      # checked beside the modules that compute them
MODELS = ('sasrec', 'bert4rec', 'gru4rec', 'dual_sasrec', 'dual_bert4rec', 'dual_gru4rec', 'rat_sasrec')
PURE = ('cross_attention', 'contrastive', 'scft', 'attribute_dropout', 'metrics')

def family(path): return path.stem.rsplit('_', 1)[0]
def found(*families):
    files = sorted(f for f in GOLDEN.glob('*.json') if family(f) in families)
    return [pytest.param(f, id=f.stem) for f in files] or [pytest.param(None, marks=pytest.mark.skip(reason=f'no fixtures of {", ".join(families)} in {GOLDEN} (set LLMCFSR_GOLDEN)'))]
def read(path):
    note = json.loads(path.read_text())
    return note, note['hyper_parameters'], load_file(path.with_suffix('.safetensors'))

WORST = {}                                               # name -> largest share of the tolerance used
@pytest.fixture(scope='module', autouse=True)
def used():
    "With `pytest -s`, how much of the tolerance each family used"
    yield
    for k,v in sorted(WORST.items()): print(f'\n{k:28} {v:.3f} of the tolerance', end='')

def distance(got, want, rel=1e-5, base=1e-5):            # as a share of the tolerance: 1 is the limit
    got = torch.as_tensor(got).detach()
    assert got.shape == want.shape, (got.shape, want.shape)
    return float((got.double()-want.double()).abs().max()/(base+rel*want.double().abs().max())) if want.numel() else 0.
def close(name, got, want, **tolerance):
    far = distance(got, want, **tolerance); WORST[name] = max(far, WORST.get(name, 0.))
    assert far <= 1, f'{name}: {far:.3g} times the tolerance'
def close_grad(name, got, want): close(name, torch.zeros_like(want) if got is None else got, want, rel=2e-5, base=2e-6)

# ---- the fixtures' names of the weights

def block_weights(p, b):
    out = {f'{p}.attention_norm':b.norm_a, f'{p}.feedforward_norm':b.norm_z}
    lin = {f'{p}.attention.query':b.attention.W_q, f'{p}.attention.key':b.attention.W_k, f'{p}.attention.value':b.attention.W_v, f'{p}.attention.output':b.attention.W_o,
           f'{p}.feedforward.first':b.W_1, f'{p}.feedforward.second':b.W_2}
    return {**norms(out), **affine(lin)}
def norms(d): return {f'{k}.{a}':getattr(m, b) for k,m in d.items() for a,b in (('gain','weight'),('shift','bias'))}
def affine(d): return {f'{k}.{a}':getattr(m, b) for k,m in d.items() for a,b in (('matrix','weight'),('bias','bias')) if getattr(m, b) is not None}
def gru_weights(gru):
    return {f'gru.{part}.{gate}.matrix':(w, slice(g*gru.hidden_size, (g+1)*gru.hidden_size)) for part,w in (('input',gru.weight_ih_l0),('state',gru.weight_hh_l0)) for g,gate in enumerate(('reset','update','candidate'))}
def view_weights(view, table):
    if isinstance(view, nn.Embedding): return {table:view.weight}
    return {table:view[0].weight, **affine({'adapter.first':view[1], 'adapter.second':view[2]})}

def weights(model, tables):                              # fixture name -> (parameter, rows)
    enc,out = model.encoder,{}
    for v,t in zip(model.views, tables): out |= view_weights(v, t)
    if isinstance(enc, PaddedGRU): out |= gru_weights(enc.gru)
    else:
        out |= {'position_table':enc.positions.weight, **norms({'final_norm':enc.norm})}
        for i,b in enumerate(enc.blocks): out |= block_weights(f'block{i}', b)
    for n,c in zip(('cross_to_collaborative', 'cross_to_semantic'), model.cross or ()):
        out |= affine({f'{n}.{k}':m for k,m in (('query',c.W_q),('key',c.W_k),('value',c.W_v),('output',c.W_o))})
    return {k:v if isinstance(v, tuple) else (v, slice(None)) for k,v in out.items()}

def load(named, t, prefix='weight/'):
    stored = {k[len(prefix):] for k in t if k.startswith(prefix)}
    assert stored-{'sasrec_table'} == set(named)
    with torch.no_grad():
        for k,(p,rows) in named.items(): p[rows] = t[prefix+k]

# ---- models

def tables(fam): return ['collaborative_table', 'semantic_table'] if fam.startswith('dual') else ['item_table']
def build(fam, hp, t, mask=no_mask):
    V,d = hp['items_V'],hp['hidden']
    if fam.startswith('dual'): views = [nn.Embedding(V+2, d), text_items(t['weight/semantic_table'], d)]
    elif fam.startswith('rat'): views = [text_items(shifted_table(t['semantic_input']), d)]
    else: views = [nn.Embedding(V+2, d, padding_idx=0)]
    encoder = PaddedGRU(d) if 'gru' in fam else PaddedTransformer(d, hp['blocks'], hp['heads'], len(t['weight/position_table']), mask)
    cross = [SwappedAttention(d, hp['cross_heads']) for _ in 'cs'] if fam.startswith('dual') else None
    model = Release(views, encoder, cross); named = weights(model, tables(fam))
    if fam.startswith('rat'): assert torch.equal(model.views[0][0].weight, t['weight/item_table'])
    load(named, t)
    return model, named

def losses(model, fam, hp, t, **variant):
    seq,positions,pos,neg = (t[f'train/{k}'] for k in ('seq', 'positions', 'pos', 'neg'))
    if fam.startswith('dual'): return llmesr_losses(model, seq, positions, pos, neg, t['train/sim_seq'], **{'alpha':hp['alpha'], **variant})
    if fam.startswith('rat'): return alignment_losses(model, seq, positions, pos, neg, t['weight/sasrec_table'], hp['alpha'], hp['tau'])
    return {'total':recommendation_loss(model, model(seq, positions), pos, neg)}

def scores(model, fam, hp, t):
    seq,positions = t['eval/seq'],t['eval/positions']
    if 'bert' in fam: seq,positions = append_mask(seq, positions, hp['items_V']+1)
    with torch.no_grad(): h = model.eval()(seq, positions); return h, model.score(h[:,-1], t['eval/item_indices'])

@pytest.mark.parametrize('path', found(*MODELS))
def test_positions(path):
    _,_,t = read(path)
    for part in ('train', 'eval'): assert torch.equal(position_numbers(t[f'{part}/seq']>0), t[f'{part}/positions'])
    if 'train/sim_seq' in t: assert torch.equal(position_numbers(t['train/sim_seq'].flatten(0,1)>0), t['train/sim_positions'].flatten(0,1))

@pytest.mark.parametrize('path', found(*MODELS))
def test_features_and_scores(path):
    _,hp,t = read(path); fam = family(path); model,_ = build(fam, hp, t)
    h,y = scores(model, fam, hp, t)
    close(f'{fam} features', h, t['eval/log_features']); close(f'{fam} scores', y, t['eval/scores'])
    close(f'{fam} features', model.train()(t['train/seq'], t['train/positions']), t['train/log_features'])

@pytest.mark.parametrize('path', found(*MODELS))
def test_losses_and_gradients(path):
    _,hp,t = read(path); fam = family(path); model,named = build(fam, hp, t)
    got = losses(model.train(), fam, hp, t)
    for ours,theirs in dict(total='loss_total', rec='loss_rec', distill='loss_distill', align='loss_align', user='user_vector', near='neighbour_mean_vector').items():
        assert (ours in got) == (f'train/{theirs}' in t) or ours in ('user', 'near')
        if ours in got: close(f'{fam} losses', got[ours], t[f'train/{theirs}'])
    if 'align' in got:
        grads = dict(zip(('first', 'second'), zip(*[iter(torch.autograd.grad(got['align'], list(model.views[0].parameters())[1:], retain_graph=True))]*2)))
        for k,(w,b) in grads.items(): close_grad(f'{fam} gradients', w, t[f'align_grad/adapter.{k}.matrix']); close_grad(f'{fam} gradients', b, t[f'align_grad/adapter.{k}.bias'])
    got['total'].backward()
    trained = {k for k,(p,_) in named.items() if p.requires_grad}
    assert trained == {k[5:] for k in t if k.startswith('grad/')} and {id(p) for p in model.parameters() if p.requires_grad} == {id(named[k][0]) for k in trained}
    for k in trained: p,rows = named[k]; close_grad(f'{fam} gradients', p.grad[rows], t[f'grad/{k}'])

@pytest.mark.parametrize('path', found(*MODELS))
def test_adam(path):
    _,hp,t = read(path); fam = family(path); model,_ = build(fam, hp, t); want = t['train/adam_losses']
    optimiser = torch.optim.Adam([p for p in model.train().parameters() if p.requires_grad], lr=1e-3, betas=(.9, .999), eps=1e-8)
    got = []
    for step in range(len(want)):
        optimiser.zero_grad(); loss = losses(model, fam, hp, t)['total']; got.append(loss.detach())
        if step < len(want)-1: loss.backward(); optimiser.step()
    close(f'{fam} Adam', torch.stack(got), want)

@pytest.mark.parametrize('path', found(*(m for m in MODELS if m.startswith('dual'))))
def test_variants(path):
    _,hp,t = read(path); fam = family(path); model,_ = build(fam, hp, t); model.train()
    variants = dict(item_reg=(dict(beta=hp['beta_item_regulariser']), ('total', 'reg')), contrastive_distill=(dict(contrastive=True), ('total', 'distill')))
    stored = {k.split('/')[1].removeprefix('variant_') for k in t if '/variant_' in k}
    assert 'no_cross' in stored and stored <= {'no_cross', *variants}
    for v in stored & set(variants):
        how,parts = variants[v]; got = losses(model, fam, hp, t, **how)
        for part in parts: close(f'{fam} variants', got[part], t[f'train/variant_{v}/loss_{part}'])
    model.cross = None
    close(f'{fam} variants', losses(model, fam, hp, t)['total'], t['train/variant_no_cross/loss_total']); close(f'{fam} variants', scores(model, fam, hp, t)[1], t['eval/variant_no_cross/scores'])

# ---- switches that must break the agreement: a test that passes whatever is computed shows nothing

@pytest.mark.parametrize('mask', (causal_mask, two_way_mask))
@pytest.mark.parametrize('path', found(*(m for m in MODELS if 'gru' not in m)))
def test_a_mask_breaks_it(path, mask):
    _,hp,t = read(path); fam = family(path)
    model,_ = build(fam, hp, t, mask); h,y = scores(model, fam, hp, t)
    assert distance(h, t['eval/log_features']) > 100 and distance(y, t['eval/scores']) > 100
    assert distance(losses(model.train(), fam, hp, t)['total'], t['train/loss_total']) > 1

@pytest.mark.parametrize('path', found(*(m for m in MODELS if m.startswith('dual'))))
def test_other_cross_attention_breaks_it(path):
    _,hp,t = read(path); fam = family(path); model,_ = build(fam, hp, t)
    model.cross = nn.ModuleList(reversed(model.cross)); assert distance(scores(model, fam, hp, t)[1], t['eval/scores']) > 100
    model,_ = build(fam, hp, t)
    for c in model.cross: c.heads = 1
    assert distance(scores(model, fam, hp, t)[1], t['eval/scores']) > 100

# ---- parts on their own

@pytest.mark.parametrize('path', found('cross_attention'))
def test_cross_attention(path):
    _,hp,t = read(path); att = SwappedAttention(hp['width'], hp['heads'])
    load(weights_ := {k:(p, slice(None)) for k,p in affine({'query':att.W_q, 'key':att.W_k, 'value':att.W_v, 'output':att.W_o}).items()}, t)
    x,y = (t[k].clone().requires_grad_() for k in 'xy'); keys = (t['log_seqs']>0)[:,None].expand(-1, x.shape[1], -1)
    out = att(x, y, keys); close('cross_attention', out, t['output'])
    (out*t['cotangent']).sum().backward()
    for k,p in {'x':x, 'y':y, **{k:p for k,(p,_) in weights_.items()}}.items(): close_grad('cross_attention gradients', p.grad, t[f'grad/{k}'])

@pytest.mark.parametrize('path', found('contrastive'))
def test_contrastive(path):
    _,hp,t = read(path)
    for case in sorted({k.split('/')[0] for k in t}):
        for tau in hp['temperatures']:
            X,Y = (t[f'{case}/{k}'].clone().requires_grad_() for k in 'XY')
            loss = soft_target_loss(X, Y, tau); loss.backward(); p = f'{case}/tau{tau}'
            close('contrastive', loss, t[f'{p}/loss']); close_grad('contrastive gradients', X.grad, t[f'{p}/grad_X']); close_grad('contrastive gradients', Y.grad, t[f'{p}/grad_Y'])

@pytest.mark.parametrize('path', found('scft'))
def test_scft(path):
    _,hp,t = read(path)
    for case in sorted({k.split('/')[0] for k in t}-{'pool'}):
        X,Y,tau = (t[f'{case}/{k}'].clone().requires_grad_() for k in ('X', 'Y', 'tau'))
        loss = soft_target_loss(X, Y, tau); loss.backward(); close('scft', loss.reshape(()), t[f'{case}/loss'])
        for k,v in dict(X=X, Y=Y, tau=tau).items(): close_grad('scft gradients', v.grad, t[f'{case}/grad_{k}'])
    hidden,mask = t['pool/hidden'],t['pool/mask']; mean = mean_pool(hidden, mask)
    close('scft pooling', mean, t['pool/mean']); close('scft pooling', last_pool(hidden, mask), t['pool/last'])
    close('scft', soft_target_loss(*mean.chunk(2), 3.), t['pool/loss_tau3'])

@pytest.mark.parametrize('path', found('attribute_dropout'))
def test_attribute_dropout(path):
    note,hp,t = read(path)
    for e in note['examples']: assert dropped_views(e['input'], e['ratio'], random.Random(e['python_seed'])) == [e['view1'], e['view2']]
    def expected(views, row): return [[i for i in v[row].tolist() if i >= 0] for v in views]
    def drawn(n, rho, rng): return [[int(p) for p in v.partition('\n')[2].split(';') if p] for v in dropped_views('head\n'+';'.join(map(str, range(n))), rho, rng)]
    for row,(seed,rho,n) in enumerate(zip(t['python_seed'].tolist(), t['ratio'].tolist(), t['attributes'].tolist())):
        got = drawn(n, rho, random.Random(seed)); assert got == expected((t['view1'], t['view2']), row)
        assert [len(v) for v in got] == [int(t['kept_view1'][row]), int(t['kept_view2'][row])]
    stream = random.Random(hp['stream_seed'])
    for row,(rho,n) in enumerate(zip(t['stream/ratio'].tolist(), t['stream/attributes'].tolist())): assert drawn(n, rho, stream) == expected((t['stream/view1'], t['stream/view2']), row)

def same(got, want):
    for k,v in want.items():
        if isinstance(v, (int, float)): assert abs(got[k]-v) <= 1e-12, (k, got[k], v)
        elif isinstance(v, list): [same(g, w) for g,w in zip(got[k], v, strict=True)]
        else: same(got[k], v)

@pytest.mark.parametrize('path', found('metrics'))
def test_metrics(path):
    note,hp,t = read(path); t = {k:v.numpy() for k,v in t.items()}; K = hp['k']
    item,start,target = t['sequence_items'],t['sequence_offset'],t['target']
    assert np.array_equal(release_popularity(item, start, hp['items_V']), t['popularity_release'])
    assert np.array_equal(np.minimum(np.diff(start)-1, hp['max_len']), t['input_length']) and np.array_equal(item[start[1:]-1], target)
    def groups(counts, **how): return release_groups(t['rank'], t['input_length'], t[counts][target], hp['ts_user'], hp['ts_item'], K, **how)
    got = groups('popularity_release')
    for k,v in note['results']['release'].items():
        group,_,metric = k.rpartition(' ')
        if isinstance(v, dict):
            for m,n in (('hr',f'HR@{K}'), ('ndcg',f'NDCG@{K}'), ('count','count')): assert np.abs(np.array([g[n] for g in got[k]])-v[m]).max() <= 1e-12
        else: assert abs(got[group][metric]-v) <= 1e-12
    for name,counts in dict(release_counts='popularity_release', all_interactions='popularity_all', train_only='popularity_train').items():
        want = dict(note['results']['corrected'][name]); quirk = want.pop('with first user left out of the item-group numerators')
        same(groups(counts, skip_first=False), want); same(groups(counts), quirk)

def test_every_fixture_is_known():
    "A file of a family that no test reads would pass unseen"
    files = sorted(GOLDEN.glob('*.json'))
    if not files: pytest.skip(f'no fixtures in {GOLDEN} (set LLMCFSR_GOLDEN)')
    assert [f.stem for f in files if family(f) not in MODELS+PURE+ELSEWHERE] == []
