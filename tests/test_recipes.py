"""Recipes against the sequences of LLM-ESR's authors: a raw dump is generated from them, with everything around that the steps must remove, and the recipe must give them back. The real dumps are not part of any test."""
import gzip, json, os
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd, pytest
from llmcfsr.core import InputError, read_json
from llmcfsr.datasets import load_dataset
from llmcfsr.interactions import read_inter
from llmcfsr.recipes import *

SHARED = Path(os.environ.get('LLMCFSR_SHARED', Path(__file__).resolve().parents[1].parent/'shared'))/'data'
DAY0 = 11688*86400                                                                        # 2002-01-01

def authors(name, users=None):
    "Histories of the authors' file, user after user"
    path = SHARED/f'llmesr_{name}_ids/inter.txt'
    if not path.exists(): pytest.skip(f'{path} is not here')
    frame = read_inter(path); out = [h.tolist() for h in np.split(frame['item'].to_numpy(object), np.flatnonzero(np.diff(frame['user'].astype(int)))+1)]
    return out[:users]

def scattered(histories, rng, heads=None):
    "Rows (user, item, day) of histories as a dump has them: no order but that a user's first row stands in the order of the users and that rows of one day keep theirs; `heads` are other first rows of some users"
    heads = heads or {}; first,rest = [],[]
    for u,h in enumerate(histories):
        days = np.cumsum(rng.choice([0, 1, 2, 9], len(h), p=[.3, .3, .3, .1])).tolist(); rows = [(u, i, d) for i,d in zip(h, days)]
        first.append((u, heads[u], 5) if u in heads else rows.pop(0)); rest += rows
    group = pd.factorize(pd.Series([(u, d) for u,_,d in rest]))[0]; place = rng.random(len(rest)); order = np.lexsort((place, group)); key = np.empty(len(rest)); key[np.argsort(group, kind='stable')] = place[order]
    return first + [rest[k] for k in np.argsort(key, kind='stable')]

def sprinkled(rows, noise, start, rng):
    "Other rows at random places behind the first `start`"
    key = np.concatenate([np.arange(len(rows)), rng.uniform(start, len(rows), len(noise))]); both = rows+noise
    return [both[k] for k in np.argsort(key, kind='stable')]

def asin(i): return f'B{int(i):09d}' if str(i).isdigit() else str(i)
def user_id(u): return f'A{u:012d}Z' if isinstance(u, int) else u

def write_fashion(folder, rows):
    "The reviews and the catalogue in the form of 2018"
    lines = [json.dumps(dict(overall=5., verified=True, reviewTime='01 1, 2002', reviewerID=user_id(u), asin=asin(i), style={'Size:':' M'}, reviewText='ok', summary='ok', unixReviewTime=DAY0+86400*int(d))) for u,i,d in rows]
    (folder/'AMAZON_FASHION.json.gz').write_bytes(gzip.compress('\n'.join(lines).encode(), 1))
    items = sorted({asin(i) for _,i,_ in rows}); (folder/'meta_AMAZON_FASHION.json.gz').write_bytes(gzip.compress('\n'.join(json.dumps(dict(title=f'Shoe &amp; {i}', brand='X', asin=i, imageURL=['x'], also_buy=['y'], rank='1,0inShoes(')) for i in [*items, items[0]]).encode(), 1))

def fashion_rows(seed=0):
    "The authors' Fashion, and around it: users with too few reviews, items reviewed once, and users who fall only when such an item has fallen"
    rng = np.random.default_rng(seed); histories = authors('fashion'); U = len(histories)
    heads = {int(u):f'RARE{u:06d}' for u in rng.choice(U, 900, replace=False)}             # a user's first row is of an item that falls: the raw order counts
    rows = scattered(histories, rng, heads); some = [i for h in histories[:500] for i in h]
    noise = [(f'FEW{k}', some[k], 3) for k in range(400)] + [(f'PAIR{k//2}', some[k+400], 4) for k in range(400)]
    noise += [(f'FALLS{k//3}', some[k+800] if k%3 == 0 else f'ONCE{k}', 5) for k in range(600)] + [(f'LONE{k//3}', f'LONELY{k//3}', k%3) for k in range(90)]
    return sprinkled(rows, noise, U, rng)                                                  # behind the first rows, so that the users' order stays

