"""Raw files in their true formats: odd lines, every rule for what does not fit, and random damage: an `InputError` or a result, never anything else.
LLMCFSR_FUZZ sets the number of random cases (2,400 by default): LLMCFSR_FUZZ=100000 pytest -q tests/test_dumps.py -k damage"""
import ast, gzip, io, json, os, random, tarfile, zipfile
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
import llmcfsr.dumps as dumps
from llmcfsr.core import InputError
from llmcfsr.dumps import *

NOW = 1_750_000_000
def lines(*rows): return ''.join((r if isinstance(r, str) else json.dumps(r))+'\n' for r in rows).encode()
def without(d, *keys): return {k:v for k,v in d.items() if k not in keys}

R14 = dict(reviewerID='A1YJEY40YUW4SE', asin='7806397051', reviewerName='Andrea', helpful=[3, 4], reviewText='Very oily &amp; <br />creamy', overall=1.0, summary="Don't waste your money", unixReviewTime=1391040000, reviewTime='01 30, 2014')
R18 = dict(overall=5.0, verified=True, vote='2', reviewTime='09 4, 2015', reviewerID='ALJ66O1Y6SLHA', asin='B000K2PJ4K', style={'Size:':' Big Boys'}, reviewText='Great', summary='Five Stars', unixReviewTime=1441324800, image=['https://x.example/1.jpg'])
R23 = dict(rating=5.0, title='Such a lovely scent', text='really nice', images=[], asin='B00YQ6X8EO', parent_asin='B00YQ6X8EP', user_id='AGKHLEW2SOWHNMFQIJGBECAF7INQ', timestamp=1588687728923, helpful_vote=0, verified_purchase=True)
Y13 = dict(votes=dict(funny=0, useful=5, cool=2), user_id='rLtl8ZkDX5vH5nAx9C3q5Q', review_id='fWKvX83p0-ka4JS3dc6E5A', stars=5, date='2011-01-26', text='My wife took me here\n\nperfect', type='review', business_id='9yKzy9PApeiPPOUJEtnvkg')
YNOW = dict(review_id='KU_O5udG6zpxOg-VcAEodg', user_id='mh_-eMZ6K5RLWhZyISBhwA', business_id='XQfwVwDr-v0ZS3_CbbE5Xw', stars=3.0, useful=0, funny=0, cool=0, text='slow', date='2018-07-07 22:09:11')
M14 = {'asin':'1304351475', 'description':"It's \"98%\" natural\nCaf\xe9", 'title':'WAWO 15 Color &amp; Palette', 'price':7.5, 'imUrl':'http://ecx.example/1.jpg', 'related':{'also_bought':['B00A'], 'also_viewed':['B00B']}, 'salesRank':{'Beauty':402875}, 'categories':[['Beauty', 'Makeup'], ['Beauty', 'Face']]}
M18 = dict(title='Slime Time Fall Fest [With CDROM', brand='Group Publishing (CO)', feature=['Product Dimensions:\n                    \n8.7 x 3.6 inches'], rank='13,052,976inClothing,Shoesamp;Jewelry(', price='$5.99 - $23.99', date='5 star5 star (0%)', asin='0764443682', imageURL=['https://x.example/1.jpg'], details={'\n    Item Weight: \n    ':'1 pound'}, also_buy=[], fit='')
M23 = dict(main_category='All Beauty', title='Howard LC0008 Leather Conditioner', average_rating=4.8, rating_number=10, features=[], description=['Soft'], price=None, images=[dict(thumb='http://x.example/1.jpg')], videos=[], store='Howard Products', categories=[], details={'Brand':'Howard', 'Is Discontinued By Manufacturer':'No'}, parent_asin='B01CUPMQZE', bought_together=None)
B13 = dict(business_id='rncjoVoEFUJGCUoC1JgnUA', full_address='8466 W Peoria Ave\nSte 6\nPeoria, AZ 85345', open=True, categories=['Accountants', 'Tax Services'], city='Peoria', review_count=3, name='Peoria Income Tax Service', neighborhoods=[], longitude=-112.241596, state='AZ', stars=5.0, latitude=33.58, type='business')
BNOW = dict(business_id='Pns2l4eNsfO8kk83dixA6A', name='Abby Rappoport', address='1616 Chapala St', city='Santa Barbara', state='CA', stars=5.0, review_count=7, is_open=0, attributes={'ByAppointmentOnly':'True', 'WiFi':"u'free'", 'BusinessParking':"{'garage': False, 'lot': True}"}, categories='Doctors, Health & Medical', hours=None)

