"What every rival must keep, whatever it computes: time runs one way, padding is nothing, a seed decides, and a stored model is the model"
import dataclasses, functools
import numpy as np, pytest, torch, torch.nn.functional as F
from safetensors.torch import load_file, save_file
from llmcfsr.baselines.attributes import attribute_table
from llmcfsr.baselines.caser import CaserConfig, build_caser
from llmcfsr.baselines.cities import CITIESConfig, Contexts, infer_tail, learn_contexts
from llmcfsr.baselines.cl4srec import contrastive_objective
from llmcfsr.baselines.ips import ips_objective
from llmcfsr.baselines.llmemb import aligned_objective, build_llmemb, rows_of
from llmcfsr.baselines.rlmrec import build_rlmrec, rlmrec_objective
from llmcfsr.baselines.said import SAIDConfig, SoftItems, build_said, fit_said, said_vectors, surprise
from llmcfsr.baselines.summed import build_summed
from llmcfsr.baselines.llmesr import build_llmesr, distilled_objective
from llmcfsr.baselines.melt import MELTConfig, Teachers, build_melt, fit_melt
from llmcfsr.baselines.s3rec import S3Loader, S3RecConfig, pretrain_s3rec
from llmcfsr.baselines.single_view import sasrec
from llmcfsr.baselines.tslrec import TSLRecConfig, build_tslrec, latent_categories, main_categories, tsl_task, tslrec_vectors
from llmcfsr.baselines.ssl import build_ssl, ssl_objective, stored_attributes
from llmcfsr.batches import SeqLoader, pad_histories
from llmcfsr.losses import LOSSES, objective
from llmcfsr.completion import Chat
from llmcfsr.adapters import add_lora
from llmcfsr.model import ModelConfig, ModelScorer
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.rowadam import Adam, RowAdam
from llmcfsr.split import leave_one_out
from llmcfsr.textencoder import tiny_encoder, tiny_tokenizer, with_padding
from llmcfsr.train import TrainConfig, adam, epochs, fit, identity_of

WORLD = planted_world(seed=0, users=120)
SPLIT,V = leave_one_out(WORLD.interactions),WORLD.interactions.n_items
TABLE = attribute_table(WORLD.catalog)
E = torch.randn(V+1, 12, generator=torch.Generator().manual_seed(0)); E[0] = 0
def sizes(backbone='sasrec', **more): return ModelConfig(backbone=backbone, d=8, blocks=1, max_len=12, **{'dropout':.2, **more})

BUILD = {'caser':lambda seed=0, b='sasrec': build_caser(sizes(b), n_items=V, seed=seed),
    'caser one by one':lambda seed=0, b='sasrec': build_caser(sizes(b), n_items=V, seed=seed, caser=CaserConfig(3, 0, 2, 'none')),
    **{f'ssl {b}':functools.partial(lambda seed=0, b=b: build_ssl(sizes(b), n_items=V, seed=seed, attributes=TABLE), b=b) for b in ('sasrec', 'gru4rec', 'bert4rec')},
    'ssl without attributes':lambda seed=0, b='sasrec': build_ssl(sizes(b), n_items=V, seed=seed),
    **{f'melt {b}':functools.partial(lambda seed=0, b=b: build_melt(sizes(b), n_items=V, seed=seed), b=b) for b in ('sasrec', 'bert4rec')},
    **{f'summed {b}':functools.partial(lambda seed=0, b=b: build_summed(sizes(b), E, seed=seed), b=b) for b in ('sasrec', 'gru4rec', 'bert4rec')}, 'rlmrec':lambda seed=0, b='sasrec': build_rlmrec(sizes(b), E, seed=seed),
    'llmemb':lambda seed=0, b='sasrec': build_llmemb(sizes(b), E, seed=seed), 'llm-esr':lambda seed=0, b='sasrec': build_llmesr(sizes(b), E, seed=seed),
    'said':lambda seed=0, b='sasrec': build_said(sizes(b), E[:,:8], seed=seed), 'said frozen':lambda seed=0, b='gru4rec': build_said(sizes(b), E, seed=seed, frozen=True), 'tslrec':lambda seed=0, b='bert4rec': build_tslrec(sizes(b), E, seed=seed)}
