"Two processes that tune or embed together do what one does, and a run that was killed goes on"
import json, os, signal, socket, subprocess, sys, time
import pytest

WORK = '''
import json, os, sys
import numpy as np, torch; torch.set_num_threads(1)
from accelerate import PartialState
from llmcfsr.adapters import add_lora
from llmcfsr.contrastive import TuneConfig, fit_contrastive
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.textencoder import tiny_encoder, weights
team = PartialState(cpu=True) if 'WORLD_SIZE' in os.environ else None
catalog = planted_world(seed=0).catalog; encoder = add_lora(tiny_encoder(item_texts(catalog)), rank=4, dropout=.1, seed=0)
records = fit_contrastive(encoder, catalog, config=TuneConfig(steps=4, batch=24, lr=1e-2, hold=200), team=team)
print('RESULT'+json.dumps(dict(losses=[r['loss'] for r in records], weights={k:v.ravel()[:50].tolist() for k,v in weights(encoder, adapter=True).items()}, processes=team.num_processes if team else 1)))
if team: team.destroy_process_group()
'''

def free_port():
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); return s.getsockname()[1]

def start(tmp_path, **env):
    (tmp_path/'work.py').write_text(WORK)
    return subprocess.Popen([sys.executable, str(tmp_path/'work.py')], env={**os.environ, 'OMP_NUM_THREADS':'1', 'LLMCFSR_PROGRESS':'0', **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def result(p):
    out,err = p.communicate(timeout=300); assert p.returncode==0, err[-2000:]
    return json.loads(next(l for l in out.splitlines() if l.startswith('RESULT'))[6:])

def test_two_processes_are_one_run(tmp_path):
    "Same losses and weights, negatives of both processes among the rivals"
    port = str(free_port()); alone = result(start(tmp_path))
    both = [result(p) for p in [start(tmp_path, WORLD_SIZE='2', RANK=str(r), LOCAL_RANK=str(r), MASTER_ADDR='127.0.0.1', MASTER_PORT=port) for r in range(2)]]
    assert [b['processes'] for b in both]==[2, 2] and alone['processes']==1
    assert both[0]==both[1]                                        # both hold the same weights, to the bit
    assert both[0]['losses']==pytest.approx(alone['losses'], rel=1e-5)
    for k,v in alone['weights'].items(): assert both[0]['weights'][k]==pytest.approx(v, rel=1e-3, abs=1e-5)

KILLED = '''
import json, sys
import torch; torch.set_num_threads(1)
from llmcfsr.adapters import add_lora
from llmcfsr.contrastive import TuneConfig, fit_contrastive
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.textencoder import adapter_print, tiny_encoder
catalog = planted_world(seed=0).catalog; encoder = add_lora(tiny_encoder(item_texts(catalog)), rank=4, dropout=.1, seed=0)
records = fit_contrastive(encoder, catalog, config=TuneConfig(steps=25, batch=24, lr=1e-2), checkpoint=sys.argv[1] if len(sys.argv)>1 else None, every=1)
print('RESULT'+json.dumps([records, adapter_print(encoder)]))
'''

def test_killed_and_resumed(tmp_path):
    "A run that was killed while it went on ends as the unbroken one, to the bit"
    (tmp_path/'work.py').write_text(KILLED); path = tmp_path/'run.tuning'; env = {**os.environ, 'OMP_NUM_THREADS':'1', 'LLMCFSR_PROGRESS':'0'}
    begin = lambda *more: subprocess.Popen([sys.executable, str(tmp_path/'work.py'), *map(str, more)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    want,p = result(begin()),begin(path)
    while not path.exists() and p.poll() is None: time.sleep(.005)
    p.kill(); out,_ = p.communicate(); assert p.returncode==-signal.SIGKILL and 'RESULT' not in out, 'the run ended before it could be killed'
    kept = path.read_bytes(); assert result(begin(path))==want and path.read_bytes()!=kept

EXPORT = '''
import json, os, sys
import torch; torch.set_num_threads(1)
from accelerate import PartialState
from llmcfsr.itemtable import export_table
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.textencoder import tiny_encoder
team = PartialState(cpu=True) if 'WORLD_SIZE' in os.environ else None
texts = item_texts(planted_world(seed=0).catalog); table = export_table(tiny_encoder(texts), texts, sys.argv[1], page=32, team=team)
print('RESULT'+json.dumps([list(table.E.shape), float(table.E.sum())]))
if team: team.destroy_process_group()
'''

def test_two_processes_write_one_table(tmp_path):
    "Pages shared out over two processes are the table of one; nothing else is left behind"
    import numpy as np
    (tmp_path/'work.py').write_text(EXPORT); port = str(free_port()); env = {**os.environ, 'OMP_NUM_THREADS':'1', 'LLMCFSR_PROGRESS':'0'}
    begin = lambda f,**more: subprocess.Popen([sys.executable, str(tmp_path/'work.py'), str(tmp_path/f)], env={**env, **more}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    alone = result(begin('one.npy')); both = [result(p) for p in [begin('two.npy', WORLD_SIZE='2', RANK=str(r), LOCAL_RANK=str(r), MASTER_ADDR='127.0.0.1', MASTER_PORT=port) for r in range(2)]]
    one,two = (np.load(tmp_path/f) for f in ('one.npy', 'two.npy')); assert one.shape==tuple(alone[0]) and np.abs(one[1:]).sum(1).min() > 0 and np.array_equal(one, two) and both[0]==both[1]
    assert sorted(p.name for p in tmp_path.iterdir())==['one.npy', 'one.npy.json', 'two.npy', 'two.npy.json', 'work.py']
