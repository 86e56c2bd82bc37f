"What a trained recommender can do: lists with every option against a plain loop, new items from text, new interactions, and all of it again after a round trip through a folder"
import json, logging
import numpy as np, pandas as pd, pytest
from safetensors.numpy import load_file, save_file
from llmcfsr import textencoder
from llmcfsr.core import InputError, Shelf
from llmcfsr.datasets import Dataset, load_dataset
from llmcfsr.interactions import Interactions
from llmcfsr.itemtable import item_table
from llmcfsr.prompts import item_texts
from llmcfsr.recommender import Recommender
from llmcfsr.textencoder import load_encoder, tiny_encoder

DATA = load_dataset('planted')
SMALL = dict(epochs=1, dim=16, blocks=1, max_len=20, seed=0)
NEW = [dict(item_id=f'new {n}', **DATA.catalog.attrs[n]) for n in range(11, 21)]

@pytest.fixture(scope='module')
def shelf(tmp_path_factory): return Shelf(tmp_path_factory.mktemp('shelf'))

@pytest.fixture(scope='module')
def trained(shelf, tmp_path_factory):
    "Folders of small trained models, histories and all"
    folder = tmp_path_factory.mktemp('models')
    def make(model='llm-cfsr', encoder='tfidf', **options):
        path = folder/'-'.join(map(str, (model, str(encoder).split('/')[-1], *options.values())))
        if not path.exists(): Recommender(model=model, encoder=encoder, **{**SMALL, **options}).fit(DATA, shelf=shelf).save_pretrained(path, histories=True)
        return Recommender.from_pretrained(path)
    return make

@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "A small language model in a folder"
    d = str(tmp_path_factory.mktemp('encoder')/'tiny'); e = tiny_encoder(item_texts(DATA.catalog)); e.model.save_pretrained(d); e.tokenizer.save_pretrained(d)
    return d

def naive(rec, history, k=10, exclude_seen=True, exclude=(), fits=lambda a: True):
    "One list by sorting everything"
    y = rec.scores([history])[0]; left = [n for n,i in enumerate(rec.items) if i not in exclude and not (exclude_seen and i in history) and fits(rec.attributes[n+1])]
    return [(rec.items[n], float(y[n])) for n in sorted(left, key=lambda n: (-y[n], n))[:k]]

def lists(frame): return [list(zip(g.item, g.score)) for _,g in frame.groupby('history')]
def same(a, b):
    assert [i for i,_ in a] == [i for i,_ in b]; np.testing.assert_allclose([s for _,s in a], [s for _,s in b], rtol=1e-5, atol=1e-5)
def state(rec): return (list(rec.items), dict(rec._row), rec.popularity.tolist(), list(rec.attributes or []), dict(rec.labels), rec.n_trained, rec.model is None or [tuple(v.shape) for v in rec.model.state_dict().values()])

@pytest.mark.parametrize('model', ['llm-cfsr', 'pop'])
@pytest.mark.parametrize('options', [{}, dict(k=3), dict(k=1000), dict(exclude_seen=False), dict(exclude=['i000', 'i001', 'i150']), dict(where='brand'), dict(where='brand', exclude=['i000'], k=1000), dict(where=lambda a: len(a['title']) > 22, exclude_seen=False)], ids=lambda o: str(sorted(o)))
def test_every_option_against_a_plain_loop(trained, model, options):
    rec = trained(model); h = [rec.items[:4], [rec.items[7]]*3+[rec.items[5]], [], rec.items[:60]]; fits = lambda a: True
    if options.get('where') == 'brand': brands = [rec.attributes[3]['brand'], rec.attributes[50]['brand'].upper()]; options = {**options, 'where':dict(brand=brands)}; fits = lambda a: a['brand'].lower() in [b.lower() for b in brands]
    elif 'where' in options: fits = options['where']
    top = rec.recommend(h, **options); assert top['rank'].tolist() == [n for l in lists(top) for n in range(1, len(l)+1)] and set(top.item) <= set(rec.items)
    for got,one in zip(lists(top), h): same(got, naive(rec, one, options.get('k', 10), options.get('exclude_seen', True), options.get('exclude', ()), fits))
    users = rec.users[:3]; top = rec.recommend(users=users, **options); assert list(top.columns) == ['history', 'user', 'rank', 'item', 'score'] and top.user.tolist() == [users[n] for n in top.history]
    for got,u in zip(lists(top), users): same(got, naive(rec, rec.history(u), options.get('k', 10), options.get('exclude_seen', True), options.get('exclude', ()), fits))

