"Tables of every kind give the same interactions; a table that is wrong is answered with file, line, value and mend"
import gzip, json, os, resource, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa, pytest
from pyarrow import feather, parquet
from llmcfsr.cli import main
from llmcfsr.core import InputError
from llmcfsr.datasets import from_frames, from_tables, load_dataset
from llmcfsr.tables import read_interactions, read_items

ROOT = Path(__file__).resolve().parents[1]
FRAME = pd.DataFrame(dict(user_id=['ann']*3+['bob']*4+['007'], item_id=['tea', 'pot', 'cup', 'pot', 'cup', 'tea', 'tea', 'nan'], rating=[5, 4, 3, 5, 1, 2, 4, 5], timestamp=[1600000003, 1600000001, 1600000002, 1600000009, 1600000008, 1600000007, 1600000010, 1600000001]))
GOODS = pd.DataFrame(dict(item_id=['tea', 'pot', 'cup', 'nan'], title=['Tea, "green"', 'Pot\nof tin', 'Cüp', 'Naan'], brand=['A', None, 'B', None]))
WANT = [[u, i, t] for u,i,_,t in FRAME.values.tolist()]

def save(frame, path):
    "A frame in the format that the name of the file says"
    name = path.name
    if '.parquet' in name: frame.to_parquet(path)
    elif '.feather' in name: feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), path)
    elif '.jsonl' in name: frame.to_json(path, orient='records', lines=True, force_ascii=False)
    elif '.inter' in name: path.write_text('\t'.join(f'{c}:{"float" if c in ("rating", "timestamp") else "token"}' for c in frame)+'\n'+''.join('\t'.join(map(str, r))+'\n' for r in frame.values.tolist()))
    else: frame.to_csv(path, index=False, sep={'.tsv':'\t', '.txt':'|'}.get(Path(name.replace('.gz', '').replace('.bz2', '')).suffix, ','))
    return path

@pytest.mark.parametrize('name', ['t.csv', 't.tsv', 't.txt', 't.csv.gz', 't.tsv.bz2', 't.parquet', 't.feather', 't.jsonl', 't.jsonl.gz', 't.inter'])
def test_same_from_every_file(tmp_path, name):
    r = read_interactions(save(FRAME, tmp_path/name)); assert r.frame.values.tolist() == WANT and r.rows == 8 and r.dropped == {}
    if 'inter' not in name: assert r.columns == dict(user='user_id', item='item_id', time='timestamp')

def test_zstd(tmp_path):
    with pa.CompressedOutputStream(str(tmp_path/'t.csv.zst'), 'zstd') as f: f.write(FRAME.to_csv(index=False).encode())
    assert read_interactions(tmp_path/'t.csv.zst').frame.values.tolist() == WANT

def test_same_from_every_frame():
    t = pa.Table.from_pandas(FRAME, preserve_index=False)
    for f in (FRAME, t, t.combine_chunks().to_batches()[0], FRAME.astype('category'), FRAME.convert_dtypes(), pa.table({c:t[c].dictionary_encode() for c in t.column_names}), FRAME.set_index(np.arange(8)*3)): assert read_interactions(f).frame.values.tolist() == WANT
    names = dict(user='user_id', item='item_id', time='timestamp', unseen_items='keep'); base = from_frames(FRAME, GOODS, **names); assert from_frames(t, pa.Table.from_pandas(GOODS, preserve_index=False), **names).fingerprint == base.fingerprint
    assert from_tables(FRAME, GOODS).fingerprint == base.fingerprint

def test_polars():
    pl = pytest.importorskip('polars'); f = pl.DataFrame(FRAME.to_dict('list')); goods = pl.DataFrame(GOODS.astype(object).where(GOODS.notna(), None).to_dict('list'))
    assert read_interactions(f).frame.values.tolist() == WANT and read_interactions(f.with_columns(pl.from_epoch('timestamp'))).frame.values.tolist() == WANT and read_interactions(f.with_columns(pl.col('user_id').cast(pl.Categorical))).frame.values.tolist() == WANT
    names = dict(user='user_id', item='item_id', time='timestamp'); assert from_frames(f, goods, **names).fingerprint == from_frames(FRAME, GOODS, **names).fingerprint == from_tables(f, goods).fingerprint
    nested = pl.DataFrame(dict(item_id=['a'], tags=[['x', None]], box=[dict(w=1, h=None)], price=[float('nan')])); assert read_items(nested) == {'a':{'tags':['x'], 'box.w':1}}
    with pytest.raises(InputError, match='collect'): read_interactions(f.lazy())

