"Other people's models on our split: the files say what the split says, ranks from files are ours, and what does not fit is told"
import json, os, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'benchmarks'))
import outside, outside_shared, run as speed
from llmcfsr.datasets import load_dataset
from llmcfsr.evaluate import RankTable, metrics, rank_cases
from llmcfsr.ledger import differences, leaderboard, read_ledger
from llmcfsr.split import cases, head_tail, leave_one_out, popularity

ENVS = os.environ.get('LLMCFSR_ENVS')   # where the libraries live: python benchmarks/outside.py --envs FOLDER ... puts them there
@pytest.fixture(scope='module')
def data(): return load_dataset('planted')
@pytest.fixture(scope='module')
def split(data): return leave_one_out(data.interactions)
@pytest.fixture
def files(split, tmp_path): return outside.write_files(split, tmp_path/'files', np.eye(split.inter.n_items+1, 5, -1, dtype='f4'))
def options(system, **more): return dict(system=system, seed=0, threads=1, epochs=2, patience=2, batch_size=64, dim=8, blocks=1, heads=1, max_len=6, dropout=.1, lr=1e-3, set={}, **more)

def test_ranks_from_files_are_ours():
    "A worker in a process of its own, that sees nothing but the files"
    assert '600 test users' in outside.check()

def test_files_are_the_split(split, files):
    "History by history; no file holds a test target"
    f = outside_shared.Files(files); inter = split.inter
    assert [h.tolist() for h in f.train]==[inter.item[inter.start[u]:inter.start[u]+n].tolist() for u,n in enumerate(split.train_length)]
    for which,got in (('valid', f.valid), ('test', f.test)): c = cases(split, which); assert [h.tolist() for h in got]==[c.history(i).tolist() for i in range(len(c))]
    assert f.target.tolist()==cases(split, 'valid').target.tolist() and (f.vectors()==np.eye(split.inter.n_items+1, 5, -1)).all()
    assert sorted(p.name for p in files.iterdir())==sorted(['split.json', 'valid_target.npy', 'vectors.npy', *(f'{a}_{b}.npy' for a in ('train', 'valid', 'test') for b in ('item', 'length'))])
    last = [len(h)+1==inter.lengths[u] for u,h in zip(cases(split, 'test').user, f.test)]; assert all(last)
    assert f.targets(50)==sum(n-1 for n in split.train_length if n>1) and f.targets(3)==sum(min(n, 4)-1 for n in split.train_length if n>1)

@pytest.mark.parametrize('ties', [False, True])
def test_the_worker_validates_as_we_do(split, files, tmp_path, ties):
    "NDCG@10 of random vectors, with and without items that score alike"
    g = np.random.default_rng(0); f = outside_shared.Files(files); draw = (lambda *s: g.integers(-1, 2, s).astype('f4')) if ties else lambda *s: g.standard_normal(s, dtype='f4')
    users = {h.tobytes():draw(4) for h in f.valid+f.test}; x = draw(split.inter.n_items+1, 4); x[0] = 0; u,last = (np.stack([users[h.tobytes()] for h in hs]) for hs in (f.valid, f.test))
    for name,v in (('users_valid', u), ('users_test', last), ('items', x)): np.save(tmp_path/f'{name}.npy', v)
    r = rank_cases(outside.Products(split, tmp_path), cases(split, 'valid'), head_tail(split)).full; assert (r.tied.sum()>0)==ties
    assert outside_shared.ndcg(u, x, f.valid, f.target)==pytest.approx(metrics(r)['NDCG@10'], abs=1e-9)

@pytest.mark.parametrize('left,rows', [(True, [[0, 7, 8], [8, 9, 10], [0, 0, 0]]), (False, [[7, 8, 0], [8, 9, 10], [0, 0, 0]])])
def test_rows_are_padded(left, rows):
    "The newest items, in the library's own numbers"
    assert outside_shared.padded([np.array([1, 2]), np.array([1, 2, 3, 4]), np.array([], int)], 3, np.array([0, 7, 8, 9, 10]), left).tolist()==rows

def test_the_best_epoch_is_kept(files, tmp_path):
    "Stops after as many epochs without a better value as it is told, and keeps the vectors of the best"
    f = outside_shared.Files(files); pop = np.bincount(np.concatenate(f.train), minlength=f.n_items+1).astype('f4')[:,None]; judge = outside_shared.Judge(f, SimpleNamespace(epochs=9, patience=2), tmp_path); over = []
    for s in (-1, 1, .5, -1, 2): judge.add(lambda hs: (np.full((len(hs), 1), s, 'f4'), pop)); over.append(judge.over)
    assert over==[False, False, False, True, True] and len(judge.values)==4 and judge.best==2 and (judge.kept[1]==1).all() and judge.values[1]==judge.values[2]>judge.values[0]