def test_ties_go_to_the_earlier_item(trained):
    rec = trained('pop'); y = rec.popularity[1:]; assert len(set(y)) < len(y)
    assert rec.recommend([[]], k=len(y)).item.tolist() == [rec.items[n] for n in np.lexsort((np.arange(len(y)), -y))]

def test_nothing_left_is_an_empty_list(trained):
    rec = trained('llm-cfsr'); assert len(rec.recommend([rec.items])) == 0 and len(rec.recommend([])) == 0
    assert rec.recommend([rec.items, []]).history.unique().tolist() == [1] and list(rec.recommend([]).columns) == ['history', 'rank', 'item', 'score']

def test_unknown_ids(trained, caplog):
    rec = trained('llm-cfsr'); h = rec.items[:2]
    with caplog.at_level(logging.WARNING, 'llmcfsr'): top = rec.recommend([[h[0], 'x', h[1]], ['y']], exclude=['z'], unknown='skip')
    assert top.attrs['skipped'] == 3 and '3 ids' in caplog.text; [same(a, b) for a,b in zip(lists(top), lists(rec.recommend([h, []])))]
    for call,said in ((lambda: rec.recommend([['x']]), "'x' of a history"), (lambda: rec.recommend([h], exclude=['z']), "'z' of exclude"), (lambda: rec.recommend(users=['nobody']), "user 'nobody'"), (lambda: rec.recommend([h], unknown='drop'), 'take one of error, skip'),
                      (lambda: rec.recommend(), 'needs histories'), (lambda: rec.recommend([h], users=['u000']), 'needs histories'), (lambda: rec.recommend(users='u000'), 'list of user ids'), (lambda: rec.recommend([h], exclude='i000'), 'list of item ids'), (lambda: rec.recommend(['i000']), 'list of lists'),
                      (lambda: rec.recommend([h], k=0), 'k=0'), (lambda: rec.recommend([h], k=True), 'whole number'), (lambda: rec.recommend([h], where=dict(bnard='x')), "did you mean 'brand'"), (lambda: rec.recommend([h], where=dict(brand='Zzz')), "no item has 'Zzz'")):
        with pytest.raises(InputError) as e: call()
        assert said in str(e.value) and '\n' not in str(e.value)

def test_known_users_are_all_that_fit_was_given(trained):
    rec,i = trained('llm-cfsr'),DATA.interactions
    assert rec.users == [str(u) for u in i.users] and all(rec.history(u) == [str(i.items[n]) for n in i.history(j)] for j,u in enumerate(rec.users))

def test_similar_items(trained):
    rec = trained('llm-cfsr'); E = rec.vectors
    for by,X in (('text', E), ('model', rec.model.items().cat().detach().numpy())):
        X = X/np.linalg.norm(X, axis=1, keepdims=True).clip(1e-12); cos = X[[5,9]]@X.T; got = rec.similar_items([rec.items[4], rec.items[8]], 7, by=by)
        for q,(r,c) in zip((4, 8), zip((5, 9), cos)): c[[0, r]] = -9; want = np.argsort(-c, kind='stable')[:7]; g = got[got['query']==rec.items[q]]; np.testing.assert_allclose(g.score, c[want], atol=1e-5); assert rec.items[q] not in set(g.item)
    few = rec.similar_items(rec.items[4], 99, where=dict(brand=rec.attributes[9]['brand'])); assert all(rec.attributes[rec._row[i]]['brand'] == rec.attributes[9]['brand'] for i in few.item)
    assert len(trained('sasrec').similar_items(rec.items[4], 3)) == 3
    with pytest.raises(InputError, match='knows no item text'): trained('sasrec').similar_items(rec.items[4], by='text')

