"A run that is killed at any moment goes on as if nothing had happened, and validation alone decides when to stop"
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
TRAIN = '''
import json, sys, time
from functools import partial
from llmcfsr.batches import SeqLoader
from llmcfsr.evaluate import rank_cases
from llmcfsr.longtail import longtail_report
from llmcfsr.losses import objective
from llmcfsr.model import ModelConfig, ModelScorer, build_model
from llmcfsr.planted import planted_world
from llmcfsr.split import cases, head_tail, leave_one_out
from llmcfsr.train import TrainConfig, fit
backbone,loss,folder,epochs,pause = sys.argv[1],sys.argv[2],sys.argv[3],int(sys.argv[4]),float(sys.argv[5])
split = leave_one_out(planted_world(seed=0).interactions); held,groups = cases(split, 'valid'),head_tail(split)
model = build_model(ModelConfig(backbone=backbone, view='co', fuse=(), id_init='random', d=16, blocks=1, max_len=20, dropout=.3), n_items=split.inter.n_items, seed=0)
scorer = ModelScorer(model)
def validate(model):
    scorer.refresh(); time.sleep(pause)
    return longtail_report(rank_cases(scorer, held, groups).full)['overall']
loader = SeqLoader(split, max_len=20, batch_size=64, kind='next' if model.causal else 'cloze', seed=0)
fit(model, loader, partial(objective, loss=loss, shared=64), validate, TrainConfig(epochs=epochs, lr=5e-3, seed=3), checkpoint=folder, resume=True)
'''

def start(backbone, loss, folder, epochs, pause=0):
    env = {**os.environ, 'OMP_NUM_THREADS':'1', 'LLMCFSR_PROGRESS':'0', 'PYTHONPATH':str(ROOT)}
    return subprocess.Popen([sys.executable, '-c', TRAIN, backbone, loss, str(folder), str(epochs), str(pause)], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def finish(process):
    out,err = process.communicate(timeout=600)
    assert process.returncode==0, err[-3000:]

def outcome(folder):
    run = json.loads((folder/'run.json').read_text())
    run.pop('print')                                        # of all of it, times too
    for r in run['records']: r.pop('train_seconds'), r.pop('valid_seconds'), r.pop('peak_rss_mib')
    return run, load_file(folder/run['tensors'])

@pytest.mark.parametrize('backbone,loss', [('sasrec', 'softmax'), ('sasrec', 'sampled'), ('bert4rec', 'softmax')])
def test_killed_run_goes_on(backbone, loss, tmp_path):
    "Five epochs at a stretch equal the same five with the process killed in between, bit for bit"
    whole,torn = tmp_path/'whole',tmp_path/'torn'
    straight = start(backbone, loss, whole, 5)
    process = start(backbone, loss, torn, 5, pause=.4)
    until = time.monotonic()+400
    while not ((torn/'run.json').exists() and len(json.loads((torn/'run.json').read_text())['records'])>=2):
        assert process.poll() is None and time.monotonic()<until, 'the run ended before it could be killed'
        time.sleep(.02)
    process.send_signal(signal.SIGKILL); process.communicate()
    assert len(outcome(torn)[0]['records']) < 5
    finish(straight); finish(start(backbone, loss, torn, 5))
    (a,x),(b,y) = outcome(whole),outcome(torn)
    assert a==b and sorted(x)==sorted(y)
    assert all(torch.equal(x[k], y[k]) for k in x) and any(k.startswith('adam/') for k in x)
    assert sorted(p.name for p in torn.iterdir())==['epoch-5.safetensors', 'run.json']
