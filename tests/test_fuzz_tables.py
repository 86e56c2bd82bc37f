"""Whatever lies in a file or a frame is read or answered with one line: no other exception, no other result on the fast road

`LLMCFSR_FUZZ=20000 pytest tests/test_fuzz_tables.py` runs that many cases of each kind instead of a few hundred.
"""
import bz2, datetime, decimal, gzip, io, json, os
import numpy as np, pandas as pd, pyarrow as pa, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pyarrow import parquet
from llmcfsr.catalog import read_attributes
from llmcfsr.core import InputError
from llmcfsr.datasets import from_frames, load_dataset
from llmcfsr.interactions import read_inter, read_inter_lines
from llmcfsr.tables import read_interactions, read_items

CASES = int(os.environ.get('LLMCFSR_FUZZ', 300))
many = settings(max_examples=CASES, derandomize='LLMCFSR_FUZZ' not in os.environ, deadline=None,   # the same cases each time, unless more are asked for
    suppress_health_check=list(HealthCheck), database=None)

@pytest.fixture(scope='module')
def place(tmp_path_factory): return tmp_path_factory.mktemp('fuzz')

def answered(f, *args, **kwargs):
    "What comes out, None where the user is told in one line what to mend"
    try: return f(*args, **kwargs)
    except InputError as e: assert str(e) and '\n' not in str(e), str(e)

# ---- inter.txt: the fast road and the slow one

TOKENS = [b'a', b'b', b'007', b'nan', b'7', b'-1', b'1e3', b'1.0', b'1.5', b'+5', b'0x10', b'9007199254740993', b'9223372036854775808', b'inf', b'1_0', b'caf\xc3\xa9', b'\xff', b'"a', b'a"', b'""', b',', b'\xc2\xa0', b'\x00', b'user', b'item', b'user_id', b'True', b'1.', b'.5', b'-0', b'\xef\xbb\xbf', b'\x1c', b'\xe2\x80\xa8', b'1e400', b'123456789012345678901']
BLANKS = [b' ']*12+[b'\t']*3+[b'  ', b' \t', b'\x0b', b'\x0c', b'', b'\xc2\xa0']
ENDS = [b'\n']*12+[b'\r\n']*2+[b'\n\n', b'\r', b' \n', b'\r\r\n', b'']
token = st.sampled_from(TOKENS) | st.integers(-5, 10**10).map(lambda n: str(n).encode())
row = st.integers(1, 4).flatmap(lambda n: st.tuples(*[token]*n)) | st.tuples(token, token, st.integers(0, 9).map(lambda n: str(n).encode()))
@st.composite
def inter(draw):
    width = draw(st.integers(2, 3)); regular = draw(st.booleans()); rows = draw(st.lists(st.tuples(*[token]*width) if regular else row, max_size=6)); blank,end = draw(st.sampled_from(BLANKS)),draw(st.sampled_from(ENDS)); out = b''
    for r in rows:
        for n,t in enumerate(r): out += t+(b'' if n == len(r)-1 else blank if regular else draw(st.sampled_from(BLANKS)))
        out += end if regular else draw(st.sampled_from(ENDS))
    return draw(st.sampled_from([b'']*9+[b'\xef\xbb\xbf']))+out

@many
@given(inter() | st.binary(max_size=40))
def test_two_roads(place, content):
    "The fast reader gives what the reader of lines gives, or both refuse"
    f = place/'inter.txt'; f.write_bytes(content); a,b = answered(read_inter, f),answered(read_inter_lines, f)
    assert (a is None) == (b is None)
    if a is not None: assert a.values.tolist() == b.values.tolist() and a['time'].dtype == b['time'].dtype == np.int64 and [*map(str, a.dtypes)] == [*map(str, b.dtypes)]

# ---- tables of text