def amazon(e): return lambda f,**k: read_amazon_reviews(f, e, now=NOW, **k)
def yelp(f, **k): return read_yelp_reviews(f, now=NOW, **k)
def films(f, **k): return read_movielens_ratings(f, now=NOW, **k)
REVIEWS = {'2014':(amazon('2014'), R14, 'asin', 'unixReviewTime', 'reviews_Beauty.json'), '2018':(amazon('2018'), R18, 'asin', 'unixReviewTime', 'AMAZON_FASHION.json'), '2023':(amazon('2023'), R23, 'parent_asin', 'timestamp', 'All_Beauty.jsonl'),
           'yelp 2013':(yelp, Y13, 'business_id', 'date', 'yelp_training_set_review.json'), 'yelp':(yelp, YNOW, 'business_id', 'date', 'yelp_academic_dataset_review.json')}
each = pytest.mark.parametrize('edition', REVIEWS)

def put(folder, name, content, packed):
    "A file, plain or compressed"
    path = folder/(name+'.gz'*packed); path.write_bytes(gzip.compress(content) if packed else content)
    return path

@each
@pytest.mark.parametrize('packed', [False, True])
def test_reviews(edition, packed, tmp_path):
    read,row,item,when,name = REVIEWS[edition]; second = {**row, item:'other'}
    frame,counts = read(put(tmp_path, name, b'\xef\xbb\xbf'+lines(row, '', second, '   ').rstrip(), packed))
    assert list(frame.columns) == ['user', 'item', 'time', 'rating'] and frame['item'].tolist() == [row[item], 'other'] and counts['kept'] == 2 and counts['dropped'] == {}
    t = row[when] if type(row[when]) is int else int(pd.Timestamp(row[when]).timestamp()); assert frame['time'].tolist() == [t, t]

@each
@pytest.mark.parametrize('line,said', [('{"a": 1', 'not valid JSON'), ('[1]', 'not an object'), ('7', 'not an object'), ('{}', 'no '), ('<!DOCTYPE html>', 'this is a web page'), ("{'asin': 1}", 'a Python literal'), ('['*200000, 'not valid JSON'), ('{"a": '+'9'*5000+'}', 'not valid JSON'), (b'\xff{}', 'not UTF-8'), ('{}{}', 'not valid JSON')])
def test_bad_lines(edition, line, said, tmp_path):
    read,row,_,_,name = REVIEWS[edition]; line = line if isinstance(line, bytes) else line.encode(); path = put(tmp_path, name, lines(row)+line+b'\n'+lines(row), True)
    with pytest.raises(InputError) as e: read(path)
    assert f'{path} line 2: ' in str(e.value) and said in str(e.value) and "bad='skip'" in str(e.value) and '\n' not in str(e.value)
    frame,counts = read(path, bad='skip'); assert len(frame) == 2 and sum(counts['dropped'].values()) == 1 and counts['lines'] == 3 and 'line 2' in next(iter(counts['first'].values()))

BAD_VALUES = [('user', None, 'no user'), ('user', '', 'no user'), ('user', ['a'], 'no user'), ('user', 'a b', 'blank in the id of the user'), ('user', 'a\ud83d', 'half a character'), ('item', True, 'no item'), ('item', {}, 'no item'), ('item', '\u00a0', 'no item'),
              ('time', None, 'no '), ('time', 'soon', 'no '), ('time', -86400, '1990'), ('time', NOW+2*86400, 'ahead'), ('time', 1.5, 'no '), ('time', True, 'no '), ('rating', None, 'no rating'), ('rating', '5', 'no rating'), ('rating', False, 'no rating')]
