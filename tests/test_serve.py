"""The service: its answers are those of Python, its limits hold, and no request makes it fail. `LLMCFSR_FUZZ=60000 pytest tests/test_serve.py -k fuzz` tries more cases."""
import asyncio, concurrent.futures, http.client, importlib.util, json, logging, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
import numpy as np, pandas as pd, pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec('fastapi') is None or importlib.util.find_spec('uvicorn') is None, reason="the service is an extra: pip install 'llmcfsr[serve]'")
ROOT = Path(__file__).resolve().parents[1]
CASES = int(os.environ.get('LLMCFSR_FUZZ', 1500))

@pytest.fixture(scope='module')
def rec():
    "A shop of 24 items with short ids, which a blind guess meets"
    from llmcfsr.recommender import Recommender
    g = np.random.default_rng(0); ids = list('0123456789abcdefghij')+['a/b', 'ü', '10', 'x y']
    frame = pd.DataFrame([dict(user=str(u) if u < 10 else f'u{u}', item=i, time=n) for u in range(40) for n,i in enumerate([*ids, *g.choice(ids, 10)] if u == 0 else g.choice(ids, 7))])
    goods = pd.DataFrame([dict(item_id=i, title=f'thing {n%7} of {n%5}', brand='ABC'[n%3], year=1990+n%4) for n,i in enumerate(ids)])
    return Recommender(model='llm-cfsr', encoder='tfidf', epochs=1, dim=8, blocks=1, seed=0).fit(frame, goods)

@pytest.fixture
def client(rec):
    from starlette.testclient import TestClient
    from llmcfsr.serve import Limits, make_app
    with TestClient(make_app(rec, Limits(body=5000, history=50, batch=4, k=30, ids=10, chars=20), name='test')) as c: yield c

def pairs(answer): return [(i['rank'], i['item'], i['score']) for i in answer['items']]
def python(rec, **options): t = rec.recommend(**options); return list(zip(t['rank'].tolist(), t['item'].tolist(), t['score'].tolist()))

@pytest.mark.parametrize('body,options', [
    (dict(history=['a', 'b']), dict(histories=[['a', 'b']])), (dict(history=[], k=3), dict(histories=[[]], k=3)), (dict(history=[1, 2, 'ü'], k=30), dict(histories=[['1', '2', 'ü']], k=30)),
    (dict(history=['a'], exclude=['b', 'c', 4]), dict(histories=[['a']], exclude=['b', 'c', '4'])), (dict(history=['a'], exclude_seen=False), dict(histories=[['a']], exclude_seen=False)),
    (dict(history=['a'], where={'brand':'B'}), dict(histories=[['a']], where={'brand':'B'})), (dict(history=['a'], where={'brand':['A', 'B'], 'year':1991}), dict(histories=[['a']], where={'brand':['A', 'B'], 'year':1991})),
    (dict(history=['a', 'gone'], unknown='skip'), dict(histories=[['a', 'gone']], unknown='skip')), (dict(user='3'), dict(users=['3'])), (dict(user='u12', k=2, where={'brand':'C'}), dict(users=['u12'], k=2, where={'brand':'C'}))], ids=str)
def test_answers_are_those_of_python(client, rec, body, options):
    r = client.post('/recommend', json=body); assert r.status_code == 200 and pairs(r.json()) == python(rec, **options) and all(i['title'] == rec.labels[i['item']] for i in r.json()['items'])

def test_batch(client, rec):
    asked = [dict(history=['a'], k=3), dict(user='3', k=4), dict(history=['b'], where={'brand':'A'}), dict(history=['c'], k=5)]
    lists = client.post('/recommend/batch', json=dict(requests=asked)).json()['lists']
    for l,a in zip(lists, asked):
        want = python(rec, **({'users':[a['user']]} if 'user' in a else {'histories':[a['history']]}), k=a.get('k', 10), where=a.get('where'))
        assert [(r, i) for r,i,_ in pairs(l)] == [(r, i) for r,i,_ in want] and np.allclose([s for *_,s in pairs(l)], [s for *_,s in want], atol=1e-5)
    r = client.post('/recommend/batch', json=dict(requests=[*asked[:2], dict(history=['gone'])])); assert r.status_code == 422 and r.json()['field'] == 'requests.2.history.0'

