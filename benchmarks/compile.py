"What compiling brings: the encoder of SASRec as recorded calls, through torch.compile, and with its loops compiled: `python benchmarks/compile.py --data FOLDER`"
import argparse, json, os, statistics, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import SIZES, pin

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', default='planted'); p.add_argument('--rounds', type=int, default=5); p.add_argument('--steps', type=int, default=30); p.add_argument('--out', help='file to which lines are added'); a = p.parse_args(); pin(1)
    import torch; torch.set_num_threads(1)
    from llmcfsr.backbones import SASRec
    from llmcfsr.batches import SeqLoader
    from llmcfsr.core import InputError
    from llmcfsr.datasets import load_dataset
    from llmcfsr.model import packed
    from llmcfsr.split import leave_one_out
    try: split = leave_one_out(load_dataset(a.data, missing_text='empty', unseen_items='keep').interactions)
    except InputError as e: sys.exit(f'error: {e}')
    batches = [b for b,_ in zip(SeqLoader(split, batch_size=SIZES['batch_size'], negatives=0).epoch(0), range(a.steps))]
    net = SASRec(SIZES['dim'], SIZES['blocks'], SIZES['heads'], SIZES['max_len'], SIZES['dropout']).train()
    roads = {'recorded calls':(net, 10), 'torch.compile':(torch.compile(net, dynamic=True), 10), 'compiled loops':(net, 0)}; seconds = {k:[] for k in roads}; first = {}
    for k in range(a.rounds+1):
        for name,(f,parts) in roads.items():
            os.environ['LLMCFSR_COMPILED'] = str(int(name=='compiled loops')); begun = time.perf_counter()
            for b in batches: real,history,_,_ = packed(b, parts); x = torch.randn(len(history), SIZES['dim'], requires_grad=True); f(x, real).square().sum().backward()
            (seconds[name].append if k else lambda s: first.__setitem__(name, s))((time.perf_counter()-begun)/len(batches))
    for name,s in seconds.items():
        line = dict(data=Path(a.data).name, road=name, rounds=a.rounds, steps=len(batches), ms_a_step=round(1e3*statistics.median(s), 2), least=round(1e3*min(s), 2), most=round(1e3*max(s), 2), first_pass_seconds=round(first[name]*len(batches), 1)); print(json.dumps(line), flush=True)
        if a.out:
            with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')

if __name__ == '__main__': main()
