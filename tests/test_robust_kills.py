"""`llmcfsr fit`, killed at any moment and resumed, leaves what the unbroken run leaves. A few kills by default; LLMCFSR_KILLS=100 makes a hundred:

    LLMCFSR_KILLS=100 pytest tests/test_robust_kills.py
"""
import json, os, random, time
import pytest
from llmcfsr.core import load_tensors
from llmcfsr.datasets import Dataset, save_dataset
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.textencoder import tiny_encoder

KILLS = int(os.environ.get('LLMCFSR_KILLS', 4))
FIT = '--encoder ENCODER --finetune --tune-steps 11 --dim 8 --blocks 1 --batch-size 16 --epochs 3 --patience 2 --max-len 12 --seed 3'.split()

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    d = tmp_path_factory.mktemp('kills'); w = planted_world(seed=3, topics=3, users=60, head=3, tail=9); save_dataset(Dataset('shop', w.interactions, w.catalog), d/'shop')
    e = tiny_encoder(item_texts(w.catalog), width=16, layers=1); e.model.save_pretrained(d/'encoder'); e.tokenizer.save_pretrained(d/'encoder'); return d

def start(forks, d, name): return forks.main('fit', d/'shop', '--unseen-items', 'keep', '--out', d/name, '--resume', *[str(d/'encoder') if f == 'ENCODER' else f for f in FIT], LLMCFSR_CACHE=str(d/f'cache-{name}'))

def left(run):
    "All that a run leaves, without times and memory"
    bare = lambda r: {k:v for k,v in r.items() if k not in ('train_seconds', 'valid_seconds', 'peak_rss_mib')}
    tensors,note = load_tensors(run/'model/model.safetensors'); files = {p.relative_to(run).as_posix() for p in run.rglob('*') if p.is_file()}
    text = {f:(run/f).read_bytes() for f in ('ranks.parquet', 'ranks_sampled.parquet', 'model/config.json', 'model/items.json', 'model/labels.json', 'config.json')}
    metrics = json.loads((run/'metrics.json').read_text()); metrics.pop('seconds')
    return dict(files=files, text=text, metrics=metrics, note=note, tensors={k:v.tobytes() for k,v in tensors.items()}, history=[bare(json.loads(l)) for l in (run/'history.jsonl').read_text().splitlines()])

def test_killed_at_any_moment(shop, forks, capsys):
    begun = time.monotonic(); whole = start(forks, shop, 'whole'); assert whole.wait() == 0, whole.said()[-3000:]; length = time.monotonic()-begun
    want,lot,kills,runs,stages = left(shop/'whole'),random.Random(11),0,0,{}; assert want['history'] and not [f for f in want['files'] if 'checkpoint' in f]
    while kills < KILLS:
        name = f'torn-{runs}'; runs += 1; run = shop/name; here = 0
        while kills < KILLS and here < 6:
            p = start(forks, shop, name); until = time.monotonic()+lot.random()*length*1.02
            while time.monotonic() < until and p.running(): time.sleep(.0005)
            if not p.running(): assert p.wait() == 0, p.said()[-3000:]; break
            p.kill(); p.wait(); kills += 1; here += 1; stage = 'stored' if (run/'metrics.json').exists() else 'evaluated' if (run/'model').exists() else 'trained' if (run/'history.jsonl').exists() else 'embedded'; stages[stage] = stages.get(stage, 0)+1
        p = start(forks, shop, name); assert p.wait() == 0, p.said()[-3000:]
        got = left(run); assert got.keys() == want.keys()
        for k in want: assert got[k] == want[k], f'{name}: {k} differ after {here} kills'
    with capsys.disabled(): KILLS > 4 and print(f'\n{kills} kills in {runs} runs of {length:.1f} s, found {stages}')
