"""A hub small enough to read: the endpoints that the installed huggingface_hub client needs to make a repository, commit to it and fetch it, over real HTTP.

Small files travel inside the commit, `*.safetensors` by the LFS protocol (batch, PUT, verify) and are answered by a redirect to another address, as on the real one. Commits are
kept whole, by hash; branches name commits. What was asked is in `asked`.
"""
import base64, hashlib, json, re, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

class Hub:
    def __init__(self, tokens=('hf_owner',)): self.tokens, self.repos, self.objects, self.asked = tokens, {}, {}, []   # repo -> dict(private, branches, commits)

    def __enter__(self):
        hub = self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *args): pass
            def handle_one(self): hub.answer(self)
            do_GET = do_HEAD = do_POST = do_PUT = handle_one
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler); self.server.daemon_threads = True
        self.url, self.store = (f'http://{host}:{self.server.server_port}' for host in ('127.0.0.1', 'localhost')) # large files lie at another address, which makes the client tell them apart
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self
    def __exit__(self, *args): self.server.shutdown(); self.server.server_close()

    def answer(self, h):
        path = unquote(urlsplit(h.path).path); body = h.rfile.read(int(h.headers.get('Content-Length') or 0)); self.asked.append(f'{h.command} {path}')
        self.token = (h.headers.get('Authorization') or '').removeprefix('Bearer ')
        for pattern, f in ROUTES:
            if m := re.fullmatch(pattern, f'{h.command} {path}'): code, out, headers = f(self, body, **m.groupdict()); break
        else: code, out, headers = 404, b'{}', {}
        out = out if isinstance(out, bytes) else json.dumps(out).encode()
        h.send_response(code)
        for k, v in {'Content-Length': len(out), 'Content-Type': 'application/json', **headers}.items(): h.send_header(k, str(v))
        h.end_headers()
        if h.command != 'HEAD': h.wfile.write(out)

    def find(self, repo, rev=None):
        "The commit a revision names, or the answer that there is none"
        r = self.repos.get(repo)
        if r is None or (r['private'] and self.token not in self.tokens): return None, (401, {'error': 'no'}, {'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found'})
        sha = r['branches'].get(rev or 'main', rev)
        if sha not in r['commits']: return None, (404, {'error': 'no'}, {'X-Error-Code': 'RevisionNotFound'})
        return sha, r['commits'][sha]

    def commit(self, repo, branch, files):
        "Put files, path -> (content, whether by LFS), into a branch as a new commit"
        sha = hashlib.sha1(repr([repo, branch, len(self.repos[repo]['commits']), sorted((p, hashlib.sha1(c).hexdigest()) for p, (c, _) in files.items())]).encode()).hexdigest()
        self.repos[repo]['commits'][sha] = files; self.repos[repo]['branches'][branch] = sha
        return sha

def create(hub, body):
    ask = json.loads(body); repo = '/'.join(o for o in (ask.get('organization'), ask['name']) if o)
    if hub.token not in hub.tokens: return 401, {'error': 'Invalid username or password.'}, {}
    if repo in hub.repos: return 409, {'error': 'You already created this model repo', 'url': f'{hub.url}/{repo}'}, {}
    hub.repos[repo] = dict(private=bool(ask.get('private')) or ask.get('visibility') == 'private', branches={}, commits={}); hub.commit(repo, 'main', {'.gitattributes': (b'*.safetensors filter=lfs\n', False)})
    return 200, {'url': f'{hub.url}/{repo}', 'name': repo, 'id': repo}, {}

def branch(hub, body, repo, name): hub.repos[repo]['branches'].setdefault(name, hub.repos[repo]['branches']['main']); return 200, {}, {}

def preupload(hub, body, repo, rev):
    if hub.token not in hub.tokens: return 403, {'error': 'no right to write'}, {}
    return 200, {'files': [dict(path=f['path'], uploadMode='lfs' if f['path'].endswith('.safetensors') else 'regular', shouldIgnore=False) for f in json.loads(body)['files']]}, {}