@each
@pytest.mark.parametrize('what,value,said', BAD_VALUES)
def test_bad_values(edition, what, value, said, tmp_path):
    read,row,item,when,name = REVIEWS[edition]; key = {'user':'user_id' if 'user_id' in row else 'reviewerID', 'item':item, 'time':when, 'rating':next(k for k in ('overall', 'rating', 'stars') if k in row)}[what]
    if what == 'time' and type(value) is int: value = value*1000 if edition == '2023' else value if edition[0] == '2' else str(np.datetime64(value, 's')).replace('T', ' ')
    path = put(tmp_path, name, lines(row, {**row, key:value}), False)
    with pytest.raises(InputError, match=said): read(path)
    assert len(read(path, bad='skip')[0]) == 1
    with pytest.raises(InputError, match=f'line 2: no ({what}|date)'): read(put(tmp_path, name, lines(row, without(row, key)), False))           # a missing key is a missing value

@each
def test_spellings_and_repeats(edition, tmp_path):
    read,row,item,when,name = REVIEWS[edition]; odd = put(tmp_path, name, lines({**row, item:' x '}, {**row, item:'x'}, {**row, item:' x '}), False)
    with pytest.raises(InputError, match='line 2: two spellings of one item'): read(odd)
    frame,counts = read(odd, bad='skip'); assert frame['item'].tolist() == ['x', 'x'] and counts['dropped'] == {'two spellings of one item':1} and counts['noted']['the same user, item and time again'] == 1
    same = put(tmp_path, name, lines(row, {**row, item:'x'}, row), False)
    assert len(read(same)[0]) == 3 and len(read(same, repeats='drop')[0]) == 2 and read(same, repeats='drop')[1]['dropped'] == {'the same user, item and time again':1}
    with pytest.raises(InputError, match='line 3: user .* before'): read(same, repeats='error')