def test_a_broken_run_goes_on(files, tmp_path):
    "Weights, moments, random numbers and the judge after a stop between two epochs are those of a run that never stopped"
    import torch
    f = outside_shared.Files(files); o = SimpleNamespace(epochs=4, patience=9)
    def training(folder, stop):
        folder.mkdir(exist_ok=True); torch.manual_seed(1); model = torch.nn.Embedding(f.n_items+1, 4); optimizer = torch.optim.Adam(model.parameters(), lr=.1); order = torch.Generator().manual_seed(2); judge = outside_shared.Judge(f, o, folder); judge.restore(model, optimizer, order)
        def of(histories):
            with torch.no_grad(): return np.stack([model.weight[torch.from_numpy(h).long()].mean(0).numpy() for h in histories]),model.weight.numpy()
        while len(judge.values) < stop:
            (model.weight[torch.randperm(f.n_items, generator=order)[:20]]*torch.randn(20, 4)).sum().backward(); optimizer.step(); optimizer.zero_grad(); judge.add(of); judge.save(model, optimizer, order)
        return model.weight.detach().clone(),judge
    whole,w = training(tmp_path/'whole', 4); training(tmp_path/'broken', 2); again,b = training(tmp_path/'broken', 4)
    assert torch.equal(whole, again) and w.values==b.values and w.best==b.best and all((x==y).all() for x,y in zip(w.kept, b.kept)) and not list((tmp_path/'broken').glob('.*'))

def test_lines_are_shown_beside_our_runs(data, split, tmp_path):
    "A run is made once; the tables of the ledger take it beside one of our own"
    files = outside.write_files(split, tmp_path/'files'); o = dict(options('files-pop'), set={}); line = outside.train(data, files, o, sys.executable, tmp_path)
    assert outside.train(data, files, o, 'no such python', tmp_path)==line and [p.name for p in (tmp_path/'runs'/line['key']).glob('*.npy')]==[]
    own = outside.ours(data, 'pop', o, tmp_path, 'tfidf'); done = outside.pairs(read_ledger(tmp_path/'ledger.jsonl')); assert [l['kind'] for _,l in done]==['outside', 'run']
    assert own['metrics']['test']==line['metrics']['test'] and own['metrics']['valid']==line['metrics']['valid']
    table = leaderboard(done); assert (table.iloc[0,:-2]==table.iloc[1,:-2]).all() and (differences(done, tmp_path, 'files-pop').difference==0).all()

def test_what_does_not_fit_is_told(data, split, files, tmp_path):
    "Vectors of other users, a validation that comes out otherwise, a worker that fails, a setting without a value"
    np.save(tmp_path/'items.npy', np.ones((3, 2), 'f4')); [np.save(tmp_path/f'users_{w}.npy', np.ones((4, 2), 'f4')) for w in ('valid', 'test')]
    with pytest.raises(SystemExit, match='do not fit'): outside.Products(split, tmp_path)
    with pytest.raises(SystemExit, match='files-pop failed'): outside.train(data, tmp_path/'nowhere', options('files-pop'), sys.executable, tmp_path/'out')
    assert not (tmp_path/'out/ledger.jsonl').exists()
    with pytest.raises(SystemExit, match='give SYSTEM.NAME=VALUE'): outside.setting('rectools-sasrec.lr')
    assert outside.setting('a.b={"c": true}')==('a', 'b', {'c':True}) and outside.setting('a.b=word')==('a', 'b', 'word')
    run = tmp_path/'run'; run.mkdir(); c = len(cases(split, 'valid')); note = dict(valid=[.5], best_epoch=1, epochs=1, parameters=0, versions={}, seconds={'fit':0.})
    for name,v in (('users_valid', np.ones((c, 1), 'f4')), ('users_test', np.ones((c, 1), 'f4')), ('items', np.ones((split.inter.n_items+1, 1), 'f4'))): np.save(run/f'{name}.npy', v)
    (run/'outcome.json').write_text(json.dumps(note))
    with pytest.raises(SystemExit, match='do not mean the same'): outside.judged(data, run)

