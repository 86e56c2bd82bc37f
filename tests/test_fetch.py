"Fetching over real connections: a server of this machine that cuts, lies, moves, changes and refuses"
import hashlib, os, re, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import numpy as np, pytest
from llmcfsr.core import InputError
from llmcfsr.fetch import differs, fetch, file_sha256

CONTENT = np.random.default_rng(0).bytes(300_000); KNOWN = hashlib.sha256(CONTENT).hexdigest()

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def empty(self, code, **headers):
        self.send_response(code)
        for k,v in {'Content-Length':'0', **headers}.items(): self.send_header(k.replace('_', '-'), v)
        self.end_headers()
    def do_GET(self):
        s = self.server; asked = self.headers.get('Range'); s.log.append(dict(path=self.path, range=asked, if_range=self.headers.get('If-Range')))
        if (move := s.moves.get(self.path)): return self.empty(302, Location=move)
        if self.path != '/f': return self.empty(404)
        if s.busy: s.busy -= 1; return self.empty(503, Retry_After='0')
        data,first = s.content,0
        if asked and s.ranges and self.headers.get('If-Range', s.tag) == s.tag: first = int(asked[6:-1])
        if first and first >= len(data): return self.empty(416, Content_Range=f'bytes */{len(data)}')
        self.send_response(206 if first else 200); body = data[first:]
        if s.tag: self.send_header('ETag', s.tag)
        if s.length == 'chunked': self.send_header('Transfer-Encoding', 'chunked')
        elif s.length: self.send_header('Content-Length', str(len(body)+(s.length if isinstance(s.length, int) and s.length is not True else 0)))
        else: self.send_header('Connection', 'close'); self.close_connection = True
        if s.kind: self.send_header('Content-Type', s.kind)
        if first: self.send_header('Content-Range', f'bytes {first+s.shift}-{len(data)-1}/{len(data)}')
        self.end_headers()
        n = s.cuts.pop(0) if s.cuts else None
        send = body if n is None else body[:n]
        if s.length == 'chunked': self.wfile.write(b''.join(f'{len(send):x}\r\n'.encode()+send+b'\r\n' for _ in [0] if send)+(b'0\r\n\r\n' if n is None else b''))
        else:
            for i in range(0, len(send), 50_000): self.wfile.write(send[i:i+50_000]); self.wfile.flush(); time.sleep(s.slow)
        if n is not None or s.length not in (True, 'chunked'): self.wfile.flush(); self.close_connection = True; self.connection.shutdown(2)

@pytest.fixture
def server():
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler); s.daemon_threads = True; s.handle_error = lambda *a: None
    s.content,s.ranges,s.tag,s.length,s.kind,s.cuts,s.busy,s.shift,s.slow,s.moves,s.log = CONTENT,True,'"one"',True,None,[],0,0,0,{},[]
    threading.Thread(target=s.serve_forever, args=(.02,), daemon=True).start()
    s.url = f'http://127.0.0.1:{s.server_port}/f'
    yield s
    s.shutdown(); s.server_close()

def there(folder): return sorted(p.name for p in folder.iterdir())
def ranges(s): return [r['range'] for r in s.log]

@pytest.mark.parametrize('length', [True, False, 'chunked'])
def test_whole(server, tmp_path, length):
    server.length = length; assert fetch(server.url, tmp_path/'a'/'f', KNOWN, len(CONTENT)) == tmp_path/'a'/'f'
    assert (tmp_path/'a'/'f').read_bytes() == CONTENT and there(tmp_path/'a') == ['f'] and len(server.log) == 1

@pytest.mark.parametrize('known', [None, KNOWN])
@pytest.mark.parametrize('with_ranges', [True, False])
@pytest.mark.parametrize('length', [True, 'chunked'])
def test_cut(server, tmp_path, with_ranges, known, length):
    server.ranges,server.length,server.cuts = with_ranges,length,[100_000, 60_000]
    fetch(server.url, tmp_path/'f', known); assert (tmp_path/'f').read_bytes() == CONTENT and there(tmp_path) == ['f']
    assert ranges(server) == [None, 'bytes=100000-', 'bytes=160000-' if with_ranges else 'bytes=60000-'] and server.log[1]['if_range'] == '"one"'