@pytest.mark.parametrize('time,unit', [(lambda t: t, 1), (lambda t: t*1000+7, 0), (lambda t: pd.to_datetime(t, unit='s'), 1), (lambda t: pd.to_datetime(t, unit='s', utc=True).dt.tz_convert('Asia/Tokyo'), 1), (lambda t: pd.to_datetime(t, unit='s').astype(str), 1), (lambda t: pd.to_datetime(t, unit='s', utc=True).map(lambda d: d.isoformat()), 1), (lambda t: t.astype(float), 1), (lambda t: t.map('{:.1f}'.format), 1)])
def test_times(tmp_path, time, unit):
    f = FRAME.assign(timestamp=time(FRAME['timestamp'])); want = FRAME['timestamp'].tolist() if unit else (FRAME['timestamp']*1000+7).tolist()
    assert read_interactions(f).frame['time'].tolist() == want
    for name in ('t.csv', 't.parquet'): assert read_interactions(save(f, tmp_path/name)).frame['time'].tolist() == want

def test_days(tmp_path):
    "Dates without a clock, in the form that is said"
    f = pd.DataFrame(dict(user=['a']*3, item=list('xyz'), date=['09 13, 2009', '12 1, 2008', '1 31, 2010'])); assert np.argsort(read_interactions(f, time_format='%m %d, %Y').frame['time']).tolist() == [1, 0, 2]
    with pytest.raises(InputError, match="row 0 of the frame: time '09 13, 2009' in column 'date' is neither a number nor a date in ISO 8601: say its form"): read_interactions(f)

def test_what_was_taken_is_said(tmp_path, capsys):
    d = load_dataset(save(FRAME, tmp_path/'shop.csv'), min_rating=3, core=(2, 1)); assert d.name == 'shop'
    assert d.read == {'columns':'user=user_id, item=item_id, time=timestamp, rating=rating', 'rows read':8, 'dropped: rating below 3':2, 'dropped: core of 2 and 1':1}
    (tmp_path/'s').mkdir(); save(FRAME, tmp_path/'s/interactions.csv'); save(GOODS, tmp_path/'s/items.csv'); assert main(['data', str(tmp_path/'s')]) == 0
    out = capsys.readouterr().out
    for said in ('user=user_id, item=item_id, time=timestamp', 'rows read', 'items read'): assert said in out

def test_folder_kinds(tmp_path):
    "The same shop in six spellings has one fingerprint"
    found = set()
    for k,(inter,items) in enumerate((('interactions.csv', 'items.csv'), ('interactions.parquet', 'items.parquet'), ('ratings.tsv', 'items.jsonl'), ('reviews.jsonl.gz', 'meta.jsonl.gz'), ('interactions.feather', 'items.csv.gz'), ('interactions.csv', 'item_attributes.jsonl'))):
        (tmp_path/str(k)).mkdir(); save(FRAME, tmp_path/str(k)/inter); save(GOODS if 'attributes' not in items else GOODS, tmp_path/str(k)/items)
        d = load_dataset(tmp_path/str(k)); found.add(json.dumps([{f:v for f,v in a.items() if v is not None} for a in d.catalog.attrs])+str(d.interactions.item.tolist())+str(d.interactions.users.tolist()))
    assert len(found) == 1

def test_items_of_dropped_rows(tmp_path):
    d = from_tables(FRAME, GOODS, core=2); assert d.read['dropped: items of dropped rows'] == 1 and 'nan' not in d.interactions.items
    with pytest.raises(InputError, match="first is 'jug'"): from_tables(FRAME, pd.concat([GOODS, pd.DataFrame(dict(item_id=['jug'], title=['Jug']))]), core=2)