def equal(frame, name, reference): return check_recipe(frame, get_recipe(name), reference)

@pytest.mark.parametrize('seed', [0])
def test_fashion(seed, tmp_path):
    rows = fashion_rows(seed); lonely = [r for r in rows if str(r[0]).startswith('LONE')]; rows = [r for r in rows if r not in set(lonely)]; write_fashion(tmp_path, rows); reference = SHARED/'llmesr_fashion_ids'
    frame,attributes,report = prepare('fashion', tmp_path)
    assert report['steps'][0]['interactions'] == len(rows) and report['check'] == dict(equal=True, compared='counts', differences=[]) and report['items']['noted']['items that are not wanted'] > 1000
    assert equal(frame, 'fashion', reference) == dict(equal=True, compared='sequences', differences=[])
    assert len(attributes) == 4722 and next(iter(attributes.values()))['title'].startswith('Shoe & B') and set(next(iter(attributes.values()))) == {'title', 'brand', 'rank'}
    k = next(k for k,r in enumerate(rows) if k >= 700 and not str(r[1]).startswith('RARE')); u = rows[k][0]; late = [*rows[:k], (u, rows[k][1], 4000), *rows[k+1:]]      # the first review of a user becomes the last
    write_fashion(tmp_path, late); said = equal(prepare('fashion', tmp_path)[0], 'fashion', reference)
    assert not said['equal'] and f"user {u+1} ({user_id(u)!r}) is the first that differs" in said['differences'][0]
    write_fashion(tmp_path, [r for r in rows if r[0] != 5000]); said = equal(prepare('fashion', tmp_path)[0], 'fashion', reference)
    assert any('9093 users, not 9094' in d for d in said['differences']) and any("user 5001 ('A000000005001Z') is the first that differs" in d for d in said['differences'])
    write_fashion(tmp_path, rows+lonely); said = prepare('fashion', tmp_path)[2]['check']; assert said['differences'] == ['9124 users, not 9094', '4752 items, not 4722', '34849 interactions, not 34759']    # who takes one thing three times is a core

def write_yelp(folder, rows):
    "Reviews and businesses in the form of 2013"
    day = {d:str(np.datetime64('2007-01-01')+d) for d in {int(d) for _,_,d in rows}}
    lines = [json.dumps(dict(votes=dict(funny=0, useful=5, cool=2), user_id=str(u), review_id='r', stars=5, date=day[int(d)], text='ok', type='review', business_id=str(i))) for u,i,d in rows]
    (folder/'yelp_training_set_review.json').write_text('\n'.join(lines)+'\n')
    (folder/'yelp_training_set_business.json').write_text('\n'.join(json.dumps(dict(business_id=i, full_address='1 Road\nTown', open=True, categories=['Bars'], city='Town', review_count=3, name=f'Bar {i}', neighborhoods=[], longitude=1., state='AZ', stars=4., latitude=1., type='business')) for i in sorted({str(i) for _,i,_ in rows})))