def test_next_day(server, tmp_path):
    "What a call leaves behind the next one takes up; a file that was changed in between begins anew"
    server.cuts = [100_000, 0]
    with pytest.raises(InputError, match='broke off after 100,000 of 300,000 bytes'): fetch(server.url, tmp_path/'f', tries=1)
    assert there(tmp_path) == ['f.part', 'f.part.json']
    server.content,server.tag,server.cuts,server.log[:] = CONTENT[::-1],'"two"',[],[]
    fetch(server.url, tmp_path/'f'); assert (tmp_path/'f').read_bytes() == CONTENT[::-1] and server.log[0]['if_range'] == '"one"' and there(tmp_path) == ['f']

def test_unnamed_version_begins_anew(server, tmp_path):
    "Without a hash and without a name of the version nothing says that two halves belong together"
    server.tag,server.cuts = '',[100_000]; fetch(server.url, tmp_path/'f'); assert ranges(server) == [None, None] and (tmp_path/'f').read_bytes() == CONTENT

def test_stale_part(server, tmp_path):
    "A part of something else is found out by the hash and replaced"
    (tmp_path/'f.part').write_bytes(b'x'*1000); fetch(server.url, tmp_path/'f', KNOWN)
    assert (tmp_path/'f').read_bytes() == CONTENT and ranges(server) == ['bytes=1000-', None] and there(tmp_path) == ['f']

def test_part_is_whole(server, tmp_path):
    (tmp_path/'f.part').write_bytes(CONTENT); fetch(server.url, tmp_path/'f', KNOWN); assert (tmp_path/'f').read_bytes() == CONTENT and ranges(server) == ['bytes=300000-']

def test_part_is_longer(server, tmp_path):
    (tmp_path/'f.part').write_bytes(CONTENT+b'x'); fetch(server.url, tmp_path/'f', KNOWN); assert (tmp_path/'f').read_bytes() == CONTENT and ranges(server) == ['bytes=300001-', None]

def test_wrong_range(server, tmp_path):
    server.shift,server.cuts = 1,[1000]
    with pytest.raises(InputError, match="asked for bytes 1000 on"): fetch(server.url, tmp_path/'f')
    assert not (tmp_path/'f').exists()

def test_a_length_that_lies(server, tmp_path):
    "More announced than sent, at every try"
    server.length = 5
    with pytest.raises(InputError, match='300,000 of 300,005 bytes'): fetch(server.url, tmp_path/'f', tries=1)
    assert not (tmp_path/'f').exists()

def test_wrong_hash_leaves_nothing(server, tmp_path):
    with pytest.raises(InputError, match=f'sha256 {KNOWN}, not {"0"*64}, it was altered') as e: fetch(server.url, tmp_path/'f', '0'*64)
    assert there(tmp_path) == [] and '\n' not in str(e.value) and str(tmp_path/'f') in str(e.value) and server.url in str(e.value)

def test_wrong_size_is_known_at_once(server, tmp_path):
    with pytest.raises(InputError, match='300,000 bytes, not 300,001'): fetch(server.url, tmp_path/'f', size=300_001)
    assert there(tmp_path) == []

def test_mirrors(server, tmp_path):
    "A mirror that is gone, one that cannot be reached, a page instead of the file: each in turn, each in the error"
    server.moves = {'/moved':'/f', '/round':'/round'}; base = server.url[:-2]
    fetch([base+'/gone', 'http://127.0.0.1:1/f', base+'/round', base+'/moved'], tmp_path/'f', KNOWN, tries=1); assert (tmp_path/'f').read_bytes() == CONTENT
    server.kind = 'text/html; charset=utf-8'
    with pytest.raises(InputError) as e: fetch([base+'/gone', 'http://127.0.0.1:1/f', server.url], tmp_path/'g', steps='sign in at example.org and download g')
    for said in ('g could not be fetched', '404', 'refused', 'a login or a notice', ': sign in at example.org and download g, and put it at', str(tmp_path/'g')): assert said in str(e.value), said
    assert '\n' not in str(e.value) and there(tmp_path) == ['f']