def test_headless(tmp_path):
    (tmp_path/'u.data').write_text('196\t242\t3\t881250949\n186\t302\t3\t891717742\n'); assert read_interactions(tmp_path/'u.data', columns=dict(user=0, item=1, time=3)).frame.values.tolist() == [['196', '242', 881250949], ['186', '302', 891717742]]
    with pytest.raises(InputError, match="no column that is known to hold the user, but '196'.*by its position"): read_interactions(tmp_path/'u.data')

HEAD = 'user_id,item_id,timestamp\n'
BAD = {
    'wrong separator':         ('x.inter', 'user_id:token,item_id:token\n1,2\n', {}, ('x.inter line 1', 'commas', 'tabs', "sep=','")),
    'separator said wrong':    ('x.csv', 'user_id;item_id\n1;2\n', dict(sep=','), ('line 1', 'semicolons', "sep=';'")),
    'one column':              ('x.csv', 'user_id\n1\n', {}, ('x.csv line 1', "'user_id'", 'one column')),
    'Latin-1':                 ('x.csv', (HEAD+'a,b,1\nb,café,2\n').encode('latin-1'), {}, ('x.csv line 3', '0xe9', "'é'", "encoding='latin-1'")),
    'UTF-16':                  ('x.csv', HEAD.encode('utf-16'), {}, ('x.csv line 1', "encoding='utf-16'")),
    'columns twice':           ('x.csv', 'user_id,item_id,item_id\na,b,c\n', {}, ('x.csv line 1', "'item_id'", 'rename')),
    'two users':               ('x.csv', 'user_id,customer_id,item_id\na,b,c\n', {}, ("'user_id' and 'customer_id'", "columns=dict(user='user_id')")),
    'ragged':                  ('x.csv', HEAD+'a,"b\nb",1\nc,d\n', {}, ('x.csv line 4', "'c,d'", '2 columns, not 3')),
    'no such column':          ('x.csv', HEAD+'a,b,1\n', dict(columns=dict(user='usr')), ("no column 'usr'", "'user_id'", 'columns=dict(user=')),
    'no such role':            ('x.csv', HEAD+'a,b,1\n', dict(columns=dict(usr='user_id')), ("'usr' is not known", "did you mean 'user'")),
    'no user':                 ('x.csv', HEAD+'a,b,1\n ,b,1\n', {}, ('x.csv line 3', 'no user', "missing='drop'", '1 of 2')),
    'no time':                 ('x.csv', HEAD+'a,b,1\nc,b,\n', {}, ('x.csv line 3', 'no time', "'timestamp'")),
    'time in words':           ('x.csv', HEAD+'a,b,1\nc,b,noon\n', {}, ('x.csv line 3', "'noon'", "'timestamp'")),
    'fraction of a second':    ('x.csv', HEAD+'a,b,1.5\n', {}, ('x.csv line 2', "'1.5'", 'whole number')),
    'day or month first':      ('x.csv', HEAD+'a,b,01/02/2020\n', {}, ('x.csv line 2', "'01/02/2020'", "time_format='%d/%m/%Y'")),
    'a form that does not fit':('x.csv', HEAD+'a,b,2020-01-02\n', dict(time_format='%d/%m/%Y'), ('x.csv line 2', "'2020-01-02'", "'%d/%m/%Y'")),
    'seconds and milliseconds':('x.csv', HEAD+'a,b,1600000000\na,c,1600000000000\n', {}, ('x.csv line 3', '1600000000000', 'milliseconds', 'line 2', 'one unit')),
    'time under another name': ('x.csv', 'user,item,visit_date\na,b,1\n', {}, ("'visit_date'", "columns=dict(time='visit_date')", 'time=None')),
    'ids that differ in blanks':('x.csv', HEAD+'a,b,1\na, b,2\n', {}, ("'b' and ' b'", 'differ in blanks')),
    'quote not closed':        ('x.csv', HEAD+'a,b,1\na,"b,2\na,c,3\n', {}, ('x.csv', 'line 3')),
    'rating in words':         ('x.csv', 'user,item,rating\na,b,5\na,c,good\n', dict(min_rating=3), ('x.csv line 3', "'good'", 'not a number')),
    'no rating':               ('x.csv', HEAD+'a,b,1\n', dict(min_rating=3), ('known to hold the rating', 'columns=dict(rating=...)')),
    'nothing left':            ('x.csv', 'user,item,rating\na,b,1\n', dict(min_rating=3), ('nothing is left of 1 rows', 'rating below 3: 1')),
    'empty':                   ('x.csv', '', {}, ('x.csv', 'empty')),
    'names only':              ('x.csv', HEAD, {}, ('x.csv', 'empty')),
    'no table':                ('x.csv', b'PK\x03\x04\0\0', {}, ('x.csv',)),
    'cut short':               ('x.csv.gz', gzip.compress(HEAD.encode()*999)[:-9], {}, ('x.csv.gz', 'cut short or damaged')),
    'not packed':              ('x.csv.gz', HEAD, {}, ('x.csv.gz', 'unpacked')),
    'no parquet':              ('x.parquet', HEAD, {}, ('x.parquet', 'cannot be read as parquet')),
    'JSON broken off':         ('x.jsonl', '{"user": 1, "item": 2}\n{"user": ', {}, ('x.jsonl line 2', 'not valid JSON')),
    'unknown kind':            ('x.xlsx', '', {}, ('.xlsx', '.csv, .tsv, .parquet')),
}