def test_yelp(tmp_path):
    "Counts are taken once, on the raw file: items that keep one review had three, users that keep two go, users are numbered by what is kept. The authors' first 2,000 users"
    rng = np.random.default_rng(1); histories = authors('yelp', 2000); n = pd.Series([i for h in histories for i in h]).value_counts()
    rows = scattered(histories, rng); noise = [(f'few{k}', i, 1) for k,i in enumerate([i for i,c in n.items() for _ in range(max(3-c, 0))])]
    popular = [f'{i}' for i in n.index[:50]]; noise += [(f'two{k//3}', popular[k%50] if k%3 else f'rare{k}', 2) for k in range(300)]       # three raw reviews, of which two are kept: too short
    rows = [(int(u), f'only{u}', 0) for u in rng.permutation(2000)[:400]]+sprinkled(rows, noise, 2000, rng)                                                       # items that go, before everything: the kept rows give the order
    write_yelp(tmp_path, rows); reference = tmp_path/'inter.txt'; reference.write_text(''.join(f'{u} {i}\n' for u,h in enumerate(histories, 1) for i in h))
    recipe = replace(get_recipe('yelp'), expected=()); frame,attributes,report = prepare(recipe, tmp_path)
    assert check_recipe(frame, recipe, reference) == dict(equal=True, compared='sequences', differences=[]) and report['check']['equal'] is None
    assert [s['users'] for s in report['steps'][-2:]] == [2100, 2000] and (frame['item'].value_counts() == 1).any() and next(iter(attributes.values()))['full_address'] == '1 Road Town'
    again = prepare(replace(recipe, counted='again'), tmp_path)[0]; said = check_recipe(again, recipe, reference); assert not said['equal'] and 'is the first that differs' in said['differences'][0]    # the other reading of "core" is told apart
    again = prepare(replace(recipe, order='raw'), tmp_path)[0]; assert not check_recipe(again, recipe, reference)['equal'] and sorted(map(tuple, again.groupby('user')['item'].agg(list))) == sorted(map(tuple, frame.groupby('user')['item'].agg(list)))

@pytest.mark.parametrize('name,counts', [('yelp', (15720, 11383, 192214)), ('fashion', (9094, 4722, 34759))])
def test_expected_counts(name, counts):
    "The numbers of a recipe are those of the authors' file, which is equal to itself"
    authors(name, 1); path = SHARED/f'llmesr_{name}_ids'; recipe = get_recipe(name); frame = read_inter(path/'inter.txt')
    assert dict(recipe.expected) == dict(zip(('users', 'items', 'interactions'), counts)) and check_recipe(frame, recipe, path)['equal']

def test_beauty(tmp_path):
    "Counted once, five of each, short users stay; the catalogue of 2014 with its paths of categories"
    rng = np.random.default_rng(2); rows = [(f'A{u}', f'B{i:03d}', 10**9+86400*int(t)) for u,i,t in zip(rng.zipf(1.6, 4000)%700, rng.zipf(1.4, 4000)%300, rng.integers(0, 900, 4000))]
    (tmp_path/'reviews_Beauty.json.gz').write_bytes(gzip.compress('\n'.join(json.dumps(dict(reviewerID=u, asin=i, helpful=[0, 0], reviewText='x', overall=4., unixReviewTime=t)) for u,i,t in rows).encode()))
    (tmp_path/'meta_Beauty.json.gz').write_bytes(gzip.compress('\n'.join(repr(dict(asin=i, title=f"It's {i}", price=1.5, categories=[['Beauty', 'Lips'], ['Other']], related={'also_bought':['x']})) for i in sorted({i for _,i,_ in rows})).encode()))
    user,item = (pd.Series(c).value_counts() for c in list(zip(*rows))[:2]); kept = {}
    for u,i,t in rows:
        if user[u] >= 5 and item[i] >= 5: kept.setdefault(u, []).append((t, i))
    frame,attributes,report = prepare(replace(get_recipe('beauty'), expected=()), tmp_path)
    assert list(frame[['user', 'item']].itertuples(index=False, name=None)) == [(u, i) for u,h in kept.items() for _,i in sorted(h, key=lambda x: x[0])] and min(map(len, kept.values())) < 5
    assert attributes[frame['item'][0]] == dict(title=f"It's {frame['item'][0]}", price=1.5, categories=['Beauty', 'Lips'])
    assert prepare('beauty', tmp_path)[2]['check']['differences'][0].endswith('users, not 52204')