def test_items(client, rec):
    for i in ('a', 'a/b', 'ü', 'x y'):
        r = client.get('/items/'+__import__('urllib.parse').parse.quote(i, safe='')); assert r.status_code == 200 and r.json()['item'] == i and r.json()['attributes']['brand'] in 'ABC' and r.json()['popularity'] == rec.popularity[rec._row[i]]
    for by in ('text', 'model'):
        t = rec.similar_items(['a'], k=4, by=by); assert pairs(client.get(f'/items/a/similar?k=4&by={by}').json()) == list(zip(t['rank'].tolist(), t['item'].tolist(), t['score'].tolist()))
    h = client.get('/health').json(); assert (h['status'], h['model'], h['items'], h['name'], h['writable']) == ('ok', 'llm-cfsr', 24, 'test', False) and h['uptime'] >= 0

WRONG = {'unknown item':(422, 'history.1', dict(history=['a', 'gone'])), 'unknown exclude':(422, 'exclude.0', dict(history=['a'], exclude=['gone'])), 'unknown user':(422, 'user', dict(user='nobody')), 'both':(422, None, dict(user='3', history=[])), 'neither':(422, None, {}),
    'k 0':(422, 'k', dict(history=[], k=0)), 'k text':(422, 'k', dict(history=[], k='5')), 'k true':(422, 'k', dict(history=[], k=True)), 'k too large':(422, 'k', dict(history=[], k=31)), 'history too long':(422, 'history', dict(history=['a']*51)), 'id too long':(422, 'history.0', dict(history=['a'*21])),
    'id null':(422, 'history.0', dict(history=[None])), 'id true':(422, 'history.0', dict(history=[True])), 'misspelt':(422, 'histroy', dict(histroy=['a'])), 'unknown field':(422, 'where', dict(history=['a'], where={'band':'A'})), 'unknown value':(422, 'where', dict(history=['a'], where={'brand':'Z'})),
    'long value':(422, 'history', dict(history={'x'*90+str(n):{'y'*90:['z'*90]*3} for n in range(3)})), 'history text':(422, 'history', dict(history='abc')), 'not an object':(422, None, ['a']), 'unknown how':(422, 'unknown', dict(history=['a'], unknown='maybe')), 'too many exclude':(422, 'exclude', dict(history=[], exclude=['a']*11)), 'half a character':(422, 'history.0', dict(history=['\ud83d']))}
@pytest.mark.parametrize('case', WRONG)
def test_wrong(client, case):
    status,field,body = WRONG[case]; r = client.post('/recommend', content=json.dumps(body), headers={'content-type':'application/json'}); told = r.json()
    assert (r.status_code, told['field']) == (status, field) and set(told) == {'error', 'field'} and '\n' not in told['error'] and len(told['error']) < 400 and 'Traceback' not in r.text

RAW = {'no body':(422, b''), 'cut':(400, b'{"history": ["a"'), 'not UTF-8':(400, b'{"history": ["\xff"]}'), 'deep':(400, b'['*2400+b']'*2400), 'long number':(400, b'{"k": '+b'9'*4900+b'}'), 'NaN':(422, b'{"history": [], "where": {"year": NaN}}'), 'zero byte':(400, b'\0'), 'two objects':(400, b'{} {}')}
@pytest.mark.parametrize('case', RAW)
def test_raw_bodies(client, case):
    r = client.post('/recommend', content=RAW[case][1], headers={'content-type':'application/json'}); assert r.status_code in {RAW[case][0], 400, 422} and set(r.json()) == {'error', 'field'}