def rectools_state(weights, state):
    "RecTools' weights under our names; its rows of positions begin with the newest, ours have one for padding before them"
    out = {'views.co.weight':weights['item_model.item_net_blocks.0.ids_emb.weight'].copy(), 'backbone.positions.weight':np.concatenate([state['backbone.positions.weight'][:1].numpy(), weights['pos_encoding_layer.pos_emb.weight']])}; out['views.co.weight'][0] = 0
    for i,part in ((i, part) for i in range(2) for part in ('weight', 'bias')):
        their,our = f'transformer_layers.transformer_blocks.{i}.',f'backbone.blocks.{i}.'
        for a,b in dict(q_layer_norm='norm_a', ff_layer_norm='norm_z', **{'feed_forward.ff_linear_1':'W_1', 'feed_forward.ff_linear_2':'W_2', 'multi_head_attn.out_proj':'attention.W_o'}).items(): out[f'{our}{b}.{part}'] = weights[f'{their}{a}.{part}']
        for k,w in zip('qkv', np.split(weights[f'{their}multi_head_attn.in_proj_{part}'], 3)): out[f'{our}attention.W_{k}.{part}'] = w
        out[f'backbone.norm.{part}'] = weights[f'transformer_layers.last_layernorm.{part}']
    return out

def test_sasrec_is_that_of_rectools():
    "From the same weights both compute the same scores, once RecTools leaves padding out of attention and scales item vectors; by default it does neither, and rows without padding show the scale alone"
    import torch
    from llmcfsr.model import ModelConfig, ModelScorer, build_model
    f = np.load(ROOT/'tests/fixtures/rectools_sasrec.npz', allow_pickle=False); weights = {k.partition('/')[2]:f[k] for k in f.files if k.startswith('weights/')}     # made by benchmarks/outside_same.py
    V,D = len(weights['item_model.item_net_blocks.0.ids_emb.weight'])-1,8; model = build_model(ModelConfig(backbone='sasrec', view='co', fuse=(), id_init='random', d=D, blocks=2, heads=2, max_len=6), n_items=V, seed=0); state = model.state_dict()
    put = rectools_state(weights, state); assert set(put)==set(state); model.load_state_dict({k:torch.from_numpy(np.ascontiguousarray(v)) for k,v in put.items()})
    y = ModelScorer(model.eval()).scores([r[r>0] for r in f['rows']])[:,1:]; off = {k:np.abs(y-f[k][:,1:]).max(1) for k in f.files if k.startswith('scores/')}; full = (f['rows']>0).all(1)
    assert off['scores/mask True scale True'].max() < 1e-5 and off['scores/mask False scale True'][full].max() < 1e-5
    assert off['scores/mask False scale True'][~full].min() > .01 and off['scores/mask True scale False'][full].max() > .01

@pytest.mark.parametrize('system', [s for s in outside.SYSTEMS if s!='files-pop'])
def test_a_library_learns(data, split, files, tmp_path, system):
    "Some epochs of each library on the planted world, better than chance; killed and begun again it comes to the same"
    home = system.partition('-')[0]
    if not (ENVS and (Path(ENVS)/home/'complete.json').exists()): pytest.skip(f'no environment of {home}: python benchmarks/outside.py --envs FOLDER ... makes it, LLMCFSR_ENVS=FOLDER names it')
    python = speed.environment(home, ENVS); o = {**options(system), 'epochs':3, 'lr':.01, 'batch_size':32}; line = outside.train(data, files, o, python, tmp_path); run = tmp_path/'runs'/line['key']
    t = RankTable.load(run/'ranks.parquet'); chance = np.mean(10/t.n_candidates)
    assert line['metrics']['test']['full']['overall']['HR@10'] > chance and line['versions'][home] and line['metrics']['parameters'] > 0 and line['targets']
    watched = subprocess.Popen([python, outside.HERE/outside.SYSTEMS[system], '--files', files, '--run', tmp_path, '--options', json.dumps(o)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for row in watched.stdout:
        if row.startswith('epoch 2'): watched.kill(); break          # somewhere before, while or after the epoch is stored
    watched.wait(); assert subprocess.run([python, outside.HERE/outside.SYSTEMS[system], '--files', files, '--run', tmp_path, '--options', json.dumps(o)], cwd=tmp_path).returncode==0
    assert json.loads((tmp_path/'outcome.json').read_text())['valid']==json.loads((run/'outcome.json').read_text())['valid']