@each
def test_cut_off(edition, tmp_path):
    read,row,_,_,name = REVIEWS[edition]; rng = np.random.default_rng(0)
    whole = gzip.compress(lines(*({**row, 'text':''.join(map(chr, rng.integers(97, 123, 300)))} for _ in range(400)))); path = tmp_path/f'{name}.gz'
    for end in (len(whole)//2, len(whole)-4):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match='cut off or damaged'): read(path)
        frame,counts = read(path, bad='skip'); assert 0 < len(frame) <= 400 and 'the file is cut off or damaged here' in counts['dropped']
    path.write_bytes(whole[:-6]+b'\0'*6)
    with pytest.raises(InputError, match='cut off or damaged'): read(path)                               # the checksum at the end

def test_nothing_there(tmp_path):
    for content,said in ((b'', 'holds no interaction'), (b'\n\n', 'holds no interaction'), (lines(R14).decode().encode('utf-16'), 'not UTF-8')):
        with pytest.raises(InputError, match=said): read_amazon_reviews(put(tmp_path, 'a.json', content, False), '2014')
    with pytest.raises(InputError, match='does not exist'): read_amazon_reviews(tmp_path/'none.json')
    with pytest.raises(InputError, match='cannot be read'): read_amazon_reviews(tmp_path)
    with pytest.raises(InputError, match="did you mean '2018'"): read_amazon_reviews(tmp_path, '2081')
    with pytest.raises(InputError, match='describes no item'): read_amazon_items(put(tmp_path, 'm.json', b'\n', False), '2018')

def test_long_line(tmp_path, monkeypatch):
    monkeypatch.setattr(dumps, 'MAX_LINE', 1 << 21); path = put(tmp_path, 'a.json', lines(R18, {**R18, 'reviewText':'x'*(5 << 20)}, R18, {**R18, 'reviewText':'y'*(5 << 20)}).rstrip(), True)
    with pytest.raises(InputError, match='line 2: a line of more than'): read_amazon_reviews(path, now=NOW)
    frame,counts = read_amazon_reviews(path, bad='skip', now=NOW); assert len(frame) == 2 and counts['dropped'] == {'a line of more than 16 MiB':2}

def test_parquet(tmp_path):
    f = tmp_path/'raw_review_All_Beauty.parquet'; pq.write_table(pa.Table.from_pylist([R23, {**R23, 'parent_asin':None}]), f)
    with pytest.raises(InputError, match='line 2: no item'): amazon('2023')(f)
    assert amazon('2023')(f, bad='skip')[0].values.tolist() == [[R23['user_id'], R23['parent_asin'], R23['timestamp'], 5.]]
    g = tmp_path/'raw_meta_All_Beauty.parquet'; pq.write_table(pa.Table.from_pylist([{**M23, 'price':'None', 'details':json.dumps(M23['details'])}]), g)
    assert read_amazon_items(g, '2023')[0]['B01CUPMQZE'] == dict(main_category='All Beauty', title='Howard LC0008 Leather Conditioner', average_rating=4.8, rating_number=10, description=['Soft'], store='Howard Products', details=M23['details'])
    f.write_bytes(f.read_bytes()[:-50])
    with pytest.raises(InputError, match='no whole parquet file'): amazon('2023')(f)
    pq.write_table(pa.table(dict(x=[1])), f)
    with pytest.raises(InputError, match="no column 'user_id' but 'x'"): amazon('2023')(f)

def test_catalogues(tmp_path):
    a,_ = read_amazon_items(put(tmp_path, 'meta_Beauty.json', lines(repr(M14)), True), '2014')
    assert a['1304351475'] == dict(description='It\'s "98%" natural Café', title='WAWO 15 Color & Palette', price=7.5, related=M14['related'], salesRank={'Beauty':402875}, categories=M14['categories'])
    twice = put(tmp_path, 'meta.json', lines(M18, {**M18, 'title':'var aPageStart = (new Date()).getTime();', 'price':'.a-box-inner{background:#fff}'}), True); a,n = read_amazon_items(twice)
    assert a['0764443682'] == dict(title='Slime Time Fall Fest [With CDROM', brand='Group Publishing (CO)', feature=['Product Dimensions: 8.7 x 3.6 inches'], rank='13,052,976inClothing,Shoesamp;Jewelry(', price='$5.99 - $23.99', date='5 star5 star (0%)', details={'Item Weight':'1 pound'})
    assert n['noted'] == {'items described again':1}
    a,n = read_amazon_items(twice, again='last'); assert 'title' not in a['0764443682'] and 'price' not in a['0764443682'] and n['noted'] == {'items described again':1, 'titles that are a script':1, 'prices without a number':1}
    with pytest.raises(InputError, match='line 2: an item is described again'): read_amazon_items(twice, again='error')
    assert read_amazon_items(put(tmp_path, 'm.json', lines(M18), False), clean=False)[0]['0764443682']['feature'] == M18['feature']
    a,n = read_amazon_items(put(tmp_path, 'm.json', lines({**M18, 'description':['word '*20000]}), False)); assert len(a['0764443682']['description'][0]) == MAX_TEXT and n['noted'] == {'texts cut at 8192 characters':1}
    with pytest.raises(InputError, match='line 1: not valid Python literal'): read_amazon_items(put(tmp_path, 'm.json', b"{'asin': __import__('os').getcwd()}\n", False), '2014')
    assert len(read_amazon_items(put(tmp_path, 'm.json', lines(M18, {**M18, 'asin':'B1'}), False), only={'B1'})[0]) == 1
    a,_ = read_yelp_items(put(tmp_path, 'b.json', lines(B13, BNOW, {**BNOW, 'business_id':'z', 'categories':None, 'attributes':None}), False))
    assert a[B13['business_id']]['full_address'] == '8466 W Peoria Ave Ste 6 Peoria, AZ 85345' and a[BNOW['business_id']]['categories'] == ['Doctors', 'Health & Medical'] and 'categories' not in a['z']
    assert a[BNOW['business_id']]['attributes'] == {'ByAppointmentOnly':True, 'WiFi':'free', 'BusinessParking':{'garage':False, 'lot':True}} and a[BNOW['business_id']]['is_open'] == 0

def test_yelp_as_shipped(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode='w:gz') as t:
        for name,content in (('._x', b'\0'), ('yelp_academic_dataset_business.json', lines(BNOW)), ('yelp_academic_dataset_review.json', lines(YNOW))):
            m = tarfile.TarInfo(name); m.size = len(content); t.addfile(m, io.BytesIO(content))
    (tmp_path/'yelp_dataset.tar').write_bytes(inner.getvalue()); name = 'yelp_academic_dataset_review.json'
    with zipfile.ZipFile(tmp_path/'Yelp-JSON.zip', 'w') as z: z.writestr('__MACOSX/Yelp JSON/._yelp_dataset.tar', b'\0'); z.write(tmp_path/'yelp_dataset.tar', 'Yelp JSON/yelp_dataset.tar')
    for where in (tmp_path/'Yelp-JSON.zip', tmp_path/'yelp_dataset.tar', tmp_path): assert read_yelp_reviews(find_raw(where, name), now=NOW)[0]['item'].tolist() == [YNOW['business_id']]
    (tmp_path/'Yelp-JSON.zip').write_bytes((tmp_path/'Yelp-JSON.zip').read_bytes()[:-100])
    with pytest.raises(InputError, match='is no whole archive'): find_raw(tmp_path/'Yelp-JSON.zip', name)

def test_zip_in_a_zip(tmp_path):
    "As Kaggle ships the files of 2013"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('yelp_training_set/yelp_training_set_review.json', lines(*[Y13]*3000)); z.writestr('__MACOSX/yelp_training_set/._yelp_training_set_review.json', b'\0')
    with zipfile.ZipFile(tmp_path/'yelp-recsys-2013.zip', 'w') as z: z.writestr('final_test_set.zip', inner.getvalue().replace(b'review', b'tested')); z.writestr('yelp_training_set.zip', inner.getvalue())
    raw = find_raw(tmp_path, 'yelp_training_set_review.json'); assert raw.inside == ('yelp_training_set.zip', 'yelp_training_set/yelp_training_set_review.json') and len(yelp(raw)[0]) == 3000

RATINGS = {'ratings.dat':b'1::1193::5::978300760\n1::661::3.5::978302109\n2::1193::4::978298413\n', 'ratings.csv':b'userId,movieId,rating,timestamp\n1,1193,5.0,978300760\n1,661,3.5,978302109\n2,1193,4.0,978298413\n', 'u.data':b'1\t1193\t5\t978300760\n1\t661\t3.5\t978302109\n2\t1193\t4\t978298413\n'}
MOVIES = {'movies.dat':'1::Toy Story (1995)::Animation|Children\'s\n73::Misérables, Les (1995)::Drama\n9::Wings: A::B (1927)::(no genres listed)\n', 'movies.csv':'movieId,title,genres\n1,Toy Story (1995),Animation|Children\'s\n73,"Misérables, Les (1995)",Drama\n9,"Wings: A::B (1927)",(no genres listed)\n'}
@pytest.mark.parametrize('name', RATINGS)
@pytest.mark.parametrize('end', [b'\n', b'\r\n'])
def test_ratings(name, end, tmp_path):
    text = RATINGS[name].replace(b'\n', end); frame,_ = films(put(tmp_path, name, text, False)); assert frame.values.tolist() == [['1','1193',978300760,5.], ['1','661',978302109,3.5], ['2','1193',978298413,4.]]
    for line,said in (('1,2,3', 'columns, not 4'), ('1::2::3::4::5', 'columns, not 4'), ('::'.join('12x4'), 'no rating|columns'), ('\xff', 'columns')):
        with pytest.raises(InputError, match=f'line {text.count(bytes([10]))+1}: '): films(put(tmp_path, name, text+line.encode('latin-1' if line == '\xff' else 'utf-8'), False))
    sep = {'ratings.dat':'::', 'ratings.csv':',', 'u.data':'\t'}[name]
    for row,said in ((('1', '2', '5', '-1'), '1990'), (('', '2', '5', '978300760'), 'no user'), (('1', '2', 'nan', '978300760'), 'no rating'), (('1', '2', '5', '1e9'), 'no time'), (('1', '2', '', '978300760'), 'no rating'), (('1', '2', '5', str(NOW+3*86400)), 'ahead'), (('1', '2', '5', '1_000_000_000'), 'no time'), (('1', '2', '5', '--5'), 'no time')):
        bad = put(tmp_path, name, text+sep.join(row).encode()+end, False)
        with pytest.raises(InputError, match=said): films(bad)
        assert films(bad, bad='skip')[0].equals(frame)
    if name == 'ratings.csv':
        with pytest.raises(InputError, match="line 1: .* is not 'userId,movieId,rating,timestamp'"): films(put(tmp_path, name, text.split(end, 1)[1], False))

@pytest.mark.parametrize('name', MOVIES)
def test_movies(name, tmp_path):
    want = {'1':dict(title='Toy Story', year=1995, genres=['Animation', "Children's"]), '73':dict(title='Misérables, Les', year=1995, genres=['Drama']), '9':dict(title='Wings: A::B', year=1927)}
    for enc in ('utf-8', 'latin-1'): assert read_movielens_items(put(tmp_path, name, MOVIES[name].encode(enc), False), encoding=enc)[0] == want
    with pytest.raises(InputError, match="not UTF-8: .* say encoding='latin-1'"): read_movielens_items(put(tmp_path, name, MOVIES[name].encode('latin-1'), False))
    with pytest.raises(InputError, match='not an id, a title and genres'): read_movielens_items(put(tmp_path, name, MOVIES[name].encode()+b'5\n', False))
    with pytest.raises(InputError, match='described again'): read_movielens_items(put(tmp_path, name, (MOVIES[name]+MOVIES[name].split('\n')[-2]).encode(), False))

values = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=20) | st.binary(max_size=5), lambda s: st.lists(s, max_size=4) | st.dictionaries(st.text(max_size=5), s, max_size=4) | st.tuples(s, s), max_leaves=12)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(values)
def test_literal(value):
    "As `ast.literal_eval`, on any literal"
    text = repr(value); want = None
    try: want = ast.literal_eval(text)
    except ValueError: return                                                                           # nan and inf are no literals
    assert repr(literal(text)) == repr(want)