GROWING = [dict(), dict(view='se'), dict(backbone='bert4rec'), dict(backbone='gru4rec'), dict(fuse=('sequence',)), dict(model='llm-esr'), dict(model='llm-init')]
@pytest.mark.parametrize('options', GROWING, ids=str)
def test_new_items(trained, tmp_path, options):
    "Old scores stay, a copy of a text is where that text is, and the folder remembers"
    rec = trained(**options); h = [rec.items[:5], rec.items[30:32]]; before,V = rec.scores(h),len(rec.items)
    assert rec.add_items(pd.DataFrame(NEW)) is rec and rec.items[V:] == [r['item_id'] for r in NEW] and len(rec.popularity) == V+11 and not rec.popularity[V+1:].any()
    y = rec.scores(h); np.testing.assert_allclose(y[:,:V], before, atol=1e-4); assert np.isfinite(y).all()
    np.testing.assert_allclose(rec.vectors[V+1:], rec.vectors[11:21], atol=1e-5)
    if options.get('view') == 'se': np.testing.assert_allclose(y[:,V:], before[:,10:20], atol=1e-4)
    else:
        s = rec.model.items(); s = s.c if s.s is None else s.s
        if rec.model.views.se is not None: s = rec.model.views.se(None)[V+1:]-rec.model.views.se(None)[11:21]; assert float(s.detach().abs().max()) < 1e-4
    assert rec.recommend([['new 11', rec.items[0]]], k=V+20).item.nunique() == V+10-2 and rec.recommend([h[0]], where=dict(title=NEW[0]['title'])).item.tolist().count('new 11') == 1
    rec.save_pretrained(tmp_path/'m'); again = Recommender.from_pretrained(tmp_path/'m'); assert (again.scores([['new 11', 'i000'], *h]) == rec.scores([['new 11', 'i000'], *h])).all() and state(again) == state(rec)
    more = [dict(r, item_id=f'{r["item_id"]} again') for r in NEW]; np.testing.assert_allclose(again.add_items(more).scores(h), rec.add_items(more).scores(h), atol=1e-5)
    np.testing.assert_allclose(rec.scores(h)[:,-10:], rec.scores(h)[:,-20:-10], atol=1e-4)                    # the same text twice, the same scores

def test_cold_items_are_placed_as_new_ones(shelf, trained):
    "The id vectors of items that nobody took, and no others, become those that the same items would get when added"
    rec = trained(); pop = rec.popularity[1:]; before = rec.model.views.co.weight.detach().numpy().copy()
    if not (pop == 0).any(): rec.popularity[[3, 8]] = 0; pop = rec.popularity[1:]
    cold = 1+np.flatnonzero(pop == 0); assert len(cold); twins = trained(); twins.popularity = rec.popularity; V = len(twins.items)
    twins.add_items([dict(item_id=f'twin {i}', **DATA.catalog.attrs[i]) for i in cold]); assert rec.place_cold() is rec
    after = rec.model.views.co.weight.detach().numpy(); warm = np.setdiff1d(np.arange(V+1), cold); assert (after[warm] == before[warm]).all()
    np.testing.assert_allclose(after[cold], twins.model.views.co.weight.detach().numpy()[V+1:], atol=1e-5)
    h = [[rec.items[n-1] for n in warm[1:5]]]; np.testing.assert_allclose(rec.scores(h)[:,cold-1], twins.scores(h)[:,V:], atol=1e-4)