def test_another_mirror_gives_the_rest(server, tmp_path):
    server.cuts,server.moves = [100_000],{'/mirror':'/f'}
    fetch([server.url, server.url.replace('/f', '/mirror')], tmp_path/'f', KNOWN, tries=1); assert ranges(server) == [None, 'bytes=100000-', 'bytes=100000-'] and (tmp_path/'f').read_bytes() == CONTENT

def test_busy(server, tmp_path):
    server.busy = 2; fetch(server.url, tmp_path/'f'); assert len(server.log) == 3
    server.busy = 9
    with pytest.raises(InputError, match='503'): fetch(server.url, tmp_path/'g', tries=2)

def test_timeout(server, tmp_path):
    server.slow = 2; start = time.time()
    with pytest.raises(InputError, match='timed out'): fetch(server.url, tmp_path/'f', timeout=.3, tries=1)
    assert time.time()-start < 2 and not (tmp_path/'f').exists()

def test_kept_and_local(server, tmp_path):
    (tmp_path/'mine').write_bytes(CONTENT); assert fetch(tmp_path/'mine', tmp_path/'f', KNOWN).read_bytes() == CONTENT and (tmp_path/'mine').exists()
    fetch(server.url, tmp_path/'f', KNOWN); assert server.log == []                                     # there already
    (tmp_path/'f').write_bytes(b'other')
    with pytest.raises(InputError, match='5 bytes, not 300,000.*remove it'): fetch(server.url, tmp_path/'f', size=300_000)
    assert (tmp_path/'f').read_bytes() == b'other'

def test_by_hand(tmp_path):
    with pytest.raises(InputError, match=f'yelp.tar is not offered for download to programs: accept the terms, and put it at {re.escape(str(tmp_path))}/yelp.tar$'): fetch([], tmp_path/'yelp.tar', steps='accept\nthe terms')
    with pytest.raises(InputError, match='ask its publisher'): fetch((), tmp_path/'yelp.tar')
    assert there(tmp_path) == []

def test_no_room(server, tmp_path):
    "A limit on the size of files stands for a full disk"
    code = 'import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); from llmcfsr.fetch import fetch; fetch(sys.argv[1], sys.argv[2])'
    r = subprocess.run([sys.executable, '-c', code, server.url, str(tmp_path/'f')], capture_output=True, text=True)
    assert r.returncode and 'InputError' in r.stderr and 'cannot be written' in r.stderr and not (tmp_path/'f').exists()

CHILD = 'import sys; from llmcfsr.fetch import fetch; fetch(sys.argv[1], sys.argv[2], sys.argv[3])'
def test_killed_and_taken_up(server, tmp_path):
    server.slow = .3; child = subprocess.Popen([sys.executable, '-c', CHILD, server.url, str(tmp_path/'f'), KNOWN]); part = tmp_path/'f.part'
    for _ in range(600):
        if part.exists() and part.stat().st_size: break
        time.sleep(.02)
    child.send_signal(signal.SIGKILL); child.wait(); had = part.stat().st_size; assert 0 < had < len(CONTENT) and not (tmp_path/'f').exists()
    server.slow = 0; server.log.clear(); fetch(server.url, tmp_path/'f', KNOWN)
    assert (tmp_path/'f').read_bytes() == CONTENT and ranges(server) == [f'bytes={had}-'] and there(tmp_path) == ['f']

def test_two_at_once(server, tmp_path):
    server.slow = .1; two = [subprocess.Popen([sys.executable, '-c', CHILD, server.url, str(tmp_path/'f'), KNOWN]) for _ in range(2)]
    assert [p.wait(60) for p in two] == [0, 0] and len(server.log) == 1 and there(tmp_path) == ['f'] and file_sha256(tmp_path/'f') == KNOWN and differs(tmp_path/'f', KNOWN) == ''
