"How time and memory grow with users, items and length, each point in a fresh process: `python benchmarks/scaling.py --data FOLDER --out scaling.jsonl`"
import argparse, json, os, subprocess, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import SIZES, peak_mib, pin

POINTS = [dict(users=k) for k in (1, 2, 4, 8)]+[dict(items=n) for n in (5_000, 50_000, 200_000)]+[dict(max_len=n) for n in (50, 100, 200)]

def grown(
    inter,          # `Interactions`
    users:int=1,    # times the users
    items:int=None, # items in the catalogue, at least those there are
):                  # `Interactions`
    "The same histories several times over, or in a larger catalogue"
    import dataclasses, numpy as np
    start = np.concatenate([[0], np.tile(inter.lengths, users).cumsum()]).astype(inter.start.dtype)
    names = inter.items if items is None else np.array([''] + [f'i{k}' for k in range(max(items, inter.n_items))], dtype=object)
    return dataclasses.replace(inter, item=np.tile(inter.item, users), time=np.tile(inter.time, users), start=start, users=np.array([f'{u}.{k}' for k in range(users) for u in inter.users], dtype=object), items=names)

def point(
    data:str,        # folder or name
    users:int=1,     # times the users
    items:int=None,  # items in the catalogue
    max_len:int=200, # newest items that are read
)->dict:             # seconds of the quickest of four epochs, MiB at the peak
    "One measurement"
    from llmcfsr.batches import SeqLoader
    from llmcfsr.datasets import load_dataset
    from llmcfsr.recommender import make_model, make_objective, make_options
    from llmcfsr.split import leave_one_out
    from llmcfsr.train import TrainConfig, adam, epochs
    split = leave_one_out(grown(load_dataset(data, missing_text='empty', unseen_items='keep').interactions, users, items)); o = make_options(model='sasrec', loss='bce', **{**SIZES, 'max_len':max_len})
    net = make_model(o, split.inter.n_items); loader = SeqLoader(split, max_len=max_len, batch_size=o.batch_size)
    seconds = min(r['train_seconds'] for r in [*epochs(net, loader, make_objective(o, split), adam(net, TrainConfig()), TrainConfig(epochs=5))][1:])
    return dict(users=split.inter.n_users, items=split.inter.n_items, max_len=max_len, seconds=seconds, peak_mib=peak_mib())

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', default='planted'); p.add_argument('--out'); p.add_argument('--rounds', type=int, default=3, help='how often each point is measured, all in turn'); p.add_argument('--point', help='one point only, as JSON'); a = p.parse_args()
    if a.point:
        pin(1); import torch; torch.set_num_threads(1); print(json.dumps(point(a.data, **json.loads(a.point)))); return
    for k,what in ((k, what) for k in range(a.rounds) for what in POINTS):
        done = subprocess.run([sys.executable, __file__, '--data', a.data, '--point', json.dumps(what)], capture_output=True, text=True, env=dict(os.environ, LLMCFSR_PROGRESS='0', OMP_NUM_THREADS='1'))
        if done.returncode: sys.exit((done.stderr.strip().splitlines() or ['a point failed'])[-1])
        line = dict(data=Path(a.data).name, varied=next(iter(what)), round=k, **json.loads(done.stdout.strip().splitlines()[-1])); print(json.dumps(line), flush=True)
        if a.out:
            with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')

if __name__ == '__main__': main()