# Random damage ------------------------------------------------------------------------------------------------------------------------------------------------------------------------------
FUZZ = int(os.environ.get('LLMCFSR_FUZZ', 2400))
READERS = {**{f'reviews {e}':(r, lines(row, row, {**row, i:'B2'}), n) for e,(r,row,i,_,n) in REVIEWS.items()}, 'table 2023':(amazon('2023'), b'user_id,parent_asin,rating,timestamp\nAE,B01,5.0,1588687728923\nAF,B02,4.0,1588687728924\n', 'A.csv'),
    **{f'items {e}':(lambda f,e=e,**k: read_amazon_items(f, e, **k), lines(x, y), 'm.json') for e,x,y in (('2014', repr(M14), repr({**M14, 'asin':'B'})), ('2018', M18, {**M18, 'asin':'B'}), ('2023', M23, {**M23, 'parent_asin':'B'}))},
    'items yelp':(read_yelp_items, lines(B13, BNOW), 'b.json'), **{n:(films, t, n) for n,t in RATINGS.items()}, **{n:(read_movielens_items, t.encode(), n) for n,t in MOVIES.items()}}
odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12) | st.lists(st.text(max_size=3), max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)

@st.composite
def damaged(draw, text):
    "A file of a reader, changed in one of several ways"
    kind = draw(st.sampled_from(['bytes', 'changed', 'cut', 'packed cut', 'packed changed', 'value', 'lines']))
    if kind == 'bytes': return draw(st.binary(max_size=300))
    if kind == 'cut': return text[:draw(st.integers(0, len(text)))]
    if kind == 'lines': return b'\n'.join(draw(st.lists(st.sampled_from(text.split(b'\n')) | st.binary(max_size=30), max_size=8)))
    if kind == 'value':
        row = text.split(b'\n')[0]
        try: row = json.loads(row)
        except ValueError: kind = 'changed'
        else: row[draw(st.sampled_from(sorted(row)))] = draw(odd); return text+json.dumps(row).encode()+b'\n'
    out = bytearray(gzip.compress(text, mtime=0) if kind.startswith('packed') else text)
    if kind == 'packed cut': return bytes(out[:draw(st.integers(0, len(out)))])
    for at,new in draw(st.lists(st.tuples(st.integers(0, len(out)-1), st.binary(max_size=3)), min_size=1, max_size=4)): out[at:at+draw(st.integers(0, 3))] = new
    return bytes(out)