each = pytest.mark.parametrize('build', BUILD.values(), ids=BUILD)
def batch_for(model, K=3, rows=40): return next(SeqLoader(SPLIT, max_len=12, batch_size=rows, kind='next' if model.causal else 'cloze', negatives=K).epoch(0))
def awake(model):
    "Every weight says something, the padding nothing"
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters(): keep = p[0].clone() if p.shape[0]==V+1 else None; p.add_(.2*torch.randn(p.shape, generator=gen)); p[0] = keep if keep is not None else p[0]
    return model.eval()
def close(a, b, eps=1e-4): assert a.shape==b.shape and torch.allclose(a, b, atol=eps), float((a-b).abs().max())

@each
def test_the_future_is_not_heard(build):
    model = awake(build()); items = model.items().map(torch.detach); gen = np.random.default_rng(0); h = torch.from_numpy(gen.integers(1, V+1, (3, 9))); real = torch.ones_like(h).bool()
    z = model.states(items, h, real).cat()
    for t in (1, 4, 8):
        other = h.clone(); other[:,t] = other[:,t]%V+1; moved = (model.states(items, other, real).cat()!=z).any(-1).any(0)
        assert int(moved.int().argmax())==(t if model.causal else 0) and moved.any()

@each
def test_padding_and_company_change_nothing(build):
    model = awake(build()); items = model.items(); b = batch_for(model); z = model.states(items, b.history, b.real).cat()
    T = b.history.shape[1]; room = 12-T; noisy = torch.where(b.real, b.history, 7)
    close(model.states(items, noisy, b.real).cat()[b.real], z[b.real], 1e-5)
    if room: close(model.states(items, F.pad(b.history, (room, 0)), F.pad(b.real, (room, 0))).cat()[:,room:][b.real], z[b.real])
    for r in (0, len(z)//2, len(z)-1): n = int(b.real[r].sum()); close(model.states(items, b.history[r:r+1,-n:], b.real[r:r+1,-n:]).cat()[0], z[r,-n:])
    at = b.target>0
    for parts in (1, 3, 10, None)+((0,) if model.jagged else ()): close(model.states_at(items, b, parts).cat(), z[at])
    mixed = type(b)(*(x[torch.randperm(len(z), generator=torch.Generator().manual_seed(0))] for x in b)); close(model.states_at(items, mixed).cat(), model.states(items, mixed.history, mixed.real).cat()[mixed.target>0])

@each
def test_shapes_and_scores(build):
    model = awake(build()); items = model.items(); assert model.n_items==V and not items.cat()[0].any() and items.cat().shape[0]==V+1
    close(model.items(torch.tensor([5, 0, 2])).cat(), items.cat()[[5, 0, 2]], 1e-5)
    histories = [np.array([3,1,4,1,5]), np.array([9]), np.arange(1, 16)]; h = model.user_state(items, *pad_histories(histories, 12)); assert h.cat().shape[0]==3
    y = model.score_all(h, items); assert y.shape==(3, V+1); p = model.products(h, items); close(y, p.u@p.x.T if not p.gates else y); cand = torch.tensor([[1, V], [7, 7], [2, 0]])
    close(model.score(h, items.map(lambda e: e[cand])), y.gather(1, cand)); close(model.score_at(h, items, cand), y.gather(1, cand))
    got = ModelScorer(model, batch=2).scores(histories); assert np.isneginf(got[:,0]).all(); close(torch.from_numpy(got[:,1:]), y[:,1:].detach())
    close(torch.from_numpy(ModelScorer(model).scores(histories[::-1])[::-1][:,1:].copy()), y[:,1:].detach())

@each
def test_every_loss_reaches_every_weight(build):
    model = awake(build()).train(); b = batch_for(model)
    for loss in LOSSES:
        model.zero_grad(); parts = objective(model, b, loss, shared=V); parts['total'].backward(); assert parts['total'].isfinite()
        own = [(n, p) for n,p in model.named_parameters() if not n.startswith(('W_U', 'W_I', 'text.'))]      # what MELT's branches and RLMRec's contrast alone learn
        assert [n for n,p in own if p.grad is None or not p.grad.isfinite().all()]==[]
        assert [n for n,p in own if not p.grad.any() and not n.endswith('W_k.bias')]==[]

@each
def test_a_seed_decides_and_a_stored_model_is_the_model(build, tmp_path):
    before = torch.random.get_rng_state(); a,b,c = build(3),build(3),build(4); assert torch.equal(before, torch.random.get_rng_state())
    same = lambda a,b: all(torch.equal(x, y) for x,y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)); assert same(a, b) and not same(a, c)
    state = awake(a).state_dict(); save_file(state, tmp_path/'m.safetensors'); c.load_state_dict(load_file(tmp_path/'m.safetensors')); histories = [np.array([3,1,4]), np.array([9])]
    assert np.array_equal(ModelScorer(c).scores(histories), ModelScorer(a).scores(histories))