def test_named_once(tmp_path, monkeypatch):
    "load_dataset runs a recipe once, keeps the result whole, and runs it again where the raw file has changed"
    monkeypatch.setenv('LLMCFSR_CACHE', str(tmp_path/'cache')); raw = tmp_path/'cache/fashion'; raw.mkdir(parents=True); rows = [(f'u{u}', f'i{(u+k)%5}', k) for k in range(4) for u in range(6)]
    with pytest.raises(InputError, match='AMAZON_FASHION.json.gz could not be fetched'): monkeypatch.setattr('llmcfsr.fetch.fetch', lambda urls, path, *a: (_ for _ in ()).throw(InputError(f'{path.name} could not be fetched'))); load_dataset('fashion')
    write_fashion(raw, rows)
    with pytest.warns(UserWarning, match='fashion is not what its recipe expects: 6 users, not 9094'): d = load_dataset('fashion')
    assert (d.name, d.interactions.n_users, d.catalog.n_items, d.catalog.fields) == ('fashion', 6, 5, ('title', 'brand', 'rank'))
    for f in raw.glob('*.gz'): f.rename(tmp_path/f.name)
    assert load_dataset('fashion').fingerprint == d.fingerprint and read_json(raw/'prepared/report.json')['recipe'] == 'fashion'
    write_fashion(tmp_path, rows+[(f'u9', f'i{k}', k) for k in range(3)])
    with pytest.warns(UserWarning): assert load_dataset('fashion', raw=tmp_path).interactions.n_users == 7
    (tmp_path/'AMAZON_FASHION.json.gz').write_bytes(gzip.compress(b'{"reviewerID": 1\n'))
    with pytest.raises(InputError, match="line 1: not valid JSON"): load_dataset('fashion', raw=tmp_path)
    assert load_dataset('fashion').interactions.n_users == 7 and [p.name for p in raw.iterdir()] == ['prepared']            # a failure leaves the old result and nothing half
    with pytest.raises(InputError, match='holds no interaction'): load_dataset('fashion', raw=tmp_path, bad='skip')

def test_by_category(tmp_path, monkeypatch):
    monkeypatch.setenv('LLMCFSR_CACHE', str(tmp_path/'cache')); rows = [dict(rating=5., parent_asin=f'B{(u+k)%6}', asin='x', user_id=f'A{u}', timestamp=1588687728923+1000*k) for k in range(6) for u in range(6)]
    (tmp_path/'All_Beauty.jsonl').write_text('\n'.join(map(json.dumps, rows))); (tmp_path/'meta_All_Beauty.jsonl').write_text('\n'.join(json.dumps(dict(parent_asin=f'B{i}', title=f'Balm {i}', details={})) for i in range(9)))
    d = load_dataset('amazon-2023:All_Beauty', raw=tmp_path); assert (d.interactions.n_users, d.interactions.n_items) == (6, 6) and d.interactions.time[0] == 1588687728923 and (tmp_path/'cache/amazon-2023_All_Beauty/prepared/data/inter.txt').exists()
    assert len(prepare(get_recipe('amazon-2023:All_Beauty', core=1), tmp_path)[0]) == 36
    with pytest.raises(InputError, match='nothing is left after the step'): prepare(get_recipe('amazon-2023:All_Beauty', core=7), tmp_path)
    with pytest.raises(InputError, match="did you mean 'fashion'"): load_dataset('fashio')
    with pytest.raises(InputError, match='accept the terms at .* put it at .*yelp_academic_dataset_review.json'): load_dataset('yelp-open')

def test_fetched(tmp_path):
    "What is missing is fetched, checked and used; what is there is left alone"
    import hashlib, zipfile
    shelf = tmp_path/'ml-1m.zip'
    with zipfile.ZipFile(shelf, 'w') as z: z.writestr('ml-1m/ratings.dat', '1::2::5::978300760\n'); z.writestr('ml-1m/movies.dat', '2::Heat (1995)::Crime\n')
    r = get_recipe('ml-1m'); assert r.reviews.sha256 and r.reviews.size == 5917549
    mine = lambda sha: replace(r, reviews=replace(r.reviews, urls=(str(shelf),), sha256=sha, size=None), catalog=replace(r.catalog, urls=(str(shelf),), sha256=sha, size=None))
    folder = fetch_raw(mine(hashlib.sha256(shelf.read_bytes()).hexdigest()), tmp_path/'raw'); assert [p.name for p in folder.iterdir()] == ['ml-1m.zip'] and len(prepare(mine(None), folder)[0]) == 1
    shelf.unlink(); assert fetch_raw(mine(None), folder) == folder
    with pytest.raises(InputError, match='ml-1m.zip could not be fetched'): fetch_raw(mine(None), tmp_path/'other')