def outcome(read, path, bad):
    try: return read(path, bad=bad)
    except InputError as e: assert '\n' not in str(e); return str(e)

def holds(read, path, content):
    "An `InputError` or a result; what reads without an error reads the same when bad lines may be left out; what is kept keeps the rules"
    path.write_bytes(content); strict,lenient = (outcome(read, path, bad) for bad in ('error', 'skip'))
    if not isinstance(strict, str):
        assert lenient[1] == strict[1] and (lenient[0].equals(strict[0]) if isinstance(strict[0], pd.DataFrame) else lenient[0] == strict[0])
    if isinstance(lenient, str): return
    kept,counts = lenient; assert counts['kept'] == len(kept) > 0 and (isinstance(strict, str) == bool(counts['dropped']))
    if isinstance(kept, dict): json.dumps(kept, allow_nan=False).encode(); assert all(k.split() == [k] for k in kept)
    else: assert kept.notna().all().all() and all(v.split() == [v] for c in ('user', 'item') for v in kept[c]) and (kept['time'] >= dumps.EARLIEST).all()

@pytest.mark.parametrize('name', READERS)
def test_fuzz(name, tmp_path):
    "Damage that hypothesis thinks of, and makes small"
    read,text,file = READERS[name]
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(text))
    def check(content): holds(read, tmp_path/file, content)
    check()