BAD = [([NEW[0], dict(title='No id')], 'item_id=None'), ([NEW[0], dict(item_id='i000', title='Known')], 'in the catalogue already'), ([NEW[0], NEW[0]], 'described before'), ([NEW[0], dict(item_id='z')], 'has no text'),
       ([NEW[0], dict(item_id='z', title=' ')], 'has no text'), ([NEW[0], dict(item_id='z', title='Xyzzy')], 'no word of it occurs'), ([NEW[0], dict(item_id='z', width=3)], 'none of the attributes'), ([], 'no new items')]
@pytest.mark.parametrize('rows,said', BAD, ids=[s for _,s in BAD])
def test_all_or_nothing(trained, rows, said):
    rec = trained(); before,y = state(rec),rec.scores([rec.items[:3]])
    with pytest.raises(InputError) as e: rec.add_items(rows)
    assert said in str(e.value) and '\n' not in str(e.value) and state(rec) == before and (rec.scores([rec.items[:3]]) == y).all()

def test_vectors_of_ones_own(trained):
    rec = trained(); E = rec.vectors[11:21]; np.testing.assert_allclose(trained().add_items(NEW).scores([rec.items[:3]]), rec.add_items(NEW, vectors=E).scores([rec.items[:3]]), atol=1e-4)
    before = state(rec)
    for wrong in (E[:3], E[:,:5], E*np.nan):
        with pytest.raises(InputError, match='must be finite, of shape'): rec.add_items([dict(r, item_id=r['item_id']+'!') for r in NEW], vectors=wrong)
    assert state(rec) == before

@pytest.mark.parametrize('model', ['sasrec', 'pop'])
def test_a_model_without_text_says_so(trained, model):
    with pytest.raises(InputError, match='reads no item text'): trained(model).add_items(NEW)

@pytest.mark.parametrize('finetune', [False, True])
def test_ten_items_embed_ten_texts(trained, tiny, tmp_path, monkeypatch, finetune):
    "By the encoder and the adapter of the model, after a round trip, and nothing else is embedded"
    rec = trained(encoder=tiny, finetune=finetune, tune_steps=2); rec.save_pretrained(tmp_path/'m'); assert (tmp_path/'m/adapter').exists() == finetune
    rec = Recommender.from_pretrained(tmp_path/'m'); calls,real = [],textencoder.encode
    monkeypatch.setattr(textencoder, 'encode', lambda encoder, texts, **kw: (calls.append(len(texts)), real(encoder, texts, **kw))[1])
    rec.add_items(NEW); assert calls == [10]; np.testing.assert_allclose(rec.vectors[-10:], rec.vectors[11:21], atol=1e-4)
    if finetune: assert np.abs(rec.vectors[11:21]-item_table(DATA.catalog, load_encoder(tiny)).E[11:21]).max() > 1e-4                         # and not by the plain encoder

def test_another_encoder_is_refused(trained, tiny, tmp_path):
    rec = trained(encoder=tiny); before = state(rec); other = tiny_encoder(item_texts(DATA.catalog), seed=1); d = str(tmp_path/'other'); other.model.save_pretrained(d); other.tokenizer.save_pretrained(d)
    rec.table = {**rec.table, 'encoder':d}
    with pytest.raises(InputError, match='is not the one that made the item table'): rec.add_items(NEW)
    assert state(rec) == before