CELLS = ['', ' ', 'a', 'b', ' a', '007', '7', '7.0', 'nan', 'NA', 'null', '5', '3.5', '1e3', '0x10', 'inf', '1577836800', '1577836800000', '2020-01-01', '2020-01-01 10:00:00', '01/02/2020', '2020-13-01', '"', '"x', 'x"y', '"q,q"', '"l\nl"', 'é', '日', '\u00a0', '\x00', ',', ';', '\t', '|', '::', '\r', "'", '\\', '9'*25, '-1', 'True', '[1]', '{}', '\u2028']
NAMES = ['user', 'item', 'time', 'rating', 'user_id', 'item_id', 'timestamp', 'reviewerID', 'asin', 'parent_asin', 'userId', 'movieId', 'title', 'price', 'date', 'user_id:token', 'item_id:token', 'timestamp:float', 'rating:float', 'title:token_seq', 'vector:float_seq', '', ' ', 'x', 'item "id"']
ENDINGS = ['.csv', '.tsv', '.txt', '.dat', '.inter', '.item', '.csv.gz', '.tsv.bz2', '']
@st.composite
def text_table(draw):
    sep = draw(st.sampled_from([',']*6+['\t']*5+[';', '|', '::', ' '])); names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5)) if draw(st.integers(0, 3)) else [*draw(st.sampled_from([('user', 'item', 'time'), ('user_id:token', 'item_id:token', 'timestamp:float'), ('item_id', 'title', 'price'), ('userId', 'movieId', 'rating', 'timestamp')]))]
    ragged = draw(st.integers(0, 4)) == 0; rows = draw(st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=6) if ragged else st.lists(st.sampled_from(CELLS), min_size=len(names), max_size=len(names)), max_size=5))
    if draw(st.integers(0, 2)) and not ragged: rows = [[f'u{n%2}', f'i{n}', *r[2:]] for n,r in enumerate(rows)]
    text = draw(st.sampled_from(['\n']*6+['\r\n', '\r'])).join(sep.join(r) for r in [names, *rows])+draw(st.sampled_from(['\n', '', '\n\n']))
    raw = draw(st.sampled_from(['']*8+['\ufeff'])).encode()+text.encode(draw(st.sampled_from(['utf-8']*8+['latin-1', 'utf-16'])), 'replace')
    return raw if draw(st.integers(0, 9)) else raw[:draw(st.integers(0, len(raw)))]+draw(st.binary(max_size=4))

OPTIONS = st.fixed_dictionaries({}, optional=dict(columns=st.dictionaries(st.sampled_from(['user', 'item', 'time', 'rating', 'usr']), st.sampled_from([0, 1, 2, None, 'user', 'title', 'timestamp:float']), max_size=3), sep=st.sampled_from([',', '\t', ';', '::']), encoding=st.sampled_from(['utf-8', 'latin-1', 'utf-16', 'ascii', 'nope']),
                                                  time_format=st.sampled_from(['%d/%m/%Y', '%Y', '%', 'x']), min_rating=st.sampled_from([0, 3.5]), missing=st.sampled_from(['drop', 'error'])))
def packed(name, raw): return gzip.compress(raw, 1) if name.endswith('.gz') else bz2.compress(raw, 1) if name.endswith('.bz2') else raw

def sound(r):
    "What is read is whole: texts without blanks around them, times, and rows that add up"
    f = r.frame; assert list(f.columns) == ['user', 'item', 'time'] and f['time'].dtype == np.int64 and len(f) and len(f)+sum(r.dropped.values()) == r.rows
    assert all(isinstance(v, str) and v and v == v.strip() for c in ('user', 'item') for v in f[c])

@many
@given(text_table() | st.binary(max_size=60), st.sampled_from(ENDINGS), OPTIONS)
def test_text_tables(place, raw, end, options):
    f = place/f't{end}'; f.write_bytes(packed(end, raw)); r = answered(read_interactions, f, **options)
    if r is not None: sound(r)

@many
@given(text_table() | st.binary(max_size=60), st.sampled_from(ENDINGS))
def test_text_items(place, raw, end):
    f = place/f'i{end}'; f.write_bytes(packed(end, raw)); out = answered(read_items, f)
    if out is not None: json.dumps(out); assert all(isinstance(k, str) and k and v != '' for k in out for v in out[k].values())

# ---- files of columns, and frames

SCALARS = st.none() | st.booleans() | st.integers(-2**63, 2**63-1) | st.floats() | st.text(max_size=3) | st.sampled_from(CELLS) | st.dates() | st.datetimes() | st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-999, max_value=999) | st.binary(max_size=3)
VALUES = SCALARS | st.lists(st.text(max_size=2), max_size=2) | st.dictionaries(st.sampled_from('ab'), st.integers(0, 3), max_size=2)
PLAIN = [st.integers(0, 3), st.sampled_from('abc'), st.floats(0, 9), st.none(), st.datetimes(), st.integers(0, 2).map(float), st.booleans(), st.sampled_from(CELLS), st.binary(max_size=2), st.lists(st.integers(0, 2), max_size=2), st.dictionaries(st.sampled_from('ab'), st.integers(0, 3), max_size=2)]
@st.composite
def columns(draw, strange=False):
    n = draw(st.integers(0, 4)); names = draw(st.sampled_from([['user', 'item', 'time'], ['item_id', 'title'], ['user_id', 'item_id', 'rating', 'timestamp']])) if draw(st.integers(0, 3)) else draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    return {k:draw(st.lists(VALUES if strange else draw(st.sampled_from(PLAIN)) | (st.none() if draw(st.booleans()) else st.nothing()), min_size=n, max_size=n)) for k in names}

