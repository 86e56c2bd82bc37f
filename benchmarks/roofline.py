"What the machine can do, and how far an epoch and a ranking are from it: `python benchmarks/roofline.py --data FOLDER`"
import argparse, json, statistics, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import SIZES, pin
from ours import table

def best(
    f,        # what is timed
    n:int=7,  # times
)->float:     # seconds
    "The shortest of some runs"
    f(); out = []
    for _ in range(n): begun = time.perf_counter(); f(); out.append(time.perf_counter()-begun)
    return min(out)

def machine()->dict:
    "Rates of the machine: multiply-adds of square and of model-shaped products, copying, exponentials"
    import torch
    def product(m, k, n): a,b,c = torch.randn(m, k),torch.randn(k, n),torch.empty(m, n); return 2e-9*m*k*n/best(lambda: torch.mm(a, b, out=c))
    big,to = torch.randn(2**24),torch.empty(2**24); row = torch.randn(64, 12000); out = torch.empty_like(row)
    return dict(gflops_square=product(1024, 1024, 1024), gflops_tokens=product(4096, 64, 64), gflops_catalogue=product(64, 64, 12000),
        copy_gb=8e-9*len(big)/best(lambda: to.copy_(big)), exp_g=1e-9*row.numel()/best(lambda: torch.exp(row, out=out)))

def counter():
    "Counts the multiply-adds of matrix products, those in place among them"
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_:lambda y, a, b, *_, out_shape=None, **__: 2*a[0]*a[1]*b[1]})

def products(
    N:int, # targets
    V:int, # items
    d:int, # width
)->float:  # seconds
    "The three products of a softmax over the catalogue, nothing between them, in slices of the best of some heights"
    import torch
    u,x,out = torch.randn(384, d),torch.randn(V, d),[]
    for n in (32, 48, 64, 96, 128):
        y,du,dx = torch.randn(n, V)*1e-3,torch.empty(n, d),torch.zeros(V, d)
        def slices():
            for a in range(0, 384, n): torch.mm(u[a:a+n], x.T, out=y); torch.mm(y, x, out=du); dx.addmm_(y.T, u[a:a+n])
        out.append(best(slices)/384)
    return N*min(out)

def pairs(length)->int:
    "How often a position reads another in causal rows of these lengths"
    return int((length*(length+1)//2).sum())

def epoch(
    split,      # `Split`
    model:str,  # sasrec or dual
    loss:str,   # bce or softmax
    max_len:int,# newest items that are read
)->dict:        # seconds, floating point operations, bytes the optimiser moves, targets
    "One epoch by the clock, and its arithmetic as PyTorch counts it"
    import torch
    import numpy as np
    from llmcfsr.batches import SeqLoader
    from llmcfsr.core import compiles
    from llmcfsr.recommender import make_model, make_objective, make_options
    from llmcfsr.train import TrainConfig, adam, epochs, train_step
    V = split.inter.n_items; o = make_options(model='llm-cfsr' if model=='dual' else model, loss=loss, **({'fuse':()} if model=='dual' else {}), **{**SIZES, 'max_len':max_len})
    E = table(V) if model=='dual' else None; net = make_model(o, V, E); f = make_objective(o, split, E); opt = adam(net, TrainConfig())
    loader = SeqLoader(split, max_len=max_len, batch_size=o.batch_size, negatives=int(loss=='bce'))
    seconds = statistics.median([r['train_seconds'] for r in epochs(net, loader, f, opt, TrainConfig(epochs=3))][1:])
    with counter() as count:
        for batch in loader.epoch(0): train_step(net, batch, f, opt)
    n = np.minimum(split.train_length[split.train_length>=2]-1, max_len); views = 2 if model=='dual' else 1; d = SIZES['dim']
    loops = 12*d*views*o.blocks*pairs(n)+(12*d*views*loader.n_targets if loss=='bce' else 0)     # attention of the open pairs, and target and negative: twice forward and four times back, once and twice; written as loops, so not seen by the counter
    touched = 7*4*sum(p.numel() for p in net.parameters() if p.requires_grad)*len(loader)       # Adam reads four numbers a weight and writes three
    return dict(seconds=seconds, gflop=(count.get_total_flops()+(loops if compiles() else 0))/1e9, adam_gb=touched/1e9, targets=loader.n_targets)

def ranking(split)->dict: # seconds, floating point operations
    "A full ranking of all test users by the clock, and its arithmetic"
    from llmcfsr.evaluate import rank_cases
    from llmcfsr.model import ModelScorer
    from llmcfsr.recommender import make_model, make_options
    from llmcfsr.split import cases, head_tail
    import numpy as np
    from llmcfsr.core import compiles
    V,d = split.inter.n_items,SIZES['dim']; scorer = ModelScorer(make_model(make_options(model='sasrec', **SIZES), V)); test,groups = cases(split, 'test'),head_tail(split)
    seconds = best(lambda: rank_cases(scorer, test, groups), 3); n = np.minimum(test.upto-split.inter.start[test.user], SIZES['max_len'])
    with counter() as count: rank_cases(scorer, test, groups)
    loops = 4*d*((SIZES['blocks']-1)*pairs(n)+int(n.sum()))                                     # attention; of the last block the newest positions alone
    return dict(seconds=seconds, gflop=(count.get_total_flops()+(loops if compiles() else 0))/1e9, scores_gflop=2e-9*len(test.user)*V*d)

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', default='planted'); p.add_argument('--max-len', type=int, default=200); p.add_argument('--threads', type=int, default=1); p.add_argument('--out', help='file to which lines are added')
    p.add_argument('--only', default='sasrec-bce,dual-bce,sasrec-softmax,ranking'); a = p.parse_args(); pin(a.threads)
    import torch; torch.set_num_threads(a.threads)
    from llmcfsr.core import InputError
    from llmcfsr.datasets import load_dataset
    from llmcfsr.split import leave_one_out
    try: split = leave_one_out(load_dataset(a.data, missing_text='empty', unseen_items='keep').interactions)
    except InputError as e: sys.exit(f'error: {e}')
    for what in a.only.split(','):
        m = machine(); r = ranking(split) if what=='ranking' else epoch(split, *what.split('-'), a.max_len)
        floor = r['gflop']/m['gflops_tokens']+r.get('adam_gb', 0)/m['copy_gb']
        if what.endswith('softmax'):
            r['products_seconds'] = products(r['targets'], split.inter.n_items, SIZES['dim']); r['over_products'] = r['seconds']/r['products_seconds']
            floor += r['products_seconds']-6e-9*r['targets']*split.inter.n_items*SIZES['dim']/m['gflops_tokens']
        if what=='ranking': floor = r['scores_gflop']/m['gflops_catalogue']+(r['gflop']-r['scores_gflop'])/m['gflops_tokens']
        line = dict(what=what, data=Path(a.data).name, **{k:round(v, 3) for k,v in {**m, **r, 'floor_seconds':floor, 'over_floor':r['seconds']/floor}.items()}); print(json.dumps(line), flush=True)
        if a.out:
            with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')

if __name__ == '__main__': main()