@pytest.mark.parametrize('model', ['llm-cfsr', 'pop'])
def test_folded_interactions_are_history(trained, tmp_path, model):
    rec = trained(model); a,b = rec.users[:2]; ha,hb = rec.history(a),rec.history(b); x,y,z = rec.items[70:73]
    frame = pd.DataFrame(dict(user=[a, 'someone new', a, b, 'someone new'], item=[x, y, z, y, x], time=[1001, 1003, 1000, 999, 1002]))
    assert rec.add_interactions(frame) is rec; want = [ha+[z, x], hb+[y], [x, y]]
    assert [rec.history(u) for u in (a, b, 'someone new')] == want and rec.users[-1] == 'someone new'
    assert rec.recommend(users=[a, b, 'someone new']).drop(columns='user').equals(rec.recommend(want))
    rec.add_interactions([dict(user=a, item=y)]); assert rec.history(a) == want[0]+[y]                                                # without a time: behind
    rec.save_pretrained(tmp_path/'m', histories=True); again = Recommender.from_pretrained(tmp_path/'m'); assert again.users == rec.users and all(again.history(u) == rec.history(u) for u in (a, b, 'someone new', rec.users[9]))
    n = len(rec.history(a))
    with pytest.raises(InputError, match="item 'nowhere' is not in the catalogue"): rec.add_interactions([dict(user=a, item=x), dict(user=a, item='nowhere')])
    assert len(rec.history(a)) == n and len(rec.add_interactions([dict(user=a, item=x), dict(user=a, item='nowhere')], unknown='skip').history(a)) == n+1

def test_data_without_times_go_before_what_comes_later():
    i = DATA.interactions; lines = Dataset('lines', Interactions(i.item, np.arange(len(i.item)), i.start, i.users, i.items), DATA.catalog); rec = Recommender(model='pop').fit(lines)
    u = rec.users[-1]; h = rec.history(u); rec.add_interactions([dict(user=u, item=rec.items[0], time=3), dict(user=u, item=rec.items[1], time=2)]); assert rec.history(u) == h+[rec.items[1], rec.items[0]]

def test_histories_stay_at_home(trained, tmp_path):
    "Nothing of a user is written unless that is asked for"
    rec = trained(); rec.save_pretrained(tmp_path/'m'); user = rec.users[0]; assert user == 'u000' and not any(user.encode() in p.read_bytes() for p in (tmp_path/'m').rglob('*') if p.is_file())
    again = Recommender.from_pretrained(tmp_path/'m')
    for call in (lambda: again.recommend(users=[user]), lambda: again.users, lambda: again.history(user), lambda: again.save_pretrained(tmp_path/'n', histories=True)):
        with pytest.raises(InputError, match='saved without them'): call()
    assert not (tmp_path/'n').exists() and again.add_interactions([dict(user=user, item=rec.items[3])]).history(user) == [rec.items[3]]

def test_folders_of_before(trained, tmp_path):
    "A folder without the files that came later still gives the same lists, and says what it lacks"
    rec = trained(); rec.save_pretrained(tmp_path/'m'); config = json.loads((tmp_path/'m/config.json').read_text()); (tmp_path/'m/config.json').write_text(json.dumps({k:v for k,v in config.items() if k not in ('n_trained', 'print', 'beside', 'labels')})); save_file(load_file(tmp_path/'m/model.safetensors'), tmp_path/'m/model.safetensors')
    for f in ('item_attributes.jsonl', 'text.safetensors', 'words.json'): (tmp_path/'m'/f).unlink()
    old = Recommender.from_pretrained(tmp_path/'m'); h = [rec.items[:4], []]; assert old.recommend(h).equals(rec.recommend(h)) and len(old.similar_items(rec.items[0])) == 10
    with pytest.raises(InputError, match='none are known'): old.recommend(h, where=dict(brand='x'))
    with pytest.raises(InputError, match='cannot be embedded'): old.add_items(NEW)
    old.add_items(NEW, vectors=rec.vectors[11:21]); np.testing.assert_allclose(old.scores(h), rec.add_items(NEW).scores(h), atol=1e-4)

@pytest.mark.parametrize('name', ['item_attributes.jsonl', 'text.safetensors', 'histories.safetensors'])
def test_a_damaged_part_is_named(trained, tmp_path, name):
    rec = trained(model='llm-init'); rec.save_pretrained(tmp_path/'m', histories=True); f = tmp_path/'m'/name; f.write_bytes(f.read_bytes()[:-9] if name.endswith('jsonl') else f.read_bytes()[:60])
    with pytest.raises(InputError, match=name): Recommender.from_pretrained(tmp_path/'m')