def test_a_tower_is_rebuilt_from_what_is_stored():
    model = awake(BUILD['ssl sasrec']()); again = build_ssl(model.config, n_items=V, seed=8, attributes=stored_attributes(model.state_dict())); again.load_state_dict(model.state_dict())
    assert np.array_equal(ModelScorer(again).scores([np.array([3,1])]), ModelScorer(model).scores([np.array([3,1])]))

plain = functools.partial(objective, loss='bce')
GOALS = {'cl4srec':(lambda: sasrec(V, d=8, blocks=1, max_len=12), lambda: contrastive_objective(plain)), 'ips':(lambda: sasrec(V, d=8, blocks=1, max_len=12), lambda: ips_objective(SPLIT, plain)),
    'ssl':(BUILD['ssl sasrec'], lambda: ssl_objective(plain)), 'caser':(BUILD['caser'], lambda: plain),
    'summed':(BUILD['summed sasrec'], lambda: plain), 'rlmrec':(BUILD['rlmrec'], lambda: rlmrec_objective(SPLIT, E, plain)), 'llmemb':(BUILD['llmemb'], lambda: aligned_objective(rows_of(sasrec(V, d=8, blocks=1, max_len=12)), plain)),
    'said':(BUILD['said'], lambda: plain), 'tslrec':(BUILD['tslrec'], lambda: plain),
    'cl4srec over llm-esr':(BUILD['llm-esr'], lambda: contrastive_objective(distilled_objective(SPLIT, E, plain, max_len=12, n=5)))}
@pytest.mark.parametrize('make,goal', GOALS.values(), ids=GOALS)
def test_a_broken_off_run_ends_as_a_whole_one(tmp_path, make, goal):
    def train(epochs, **how):
        m = make(); loader = SeqLoader(SPLIT, max_len=12, batch_size=50)
        return m, fit(m, loader, goal(), lambda m: {'NDCG@10':float(sum(p.abs().sum() for p in m.parameters()))}, TrainConfig(epochs=epochs), **how)
    whole,records = train(2); train(1, checkpoint=tmp_path/'c'); resumed,again = train(2, checkpoint=tmp_path/'c', resume=True)
    assert all(torch.equal(x, y) for x,y in zip(whole.state_dict().values(), resumed.state_dict().values())) and [r['loss'] for r in records]==[r['loss'] for r in again]

@pytest.mark.parametrize('name', ('cl4srec', 'ssl'))
def test_tables_stepped_by_rows_end_where_plain_adam_does(name):
    make,goal = GOALS[name]; ends = {}
    for long in (2**14, 50):
        m = make(); config = TrainConfig(epochs=1); optimizer = adam(m, config, long); list(epochs(m, SeqLoader(SPLIT, max_len=12, batch_size=20), goal(), optimizer, config))
        ends[type(optimizer)] = torch.cat([p.detach().flatten() for p in m.parameters()])
    assert float((ends[Adam]-ends[RowAdam]).abs().mean()) < 1e-5                       # rounding, which Adam enlarges where a gradient is nearly nothing

def held_out_changed():
    inter = SPLIT.inter; held = inter.item.copy(); rows = np.repeat(np.arange(inter.n_users), np.diff(inter.start)); out = np.arange(len(held))-inter.start[rows] >= SPLIT.train_length[rows]
    held[out] = held[out]%V+1; return dataclasses.replace(SPLIT, inter=dataclasses.replace(inter, item=held))

def test_nothing_held_out_is_read():
    other = held_out_changed()
    assert torch.equal(ips_objective(SPLIT).keywords['weight'], ips_objective(other).keywords['weight'])
    assert all(torch.equal(x, y) for a,b in zip(S3Loader(SPLIT, 12).epoch(0), S3Loader(other, 12).epoch(0), strict=True) for x,y in zip(a, b))