def test_what_stands_around_the_body(client):
    body = json.dumps(dict(history=['a'])); assert client.post('/recommend', content=body, headers={'content-type':'application/json; charset=utf-8'}).status_code == 200
    for kind in ('text/plain', 'application/x-www-form-urlencoded', ''): r = client.post('/recommend', content=body, headers={'content-type':kind}); assert r.status_code == 415 and 'application/json' in r.json()['error']
    assert client.post('/recommend', json=dict(history=['a'], exclude=['b'*5000])).status_code == 413
    for m,path,status in (('GET', '/recommend', 405), ('PUT', '/health', 405), ('GET', '/nothing', 404), ('GET', '/docs', 404), ('GET', '/items/gone', 404), ('GET', '/items/gone/similar', 404), ('GET', '/items/a/similar?k=x', 422), ('GET', '/items/a/similar?by=magic', 422), ('POST', '/items', 405)):
        r = client.request(m, path); assert r.status_code == status and set(r.json()) == {'error', 'field'}, (m, path, r.text)
    assert '://' not in client.get('/openapi.json').text.replace('http://testserver', '')                      # nothing is loaded from elsewhere

def test_added_items(rec, tmp_path):
    from starlette.testclient import TestClient
    from llmcfsr.recommender import Recommender
    from llmcfsr.serve import make_app
    rec.save_pretrained(tmp_path/'m'); own = Recommender.from_pretrained(tmp_path/'m')
    with TestClient(make_app(own, writable=True)) as c:
        assert c.post('/items', json=dict(items=[dict(item_id='new', title='thing 3 of 2', brand='B')])).json() == dict(added=1, items=25)
        assert c.get('/items/new').json()['popularity'] == 0 and c.post('/recommend', json=dict(history=['new'], k=24)).status_code == 200 and 'new' in [i for _,i,_ in pairs(c.post('/recommend', json=dict(history=['a'], k=25)).json())]
        for bad in ([dict(item_id='new', title='again')], [dict(title='no id')], [dict(item_id='n2')], [], 'x'): r = c.post('/items', json=dict(items=bad)); assert r.status_code == 422 and r.json()['error'] and c.get('/health').json()['items'] == 25

class Stub:
    "Answers with what it is told to do"
    items,labels,known,attributes = ['a'],{},None,None; _row = {'a':1}; popularity = np.zeros(2, int); options = type('O', (), {'model':'stub'})
    def __init__(self, work): self.work = work
    def recommend(self, histories, k, **more): return self.work(histories)

def test_a_fault_is_one_line(caplog):
    from starlette.testclient import TestClient
    from llmcfsr.serve import make_app
    def fails(h): raise ZeroDivisionError('the moon at /secret/path')
    with TestClient(make_app(Stub(fails))) as c, caplog.at_level(logging.ERROR, 'llmcfsr'):
        r = c.post('/recommend', json=dict(history=['a'])); assert r.status_code == 500 and 'secret' not in r.text and 'Traceback' not in r.text and set(r.json()) == {'error', 'field'}
        assert 'fault while answering POST /recommend' in caplog.text and 'the moon' in caplog.text and c.get('/health').status_code == 200

def test_too_many_wait():
    from starlette.testclient import TestClient
    from llmcfsr.serve import Limits, make_app
    go,begun = threading.Event(),threading.Event(); done = lambda h: (begun.set(), go.wait(20), pd.DataFrame(dict(history=range(len(h)), rank=1, item='a', score=1.)))[-1]
    with TestClient(make_app(Stub(done), Limits(waiting=2), joined=1)) as c, concurrent.futures.ThreadPoolExecutor(8) as pool:
        ask = lambda: pool.submit(c.post, '/recommend', json=dict(history=['a'])); asked = [ask()]; assert begun.wait(20); asked += [ask() for _ in range(7)]
        wait = time.monotonic()+15
        while sum(f.done() for f in asked) < 5 and time.monotonic() < wait: time.sleep(.01)
        go.set(); found = sorted(f.result().status_code for f in asked); assert found == [200]*3+[503]*5
        assert all(f.result().headers['retry-after'] == '1' for f in asked if f.result().status_code == 503)

