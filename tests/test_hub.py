"""A model goes to a hub and comes back, byte by byte, over HTTP: the installed client against a small server of ours. Xet, a second transport of the client, is
switched off, as it must be wherever its store cannot be reached."""
import hashlib, json, os, subprocess, sys
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load, load_file
from hub_server import Hub
from llmcfsr.datasets import load_dataset
from llmcfsr.recommender import Recommender

CLIENT = '''
import json, sys
from llmcfsr.core import InputError
from llmcfsr.export import fetch_folder, push_folder
folder, steps = sys.argv[1], json.loads(sys.argv[2])
def one(what, **kw):
    if what == 'send': return push_folder(folder, **kw)
    if what == 'fetch': return fetch_folder(**kw).name
    from llmcfsr.recommender import Recommender
    if what == 'push': return Recommender.from_pretrained(folder).push_to_hub(**kw)
    rec = Recommender.from_pretrained(**kw); return rec.recommend([rec.items[:3]], k=5)['item'].tolist()
out = []
for step in steps:
    try: out.append(['done', one(**step)])
    except InputError as e: out.append(['mend', str(e)])
print(json.dumps(out))
'''

@pytest.fixture(scope='module')
def hub():
    with Hub() as hub: yield hub

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('models')/'model'
    Recommender(model='sasrec', epochs=1, dim=8, blocks=1, seed=0).fit(load_dataset('planted')).save_pretrained(d)
    return d

def client(folder, *steps, url, home, **env):
    "Steps in a process of its own, whose client knows the hub at `url` and keeps its copies in `home`"
    env = {**{k: v for k, v in os.environ.items() if not k.startswith('HF_')}, 'HF_ENDPOINT': url, 'HF_HOME': str(home), 'HF_HUB_DISABLE_XET': '1', 'HF_HUB_DISABLE_PROGRESS_BARS': '1', 'HF_HUB_DISABLE_TELEMETRY': '1', 'HF_HUB_OFFLINE': '0', 'PYTHONWARNINGS': 'ignore', 'OMP_NUM_THREADS': '1',
           'no_proxy': '*', **env}
    r = subprocess.run([sys.executable, '-c', CLIENT, str(folder), json.dumps(steps)], env=env, capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr[-3000:]
    return json.loads(r.stdout.splitlines()[-1])

def test_there_and_back(hub, folder, tmp_path):
    "Pushed and fetched: the same bytes, the same lists; a new push leaves nothing of the old one; a name that is not there, a token that may not write"
    name, good = 'owner/shop-model', dict(token='hf_owner'); rec = Recommender.from_pretrained(folder); want = rec.recommend([rec.items[:3]], k=5)['item'].tolist(); get = dict(what='get', folder=name)
    out = client(folder, dict(what='push', repo_id=name, private=True, **good), get, {**get, **good}, dict(what='push', repo_id=name, revision='next', message='again', **good), {**get, **good, 'revision': 'next'},
        dict(what='get', folder='owner/nothing'), {**get, **good, 'revision': 'gone'}, dict(what='push', repo_id=name, token='hf_other'), {**get, 'local_files_only': True}, url=hub.url, home=tmp_path/'hf')
    kinds, said = zip(*out); assert kinds == ('done', 'mend', 'done', 'done', 'done', 'mend', 'mend', 'mend', 'done'), out
    assert said[2] == said[4] == said[8] == want and said[0].startswith(f'{hub.url}/{name}/commit/')
    assert "no repository 'owner/shop-model'" in said[1] and "no repository 'owner/nothing'" in said[5] and 'no such revision' in said[6] and 'the hub refuses' in said[7]
    assert not any('\n' in s for k, s in out if k == 'mend') and hub.repos[name]['private']
    sent = {p: c for p, (c, _) in hub.repos[name]['commits'][hub.repos[name]['branches']['main']].items() if p != '.gitattributes'}
    assert {k: v for k, v in sent.items() if k != 'model.safetensors'} == {p.name: p.read_bytes() for p in folder.iterdir() if p.name != 'model.safetensors'}   # byte by byte
    a, b = load(sent['model.safetensors']), load_file(folder/'model.safetensors'); assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)           # notes of safetensors have no order
    kept = tmp_path/'hf'/'hub'/'models--owner--shop-model'; copy = kept/'snapshots'/(kept/'refs'/'main').read_text()   # another snapshot is of the branch, whose notes may stand in another order
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == sent
    assert [a for a in hub.asked if a.startswith('PUT /lfs/')] and any(a.endswith('lfs/objects/batch') for a in hub.asked) and f'GET /lfs/{hashlib.sha256(sent["model.safetensors"]).hexdigest()}' in hub.asked