def test_s3rec_is_trained_twice():
    how = S3RecConfig(epochs=2, batch_size=60); a,b = (sasrec(V, d=8, blocks=1, max_len=12) for _ in range(2)); first = pretrain_s3rec(a, SPLIT, TABLE, how)
    pretrain_s3rec(b, held_out_changed(), TABLE, how); assert all(torch.equal(x, y) for x,y in zip(a.state_dict().values(), b.state_dict().values())) and len(first)==2
    records = fit(a, SeqLoader(SPLIT, max_len=12, negatives=0), functools.partial(objective, loss='softmax'), lambda m: {'NDCG@10':1.}, TrainConfig(epochs=1)); assert np.isfinite(records[0]['loss']['total'])

def test_repairs_after_training_read_training_alone():
    ends = []
    for split in (SPLIT, held_out_changed()):
        m = sasrec(V, d=8, blocks=1, max_len=12); infer_tail(m, split, CITIESConfig(window=3, contexts=3, blocks=1, heads=2, epochs=1, lr=1e-3)); ends.append(m.views.co.weight.detach())
        k = build_melt(sizes(), trained=m); fit_melt(k, split, SeqLoader(SPLIT, max_len=12), lambda m: {'NDCG@10':float(m.W_I.weight.abs().sum())}, TrainConfig(epochs=2), plain, MELTConfig(items=9)); ends.append(torch.cat([p.detach().flatten() for p in k.parameters()]))
    assert torch.equal(ends[0], ends[2]) and torch.equal(ends[1], ends[3])

def test_inference_begins_at_the_mean_and_learns_from_few_contexts_too():
    contexts = Contexts(SPLIT, 3, 4); known = np.flatnonzero(contexts.count>=4); many = contexts.draw(np.repeat(known, 20), np.random.default_rng(0))[-1]
    assert set(many.tolist())=={1, 2, 3, 4} and set(contexts.draw(known)[-1].tolist())=={4}                       # rare items have few, so frequent ones are shown with few as well
    c = F.pad(.05*torch.randn(V, 8, generator=torch.Generator().manual_seed(0)), (0,0,1,0)); f,(first,) = learn_contexts(c, contexts, known, CITIESConfig(window=3, contexts=4, heads=2, epochs=1))
    assert first['loss'] < 1.2*.05**2                                                                             # not that of states, whose coordinates are of size one

def test_s3rec_asks_about_every_beginning_and_its_newest_item():
    rows = [(x[y].tolist(), h) for b in S3Loader(SPLIT, 12).epoch(0) for x,y,h in zip(torch.where(b.target>0, b.target, b.history), b.real, b.target)]
    assert len(rows)==int(np.maximum(np.minimum(SPLIT.train_length, 12)-1, 0).sum()) and all(h[-1]==r[-1] for r,h in rows)      # the released program's rows
    assert len(S3Loader(SPLIT, 12, S3RecConfig(beginnings=False)).rows)==int((SPLIT.train_length>=2).sum())

def test_a_run_is_told_by_what_stands_within_its_objective():
    m,loader = sasrec(V, d=8, blocks=1, max_len=12),SeqLoader(SPLIT, max_len=12, batch_size=50); own = lambda goal: identity_of(m, loader, goal, TrainConfig())['objective']
    soft = functools.partial(objective, loss='softmax'); rows = rows_of(m)
    assert len({own(contrastive_objective(plain)), own(contrastive_objective(soft)), own(aligned_objective(rows, plain)), own(aligned_objective(rows, soft)), own(aligned_objective(2*rows, plain))})==5
    assert own(contrastive_objective(plain))==own(contrastive_objective(functools.partial(objective, loss='bce'))) and own(plain)=='objective(loss=bce)'

def test_melt_teaches_with_few_histories_too():
    t = Teachers(SPLIT, MELTConfig(contexts=4)); some = t.head[t.count[t.head]>=4]; many = t.before(np.repeat(some, 20), np.random.default_rng(0))[-1]
    assert set(many.tolist())=={1, 2, 3, 4} and set(t.before(some)[-1].tolist())=={4}

def test_a_contrast_of_wide_states_costs_no_more_than_knowing_nothing():
    m = sasrec(V, d=64, max_len=12, dropout=.5).train(); b = batch_for(m, 1, 100); torch.manual_seed(0); contrast = float(contrastive_objective(plain)(m, b)['contrast'])
    assert contrast < 1.5*np.log(2*len(b.user)-1)                                       # an inner product of normed states is eight times as large, and the loss of the next item drowns