@pytest.fixture(scope='module')
def served(rec, tmp_path_factory):
    "A service in a process of its own, by the command line"
    d = tmp_path_factory.mktemp('serve'); rec.save_pretrained(d/'model', histories=True)
    p = subprocess.Popen([sys.executable, '-m', 'llmcfsr', 'serve', str(d/'model'), '--port', '0', '--max-body', '20000', '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    told = json.loads(p.stdout.readline()); yield p,int(told['url'].rpartition(':')[2]),d
    if p.poll() is None: p.kill()
    p.wait(20); p.stdout.close(); p.stderr.close()

def raw(port, *parts, pause=0):
    "Bytes in, bytes out, over one socket"
    with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
        for part in parts: s.sendall(part); time.sleep(pause)
        out = b''
        while more := s.recv(65536): out += more
        return out

def test_bodies_over_a_socket(served):
    _,port,_ = served; head = b'POST /recommend HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n'; chunk = lambda b: b'%x\r\n%s\r\n' % (len(b), b)
    body = b'{"history": ["a"], "k": 2}'
    assert raw(port, head+b'Content-Length: %d\r\n\r\n' % len(body), body[:9], body[9:], pause=.02).startswith(b'HTTP/1.1 200')
    assert raw(port, head+b'Transfer-Encoding: chunked\r\n\r\n', chunk(body[:5]), chunk(body[5:]), chunk(b'')).startswith(b'HTTP/1.1 200')
    large = raw(port, head+b'Transfer-Encoding: chunked\r\n\r\n', *(chunk(b' '*4000) for _ in range(6)), chunk(b'')); assert large.startswith(b'HTTP/1.1 413') and b'"error"' in large
    assert raw(port, head+b'Content-Length: 30000\r\n\r\n', b' '*30000).startswith(b'HTTP/1.1 413') and raw(port, b'nonsense\r\n\r\n').startswith(b'HTTP/1.1 400')
    link = http.client.HTTPConnection('127.0.0.1', port, timeout=20); link.request('GET', '/health'); assert json.loads(link.getresponse().read())['items'] == 24; link.close()

def test_many_at_once_and_the_end(served, rec):
    "Sixteen clients with different wishes get what each would get alone; SIGTERM in the midst of it loses no answer that was begun"
    p,port,_ = served; wishes = [dict(history=[rec.items[n%24], rec.items[(5*n)%24]], k=1+n%9, **({'where':{'brand':'AB'[n%2]}} if n%3 == 0 else {}), **({'exclude':[rec.items[(7*n)%24]]} if n%5 == 0 else {})) for n in range(160)]
    def ask(wish, link=None):
        link = link or http.client.HTTPConnection('127.0.0.1', port, timeout=30); link.request('POST', '/recommend', json.dumps(wish), {'Content-Type':'application/json'}); r = link.getresponse(); return r.status,json.loads(r.read())
    with concurrent.futures.ThreadPoolExecutor(16) as pool: got = list(pool.map(ask, wishes))
    for w,(status,answer) in zip(wishes, got):
        want = python(rec, histories=[w['history']], k=w['k'], where=w.get('where'), exclude=w.get('exclude', ())); assert status == 200 and np.allclose([s for *_,s in pairs(answer)], [s for *_,s in want], atol=1e-5)
        assert [i for _,i,_ in pairs(answer)] == [i for _,i,_ in want] or min(np.abs(np.diff([s for *_,s in want]))) < 1e-5
    def until_the_end(n):
        whole = broken = 0
        while True:
            try: status,answer = ask(wishes[n]); whole += status == 200 and len(answer['items']) > 0
            except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError): return whole,broken          # no connection, or one that was not yet read
            except (json.JSONDecodeError, http.client.HTTPException): broken += 1; return whole,broken                                          # half an answer
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(until_the_end, n) for n in range(8)]; time.sleep(.5); p.send_signal(signal.SIGTERM); found = [f.result() for f in running]
    assert sum(w for w,_ in found) > 8 and not sum(b for _,b in found) and p.wait(30) == 0