@pytest.mark.parametrize('case', BAD)
def test_bad_tables(case, tmp_path):
    name,content,options,said = BAD[case]; (tmp_path/name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as e: read_interactions(tmp_path/name, **options)
    assert '\n' not in str(e.value)
    for s in said: assert s in str(e.value), (s, str(e.value))

def test_bad_table_at_the_command_line(tmp_path, capsys):
    (tmp_path/'x.inter').write_text('user_id:token,item_id:token\n1,2\n')
    assert main(['data', str(tmp_path/'x.inter')]) == 2
    out,err = capsys.readouterr(); assert out == '' and err.count('\n') == 1 and 'tabs' in err

LIMIT_S,LIMIT_MIB = 60,700                                                       # several times what a small machine needs
@pytest.mark.skipif(sys.platform == 'win32', reason='memory is measured by getrusage')
def test_three_hundred_thousand(tmp_path):
    "A generated file of 300,000 lines, from each format to the same cases, within bounds of time and memory (the run on ten million is `python benchmarks/load.py --folder SOMEWHERE`)"
    load = [sys.executable, str(ROOT/'benchmarks/load.py'), '--rows', '300000', '--folder', str(tmp_path)]
    done = subprocess.run(load+['--draw'], capture_output=True, text=True, timeout=600, env={**os.environ, 'PYTHONPATH':str(ROOT)}); assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(l) for l in done.stdout.splitlines()]; assert [r['what'] for r in rows] == ['inter', 'csv', 'parquet'] and len({(r['fingerprint'], r['kept'], r['cases']) for r in rows}) == 1
    for r in rows: assert r['rows'] == 300_000 and r['cpu_until_split'] < LIMIT_S and r['peak_mib'] < LIMIT_MIB, r

TEN = os.environ.get('LLMCFSR_TEN_MILLION')
@pytest.mark.skipif(not TEN, reason='slow: LLMCFSR_TEN_MILLION=FOLDER pytest tests/test_tables.py -k ten_million (a gigabyte in FOLDER, some minutes)')
def test_ten_million():
    "Ten million interactions from each format to cases: under two minutes and 3 GiB"
    done = subprocess.run([sys.executable, str(ROOT/'benchmarks/load.py'), '--folder', TEN, '--draw'], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH':str(ROOT)}); assert done.returncode == 0, done.stderr[-2000:]
    for r in map(json.loads, done.stdout.splitlines()): assert r['rows'] == 10_000_000 and r['cpu_until_split'] < 120 and r['peak_mib'] < 3072, r

def test_a_date_in_text_beyond_what_is_counted():
    "In a column of text as in a column of dates"
    for when in (['2263-01-01'], pd.to_datetime(['2263-01-01']).astype('datetime64[s]')):
        with pytest.raises(InputError, match='1677 to 2262'): read_interactions(pd.DataFrame(dict(user=['a'], item=['x'], time=when)))