def test_what_a_repository_may_hold(hub, folder, tmp_path):
    "Not a model of ours, not a whole one, and things beside the model, which are not fetched"
    files = {p.name: (p.read_bytes(), p.suffix == '.safetensors') for p in folder.iterdir()}; hub.objects |= {hashlib.sha256(c).hexdigest(): c for c, l in files.values() if l}
    for name, some in dict(foreign={'config.json': (b'{"model_type": "bert"}', False)}, empty={'README.md': (b'hello', False)}, torn={k: v for k, v in files.items() if k != 'items.json'},
            more={**files, 'pytorch_model.bin': (b'never fetched', False), 'run.py': (b'raise SystemExit', False)}).items():
        hub.repos[f'someone/{name}'] = dict(private=False, branches={}, commits={}); hub.commit(f'someone/{name}', 'main', some)
    foreign, empty, torn, more = client(folder, *(dict(what='fetch', repo_id=f'someone/{n}') for n in ('foreign', 'empty', 'torn', 'more')), url=hub.url, home=tmp_path/'hf')
    assert foreign[0] == empty[0] == torn[0] == 'mend' and more[0] == 'done'
    assert 'holds no model of this package' in foreign[1] and 'no config.json' in empty[1] and 'items.json is missing' in torn[1]
    copy, = (tmp_path/'hf'/'hub').glob('models--someone--more/snapshots/*'); assert sorted(p.name for p in copy.iterdir()) == sorted(files)
    assert not any('pytorch_model.bin' in a or 'run.py' in a for a in hub.asked)

def test_nobody_there(folder, tmp_path):
    "No network, and a client that was told to stay offline"
    get = dict(what='fetch', repo_id='owner/model'); push = dict(what='send', repo_id='owner/model', token='hf_owner')
    for out in (client(folder, get, push, url='http://127.0.0.1:9', home=tmp_path), client(folder, get, push, url='http://127.0.0.1:9', home=tmp_path, HF_HUB_OFFLINE='1')):
        for kind, said in out: assert kind == 'mend' and 'is not reached' in said and '\n' not in said

def test_card(folder):
    "The card is metadata that the hub reads, and text whose figures are those of the folder"
    card = ModelCard.load(folder/'README.md'); config = json.loads((folder/'config.json').read_text()); rec = Recommender.from_pretrained(folder)
    assert card.data.library_name == 'llmcfsr' and 'sasrec' in card.data.tags and card.data.versions['llmcfsr'] == config['version'] and card.data.eval_results is None
    for said in (config['data']['fingerprint'], f"{len(rec.items)} items", f"{rec.popularity.sum()} training interactions", 'Not measured', 'not meant for decisions about people', f"{int((rec.popularity[1:]==0).sum())} of {len(rec.items)} items have no"): assert said in card.text, said

def test_card_of_a_run(tmp_path):
    "A run completes the card of its model with what was measured"
    from llmcfsr.experiment import run
    from llmcfsr.recommender import Options
    metrics = run(load_dataset('planted'), Options(model='pop'), tmp_path/'run'); card = ModelCard.load(tmp_path/'run/model/README.md'); overall = metrics['test']['full']['overall']
    assert {r.metric_name: r.metric_value for r in card.data.eval_results}['NDCG@10 overall'] == overall['NDCG@10']
    assert f"| overall | {overall['n']} | {overall['HR@10']:.4f} |" in card.text and f"{metrics['test']['beyond']['APLT']:.1%} of the recommended" in card.text