def test_a_port_in_use(rec, tmp_path):
    rec.save_pretrained(tmp_path/'model')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        r = subprocess.run([sys.executable, '-m', 'llmcfsr', 'serve', str(tmp_path/'model'), '--port', str(taken.getsockname()[1])], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (r.returncode, r.stdout, r.stderr.count('\n')) == (2, '', 1) and 'give another --host or --port' in r.stderr

# ---------------------------------------------------------------------------------------------------------------- fuzz

@pytest.fixture(scope='module')
def fuzzed(rec, tmp_path_factory):
    from llmcfsr.recommender import Recommender
    from llmcfsr.serve import Limits, make_app
    d = tmp_path_factory.mktemp('fuzz'); rec.save_pretrained(d/'model', histories=True); own = Recommender.from_pretrained(d/'model'); room = len(own.items)
    grow = own.add_items
    def bounded(items, **more):                       # what was added is taken back, so that a long run stays as quick as it began
        grow(items, **more)
        if len(own.items) > room+200:
            fresh = Recommender.from_pretrained(d/'model'); own.__dict__.update({k:v for k,v in fresh.__dict__.items() if k != 'add_items'})
    own.add_items = bounded
    return make_app(own, Limits(body=20000, history=60, batch=8, k=50, ids=20, chars=40, added=5), writable=True)

def settings(n):
    from hypothesis import HealthCheck, Phase, settings
    return settings(phases=tuple(Phase) if CASES <= 1500 else (Phase.explicit, Phase.generate), max_examples=n, deadline=None, database=None, derandomize=CASES <= 1500, suppress_health_check=list(HealthCheck))

def sound(status, body, seconds):
    "No fault, no hang, and errors of one shape"
    assert status < 500 and seconds < 20, (status, seconds, body[:300])
    if status >= 400: told = json.loads(body); assert set(told) == {'error', 'field'} and told['error'] and '\n' not in told['error'] and b'Traceback' not in body and len(told['error']) < 1000

OPERATIONS = ['GET /health', 'GET /items/{item}', 'GET /items/{item}/similar', 'POST /items', 'POST /recommend', 'POST /recommend/batch']
@pytest.mark.parametrize('mode', ['positive', 'negative'])
@pytest.mark.parametrize('name', OPERATIONS)
def test_fuzz_schema(fuzzed, name, mode):
    "Requests made from the published schema, and requests that break it: the answers are those that the schema promises"
    schemathesis = pytest.importorskip('schemathesis'); from hypothesis import given
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance
    schema = schemathesis.openapi.from_asgi('/openapi.json', fuzzed); operations = {o.ok().label:o.ok() for o in schema.get_all_operations()}; assert sorted(operations) == OPERATIONS; count = []
    if mode == 'negative' and name == 'GET /health': pytest.skip('there is nothing in it to break')
    weight = {'GET /health':.005, 'GET /items/{item}':.01, 'GET /items/{item}/similar':.015, 'POST /items':.02, 'POST /recommend':.035, 'POST /recommend/batch':.02}[name]
    @settings(max(5, int(CASES*weight)))
    @given(case=operations[name].as_strategy(schemathesis.GenerationMode(mode)))
    def run(case):
        start = time.monotonic(); r = case.call(); count.append(r.status_code); sound(r.status_code, r.content, time.monotonic()-start)
        case.validate_response(r, checks=[status_code_conformance, content_type_conformance, response_schema_conformance])
    run(); print(f'{name} {mode}: {len(count)} requests, {dict(pd.Series(count).value_counts())}')
    if mode == 'positive' and name in ('GET /health', 'POST /recommend'): assert 200 in count

async def in_process(app, path, body, kind):
    "Status and body of one POST, without a socket"
    scope = dict(type='http', asgi=dict(version='3.0'), http_version='1.1', method='POST', path=path, raw_path=path.encode(), root_path='', scheme='http', query_string=b'', headers=[(b'host', b'x'), (b'content-type', kind.encode())], client=('x', 1), server=('x', 80))
    parts,out = [dict(type='http.request', body=body, more_body=False)],[]
    async def receive(): return parts.pop() if parts else await asyncio.sleep(60)
    async def send(m): out.append(m)
    await app(scope, receive, send)
    return out[0]['status'],b''.join(m.get('body', b'') for m in out[1:])

def test_fuzz_bodies(fuzzed):
    "Bodies that nearly mean something: bytes, JSON of any shape, good requests with a part exchanged, bytes struck out or doubled"
    pytest.importorskip('schemathesis'); from hypothesis import given, strategies as st
    ids = st.sampled_from([*'0123abc', 'ü', 'a/b', 'gone', '', ' ', '\0', '\ud83d', 'a'*41]); odd = st.none()|st.booleans()|st.integers()|st.floats()|st.text(max_size=9)|ids
    thing = st.recursive(odd, lambda s: st.lists(s, max_size=4)|st.dictionaries(st.text(max_size=6)|st.sampled_from(['history', 'k', 'brand', 'item_id']), s, max_size=4), max_leaves=8)
    request = st.fixed_dictionaries({}, optional=dict(history=st.lists(ids, max_size=6)|thing, user=ids|thing, k=st.integers(-1, 51)|thing, exclude=st.lists(ids, max_size=4)|thing, where=st.dictionaries(st.sampled_from(['brand', 'year', 'title', '']), st.lists(st.sampled_from(['A', 'B', 1991, '1991', 'Z']), max_size=3)|thing, max_size=2)|thing,
        exclude_seen=st.booleans()|thing, unknown=st.sampled_from(['skip', 'error', 'x'])|thing, more=thing))
    known = st.sampled_from([*'0123abc', 'ü', 'a/b', 10]); value = {'brand':st.sampled_from('ABC')|st.lists(st.sampled_from('AB'), min_size=1, max_size=2), 'year':st.integers(1990, 1993)}
    good = st.fixed_dictionaries(dict(history=st.lists(known, max_size=6)), optional=dict(k=st.integers(1, 50), exclude=st.lists(known, max_size=4), where=st.fixed_dictionaries({}, optional=value), exclude_seen=st.booleans(), unknown=st.sampled_from(['skip', 'error'])))|st.fixed_dictionaries(dict(user=st.sampled_from('0123')))
    item = st.fixed_dictionaries({}, optional=dict(item_id=st.text(max_size=5)|thing, title=st.text(max_size=9)|thing, brand=thing))
    whole = good|good|good|st.fixed_dictionaries(dict(requests=st.lists(good, min_size=1, max_size=3)))|request|thing|st.fixed_dictionaries(dict(requests=st.lists(request, max_size=9)))|st.fixed_dictionaries(dict(items=st.lists(item, max_size=6)))
    @st.composite
    def body(draw):
        b = draw(st.binary(max_size=200)) if draw(st.integers(0, 9)) == 0 else json.dumps(draw(whole), ensure_ascii=draw(st.booleans())).encode('utf-8', 'surrogatepass')
        for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
            at = draw(st.integers(0, len(b))); b = draw(st.sampled_from([b[:at], b[:at]+b[at+1:], b[:at]+b[at:at+9]+b[at:], b[:at]+b'\xff'+b[at:]]))
        return b
    path = st.sampled_from(['/recommend', '/recommend', '/recommend/batch', '/items']); kind = st.sampled_from(['application/json']*8+['text/plain', ''])
    count = []
    with asyncio.Runner() as loop:
        @settings(int(CASES*.8))
        @given(path, body(), kind)
        def run(path, body, kind): start = time.monotonic(); status,told = loop.run(in_process(fuzzed, path, body, kind)); count.append(status); sound(status, told, time.monotonic()-start)
        run()
    print(f'bodies: {len(count)} requests, {dict(pd.Series(count).value_counts())}'); assert 200 in count and 422 in count and 400 in count