def batch(hub, body, repo):
    act = lambda oid: {} if oid in hub.objects else {'actions': {'upload': {'href': f'{hub.url}/lfs/{oid}'}, 'verify': {'href': f'{hub.url}/lfs-verify'}}}
    return 200, {'transfer': 'basic', 'objects': [dict(oid=o['oid'], size=o['size'], **act(o['oid'])) for o in json.loads(body)['objects']]}, {}

def put(hub, body, oid):
    if hashlib.sha256(body).hexdigest() != oid: return 400, {'error': 'content and name differ'}, {}
    hub.objects[oid] = body; return 200, {}, {}

def verify(hub, body): ask = json.loads(body); return (200 if len(hub.objects.get(ask['oid'], b'')) == ask['size'] else 404), {}, {}

def commit(hub, body, repo, rev):
    files = dict(hub.find(repo, rev)[1])
    for line in map(json.loads, body.splitlines()):
        v = line['value']
        if line['key'] == 'file': files[v['path']] = (base64.b64decode(v['content']), False)
        if line['key'] == 'lfsFile': files[v['path']] = (hub.objects[v['oid']], True)
        if line['key'] == 'deletedFile': del files[v['path']]
    sha = hub.commit(repo, rev, files)
    return 200, {'success': True, 'commitOid': sha, 'commitUrl': f'{hub.url}/{repo}/commit/{sha}', 'hookOutput': ''}, {}

def info(hub, body, repo, rev=None):
    sha, files = hub.find(repo, rev)
    if sha is None: return files
    return 200, dict(id=repo, modelId=repo, sha=sha, private=hub.repos[repo]['private'], tags=[], downloads=0, likes=0, siblings=[{'rfilename': p} for p in files]), {}

def oid_of(content, lfs): return hashlib.sha256(content).hexdigest() if lfs else hashlib.sha1(b'blob %d\0' % len(content)+content).hexdigest()
def tree(hub, body, repo, rev):
    sha, files = hub.find(repo, rev)
    if sha is None: return files
    return 200, [dict(type='file', path=p, size=len(c), oid=oid_of(c, False), **({'lfs': dict(oid=oid_of(c, True), size=len(c), pointerSize=134)} if l else {})) for p, (c, l) in files.items()], {}

def resolve(hub, body, repo, rev, path):
    sha, files = hub.find(repo, rev)
    if sha is None: return files
    if path not in files: return 404, {}, {'X-Error-Code': 'EntryNotFound', 'X-Repo-Commit': sha}
    content, lfs = files[path]; etag = f'"{oid_of(content, lfs)}"'
    if lfs: return 302, b'', {'X-Repo-Commit': sha, 'X-Linked-Etag': etag, 'X-Linked-Size': len(content), 'ETag': etag, 'Location': f'{hub.store}/lfs/{oid_of(content, True)}'}
    return 200, content, {'X-Repo-Commit': sha, 'ETag': etag, 'Content-Type': 'text/plain'}

NAME = r'(?P<repo>[\w.-]+/[\w.-]+)'
ROUTES = [(r'POST /api/repos/create', create), (r'POST /api/validate-yaml', lambda hub, body: (200, {'errors': [], 'warnings': []}, {})), (rf'POST /api/models/{NAME}/branch/(?P<name>.+)', branch),
    (rf'POST /api/models/{NAME}/preupload/(?P<rev>[^/]+)', preupload), (rf'POST /{NAME}\.git/info/lfs/objects/batch', batch), (r'PUT /lfs/(?P<oid>\w+)', put), (r'POST /lfs-verify', verify),
    (rf'POST /api/models/{NAME}/commit/(?P<rev>[^/]+)', commit), (rf'GET /api/models/{NAME}/revision/(?P<rev>[^/]+)', info), (rf'GET /api/models/{NAME}', info), (rf'GET /api/models/{NAME}/tree/(?P<rev>[^/]+)/?', tree),
    (rf'(?:GET|HEAD) /{NAME}/resolve/(?P<rev>[^/]+)/(?P<path>.+)', resolve), (r'(?:GET|HEAD) /lfs/(?P<oid>\w+)', lambda hub, body, oid: (200, hub.objects[oid], {'ETag': f'"{oid}"', 'Content-Type': 'application/octet-stream'}))]