@many
@given(columns())
def test_arrow(place, data):
    "An Arrow table, and the same as parquet, give the same"
    try: t = pa.table({k:pa.array(v) for k,v in data.items()})
    except pa.ArrowException: return
    r = answered(read_interactions, t, missing='drop')
    if r is not None: sound(r)
    items = answered(read_items, t)
    if items is not None: json.dumps(items)
    f = place/'t.parquet'
    try: parquet.write_table(t, f)
    except pa.ArrowException: return                                             # what parquet cannot hold, such as empty structs
    again = answered(read_interactions, f, missing='drop'); assert (again is None) == (r is None)
    if r is not None: assert again.frame.values.tolist() == r.frame.values.tolist()
    assert answered(read_items, f) == items

@many
@given(columns(strange=True), columns())
def test_pandas(place, data, items):
    frame,goods = (pd.DataFrame({k:pd.Series(v, dtype=object) for k,v in d.items()}) for d in (data, items)); before = frame.copy()
    r = answered(read_interactions, frame, missing='drop'); answered(read_items, frame); answered(from_frames, frame, goods, unseen_items='keep', missing_text='empty')
    if r is not None: sound(r)
    assert before.map(repr).equals(frame.map(repr))

# ---- JSON lines and damaged files of columns

objects = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), lambda x: st.lists(x, max_size=2) | st.dictionaries(st.sampled_from(['item_id', 'title', 'user', 'item', 'time', 'x']), x, max_size=3), max_leaves=5)
lines = st.lists(st.binary(max_size=12) | objects.map(lambda o: json.dumps(o).encode()) | st.sampled_from('ab').map(lambda k: json.dumps({'item_id':k, 'user':k, 'item':k, 'title':'Tea'}).encode()), max_size=4).map(b'\n'.join)
@many
@given(lines, st.sampled_from(['.jsonl', '.jsonl.gz']))
def test_json_lines(place, raw, end):
    f = place/f'j{end}'; f.write_bytes(packed(end, raw))
    r = answered(read_interactions, f, missing='drop')
    if r is not None: sound(r)
    if end == '.jsonl': answered(read_attributes, f)
    answered(read_items, f)

WHOLE = {}
def whole(end):
    if not WHOLE:
        t = pa.table(dict(user=['a', 'b']*5, item=list('abcdefghij'), time=range(10))); b = io.BytesIO(); parquet.write_table(t, b); WHOLE['.parquet'] = b.getvalue(); WHOLE['.csv.gz'] = gzip.compress(b'user,item\n'+b'a,b\n'*99)
        from pyarrow import feather
        b = io.BytesIO(); feather.write_feather(t, b, compression='uncompressed'); WHOLE['.feather'] = b.getvalue()
    return WHOLE[end]
@many
@given(st.sampled_from(['.parquet', '.feather', '.csv.gz']), st.data())
def test_damaged(place, end, data):
    raw = bytearray(whole(end)); at = data.draw(st.integers(0, len(raw)-1))
    if data.draw(st.booleans()): raw = raw[:at]
    else: raw[at] ^= data.draw(st.integers(1, 255))
    f = place/f'd{end}'; f.write_bytes(raw); r = answered(read_interactions, f)
    if r is not None: sound(r)

# ---- a whole folder

@many
@given(text_table(), text_table() | st.none(), st.sampled_from(['.csv', '.tsv', '.inter']), st.fixed_dictionaries({}, optional=dict(core=st.sampled_from([1, 2, (1, 2), 'x', (1,)]), duplicates=st.sampled_from(['drop', 'keep', 'x']), missing_text=st.just('empty'), unseen_items=st.sampled_from(['keep', 'drop']))))
def test_folders(place, inter, items, end, options):
    folder = place/'shop'; folder.mkdir(exist_ok=True)
    for f in folder.iterdir(): f.unlink()
    (folder/(f'shop{end}' if end == '.inter' else f'interactions{end}')).write_bytes(inter)
    if items is not None: (folder/('shop.item' if end == '.inter' else f'items{end}')).write_bytes(items)
    d = answered(load_dataset, folder, **options)
    if d is not None: assert d.interactions.lengths.max() >= 3 and d.read['rows read'] >= len(d.interactions.item)