ODD = [None, True, -1, 0, 10**30, 1.5, float('nan'), float('inf'), '', ' ', '\0', '\ud83d', 'x'*9000, '<script>', '&amp;lt;b&gt;', [], [[]], {}, {'':None}, [1, 'a'], '0x1', '1e400', '2011-13-01', '2011-01-26 25:00:00', '\u2028', 'A\u00a0B']
PIECES = [b'\n', b'\r\n', b'::', b',', b'"', b"'", b'\\', b'{', b'}', b'[', b'\x1f\x8b', b'\xff', b'\0', b'\xef\xbb\xbf', b' ', b'\t', b'-', b'9'*30, b'null', b'NaN', b'\\ud83d', b'u', b'(', b')', b'\xe2\x80\xa8']

def damage(text, rng):
    "A file of a reader, changed at random"
    kind = rng.randrange(7); out = bytearray(gzip.compress(text, mtime=0) if kind in (4, 5) else text)
    if kind == 0: return rng.randbytes(rng.randrange(200))
    if kind == 1 or kind == 4: return bytes(out[:rng.randrange(len(out)+1)])
    if kind == 2: return b'\n'.join(rng.choice(text.split(b'\n')) if rng.random() < .7 else b''.join(rng.choices(PIECES, k=3)) for _ in range(rng.randrange(6)))
    if kind == 6 and text[:1] == b'{':
        row = literal(text.split(b'\n')[0].decode()); row[rng.choice(sorted(row))] = rng.choice(ODD)
        return text+(repr(row) if text[1:2] == b"'" else json.dumps(row)).encode()+b'\n'
    for _ in range(rng.randrange(1, 5)): at = rng.randrange(len(out)); out[at:at+rng.randrange(4)] = rng.choice(PIECES) if rng.random() < .6 else rng.randbytes(rng.randrange(4))
    return bytes(out)

@pytest.mark.parametrize('name', READERS)
def test_damage(name, tmp_path):
    "Random damage in numbers; a case that fails is named by its number"
    read,text,file = READERS[name]
    for n in range(FUZZ//len(READERS)):
        content = damage(text, random.Random(f'{name} {n}'))
        try: holds(read, tmp_path/file, content)
        except Exception as e: raise AssertionError(f'case {n} of {name}: {content!r}') from e

@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(RATINGS)).flatmap(lambda n: st.tuples(st.just(n), damaged(RATINGS[n]))), st.sampled_from(['error', 'skip']))
def test_blocks_and_lines(tmp_path_factory, case, bad):
    "A table read a block at a time is the table read line by line"
    name,content = case; path = tmp_path_factory.getbasetemp()/name; path.write_bytes(content); fast = outcome(films, path, bad)
    with pytest.MonkeyPatch.context() as m: m.setattr(dumps, '_add_block', lambda *a: False); slow = outcome(films, path, bad)
    assert fast == slow if isinstance(fast, str) or isinstance(slow, str) else fast[0].equals(slow[0]) and fast[1] == slow[1]