WORDS = ['', 'red tea; brand is Kew', 'blue pot; brand is Kew', 'a cup', 'red tea; brand is Kew', '', 'a tea cup; brand is Oolong']
def causal(kind, seed=0):
    "A random causal language model of some architecture"
    from transformers import AutoConfig, AutoModelForCausalLM
    tok = with_padding(tiny_tokenizer(WORDS, 300)); size = dict(n_embd=32, n_layer=2, n_head=4, n_positions=64) if kind=='gpt2' else dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=48, max_position_embeddings=64)
    with torch.random.fork_rng(): torch.manual_seed(seed); model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=len(tok), pad_token_id=0, bos_token_id=None, eos_token_id=0, **size))
    return Chat(tok, model.eval().requires_grad_(False), kind)

@pytest.mark.parametrize('kind', ('llama', 'qwen3', 'gpt2'))
def test_a_soft_token_says_its_text(kind):
    "Any architecture: the text costs least after its own vector, one text has one vector, and what is not there stays zero"
    chat,how = causal(kind),SAIDConfig(epochs=30, batch=4, lr=.3); items = SoftItems(chat, 6); before = [p.clone() for p in chat.model.parameters()]; records = fit_said(items, chat, WORDS, how); e = items.vectors()
    assert records[-1]['loss'] < records[0]['loss'] and all(torch.equal(a, b) for a,b in zip(before, chat.model.parameters())) and not e[[0,5]].any() and np.linalg.norm(e[1]-e[4]) < 1e-2*np.linalg.norm(e[1])
    ids = [1,2,3,6]; cost = surprise(items, chat, [WORDS[j] for i in ids for j in ids], np.repeat(ids, 4), how).reshape(4, 4); assert (cost.argmin(0)==range(4)).all()
    assert np.array_equal(said_vectors(chat, WORDS, how), e) and not said_vectors(chat, WORDS, SAIDConfig(epochs=0)).any()

def test_a_tuned_reader_ends_where_an_unbroken_one_does(tmp_path):
    "Vectors, projector and adapter after a stop between two runs; the number of passes is part of the run, so it is the file of a whole run that is cut short"
    def go(stop=None, **kw):
        chat = add_lora(causal('llama'), rank=2, dropout=.2); items = SoftItems(chat, 6, 4); seen = []
        def hook(*_): seen.append(1); assert stop is None or len(seen) <= stop
        chat.model.register_forward_pre_hook(hook); records = fit_said(items, chat, WORDS, SAIDConfig(dim=4, epochs=3, batch=2, lr_shared=1e-2), **kw); return items.vectors(),items.P.detach().numpy(),[p.detach().numpy() for p in chat.model.parameters() if p.requires_grad],records
    want,path = go(),tmp_path/'said'; files = []
    with pytest.raises(AssertionError): go(5, checkpoint=path, every=2)
    for _ in range(2): got = go(checkpoint=path, every=2); assert np.array_equal(got[0], want[0]) and np.array_equal(got[1], want[1]) and all(map(np.array_equal, got[2], want[2])) and got[3]==want[3]; files.append(path.read_bytes())
    assert files[0]==files[1] and [p.name for p in tmp_path.iterdir()]==['said']

@pytest.mark.parametrize('kind', ('qwen3', 'bert'))
def test_preferences_are_told_from_training_alone(kind):
    "Both kinds of categories, an encoder and a decoder: what is held out changes no vector, what is not does"
    texts,named = [t.split('; ')[0] for t in item_texts(WORLD.catalog)],main_categories(TABLE)[0]
    def vectors(split, own):
        m = sasrec(V, d=8, blocks=1, max_len=12); fit(m, SeqLoader(split, max_len=12), plain, lambda m: {'NDCG@10':1.}, TrainConfig(epochs=1)); category = latent_categories(rows_of(m), 5) if own else named
        return tslrec_vectors(add_lora(tiny_encoder(texts, kind=kind, width=16), rank=2, dropout=.1), tsl_task(split, texts, category, m), TSLRecConfig(steps=3, users=6, items=3, lr=1e-2))
    start = tiny_encoder(texts, kind=kind, width=16); none = tslrec_vectors(add_lora(start, rank=2), tsl_task(SPLIT, texts, named, sasrec(V, d=8, blocks=1, max_len=12)), TSLRecConfig(steps=0)); ends = []
    for own in (False, True): e,other = vectors(SPLIT, own),vectors(held_out_changed(), own); assert np.array_equal(e, other) and e.shape==(V+1, 16) and not e[0].any() and not np.allclose(e, none, atol=1e-5); ends.append(e)
    assert not np.allclose(*ends, atol=1e-6)
