"What the machine can do, and how far an epoch and a ranking are from it: `python benchmarks/roofline.py --data FOLDER`"
import argparse, json, statistics, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import SIZES, pin
from ours import table

def sustained(
    f,               # what is timed
    least:float=.25, # seconds to go on for
)->float:            # seconds a call
    "What one call takes while many follow each other, as they do in the run that is compared: a burst is quicker, and a shared machine has good moments and bad ones"
    f(); n,begun = 0,time.perf_counter()
    while (taken := time.perf_counter()-begun) < least: f(); n += 1
    return taken/n

def machine()->dict:
    "Rates that the machine sustains: multiply-adds of square and of model-shaped products, copying, exponentials"
    import torch
    def product(m, k, n): a,b,c = torch.randn(m, k),torch.randn(k, n),torch.empty(m, n); return 2e-9*m*k*n/sustained(lambda: torch.mm(a, b, out=c))
    big,to = torch.randn(2**24),torch.empty(2**24); row = torch.randn(64, 12000); out = torch.empty_like(row)
    return dict(gflops_square=product(1024, 1024, 1024), gflops_tokens=product(4096, 64, 64), gflops_catalogue=product(64, 64, 12000),
        copy_gb=8e-9*len(big)/sustained(lambda: to.copy_(big)), exp_g=1e-9*row.numel()/sustained(lambda: torch.exp(row, out=out)))

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
        out.append(sustained(slices)/384)
    return N*min(out)

def pairs(length)->int:
    "How often a position reads another in causal rows of these lengths"
    return int((length*(length+1)//2).sum())

def epoch(
    split,      # `Split`
    model:str,  # sasrec or dual
    loss:str,   # bce or softmax
    max_len:int,# newest items that are read
)->tuple:       # what runs one more epoch and says its seconds; floating point operations, bytes the optimiser moves, targets
    "Epochs by the clock, and their arithmetic as PyTorch counts it"
    import numpy as np
    from llmcfsr.batches import SeqLoader
    from llmcfsr.core import compiles
    from llmcfsr.recommender import make_model, make_objective, make_options
    from llmcfsr.train import TrainConfig, adam, epochs, train_step
    V = split.inter.n_items; o = make_options(model='llm-cfsr' if model=='dual' else model, loss=loss, **({'fuse':()} if model=='dual' else {}), **{**SIZES, 'max_len':max_len})
    E = table(V) if model=='dual' else None; net = make_model(o, V, E); f = make_objective(o, split, E); opt = adam(net, TrainConfig())
    loader = SeqLoader(split, max_len=max_len, batch_size=o.batch_size, negatives=int(loss=='bce'))
    with counter() as count:
        for batch in loader.epoch(0): train_step(net, batch, f, opt)
    run = epochs(net, loader, f, opt, TrainConfig(epochs=100), start=1); next(run)
    n = np.minimum(split.train_length[split.train_length>=2]-1, max_len); views = 2 if model=='dual' else 1; d = SIZES['dim']
    loops = 12*d*views*o.blocks*pairs(n)+(12*d*views*loader.n_targets if loss=='bce' else 0)     # attention of the open pairs, twice forward and four times back; target and negative of each state: written as loops, so not seen by the counter
    touched = 7*4*sum(p.numel() for p in net.parameters() if p.requires_grad)*len(loader)       # Adam reads four numbers a weight and writes three
    return lambda: next(run)['train_seconds'],dict(gflop=(count.get_total_flops()+(loops if compiles() else 0))/1e9, adam_gb=touched/1e9, targets=loader.n_targets)

def ranking(split)->tuple: # what ranks once more and says its seconds; floating point operations
    "A full ranking of all test users by the clock, and its arithmetic"
    import numpy as np
    from llmcfsr.core import compiles
    from llmcfsr.evaluate import rank_cases
    from llmcfsr.model import ModelScorer
    from llmcfsr.recommender import make_model, make_options
    from llmcfsr.split import cases, head_tail
    V,d = split.inter.n_items,SIZES['dim']; scorer = ModelScorer(make_model(make_options(model='sasrec', **SIZES), V)); test,groups = cases(split, 'test'),head_tail(split)
    n = np.minimum(test.upto-split.inter.start[test.user], SIZES['max_len'])
    with counter() as count: rank_cases(scorer, test, groups)
    loops = 4*d*((SIZES['blocks']-1)*pairs(n)+int(n.sum()))                                     # attention; of the last block the newest positions alone
    def once(): taken.clear(); begun = time.perf_counter(); rank_cases(scorer, test, groups); return time.perf_counter()-begun
    taken = watch(scorer)
    return once,dict(gflop=(count.get_total_flops()+(loops if compiles() else 0))/1e9, scores_gflop=2e-9*len(test.user)*V*d, taken=taken)

def levels(
    split,      # `Split`
    rounds:int, # how often all kinds take their steps in turn
    steps:int=20, # steps of a kind in a round
)->list:        # a line a kind
    "A training step without fusion, with each of its levels and with all: arithmetic and seconds, the kinds taking turns batch by batch"
    from itertools import islice
    from llmcfsr.batches import SeqLoader
    from llmcfsr.model import LEVELS
    from llmcfsr.recommender import make_model, make_objective, make_options
    from llmcfsr.train import TrainConfig, adam, train_step
    V,runs = split.inter.n_items,{}; E = table(V); batches = list(islice(SeqLoader(split, max_len=SIZES['max_len'], batch_size=SIZES['batch_size']).epoch(0), steps))
    for name,fuse in (('none', ()), *((l, (l,)) for l in LEVELS), ('all', LEVELS)):
        o = make_options(model='llm-cfsr', fuse=fuse, loss='bce', **SIZES); net = make_model(o, V, E).train(); run = net,make_objective(o, split, E),adam(net, TrainConfig())
        step = lambda b, run=run: train_step(run[0], b, *run[1:])
        for b in batches[:3]: step(b)
        with counter() as count:
            for b in batches: step(b)
        runs[name] = step,count.get_total_flops()/1e9/len(batches),[]
    for _ in range(rounds):
        taken = dict.fromkeys(runs, 0.)
        for b in batches:
            for k,(step,*_) in runs.items(): begun = time.perf_counter(); step(b); taken[k] += time.perf_counter()-begun
        for k,v in taken.items(): runs[k][2].append(v/len(batches))
    base = runs['none']; over = lambda k: [a/b for a,b in zip(runs[k][2], base[2])]
    return [dict(what=f'level {k}', gflop=g, gflop_over_none=g/base[1], seconds=statistics.median(t), over_none=statistics.median(over(k)), over_none_low=min(over(k)), over_none_high=max(over(k))) for k,(_,g,t) in runs.items()]

def watch(
    scorer, # whose `reader` is timed
)->dict:    # part -> seconds, filled while ranking goes on
    "Clocks around the parts of a ranking"
    import functools
    from llmcfsr import evaluate
    taken = {}
    def clock(name, f):
        @functools.wraps(f)
        def timed(*args, **kwargs): begun = time.perf_counter(); out = f(*args, **kwargs); taken[name] = taken.get(name, 0)+time.perf_counter()-begun; return out
        return timed
    read = clock('histories and encoder', scorer.reader)
    def reader(histories): write = read(histories); timed = clock('scores', write); timed.finite = write.finite; return timed
    scorer.reader = reader; evaluate.above_tied = clock('counts', evaluate.above_tied); evaluate.strike = clock('items seen', evaluate.strike)
    return taken

def floor(
    what:str,   # which line
    m:dict,     # rates from `machine`
    r:dict,     # arithmetic of the line
    items:int,  # V
)->dict:        # seconds
    "What the arithmetic alone takes at the rates of the machine at this moment"
    if what=='ranking': return dict(floor_seconds=r['scores_gflop']/m['gflops_catalogue']+(r['gflop']-r['scores_gflop'])/m['gflops_tokens'])
    rest = r['gflop']/m['gflops_tokens']+r['adam_gb']/m['copy_gb']
    if not what.endswith('softmax'): return dict(floor_seconds=rest)
    three = products(r['targets'], items, SIZES['dim'])
    return dict(products_seconds=three, floor_seconds=rest+three-6e-9*r['targets']*items*SIZES['dim']/m['gflops_tokens'])

def tell(
    lines:list, # dicts
    out,        # a file to which they are added, if not None
):
    "Print results as lines of JSON, and keep them"
    for line in lines:
        line = json.dumps({k:round(v, 3) if isinstance(v, float) else v for k,v in line.items()}); print(line, flush=True)
        if out:
            with open(out, 'a') as f: f.write(line+'\n')

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', default='planted'); p.add_argument('--max-len', type=int, default=200); p.add_argument('--threads', type=int, default=1); p.add_argument('--rounds', type=int, default=5); p.add_argument('--out', help='file to which lines are added')
    p.add_argument('--only', default='sasrec-bce,dual-bce,sasrec-softmax,levels,ranking', help='what to measure'); a = p.parse_args(); pin(a.threads)
    import torch; torch.set_num_threads(a.threads)
    from llmcfsr.core import InputError
    from llmcfsr.datasets import load_dataset
    from llmcfsr.split import leave_one_out
    try: split = leave_one_out(load_dataset(a.data, missing_text='empty', unseen_items='keep').interactions)
    except InputError as e: sys.exit(f'error: {e}')
    V = split.inter.n_items
    for what in a.only.split(','):
        if what=='levels': tell([dict(x, data=Path(a.data).name, rounds=a.rounds) for x in levels(split, a.rounds)], a.out); continue
        once,r = ranking(split) if what=='ranking' else epoch(split, *what.split('-'), a.max_len); rounds,taken = [],r.pop('taken', None)
        for _ in range(a.rounds):
            m = machine(); low = floor(what, m, r, V); x = dict(m, **low, seconds=once()); x.update({f'part {k}':v for k,v in (taken or {}).items()}); rounds.append(dict(x, over_floor=x['seconds']/x['floor_seconds'], **({'over_products':x['seconds']/x['products_seconds']} if 'products_seconds' in x else {})))
        middle = {k:statistics.median(x[k] for x in rounds) for k in rounds[0]}; spread = {f'{k}_{n}':f(x[k] for x in rounds) for k in ('seconds', 'over_floor', 'over_products') if k in middle for n,f in (('low', min), ('high', max))}
        tell([dict(what=what, data=Path(a.data).name, rounds=a.rounds, **r, **middle, **spread)], a.out)

if __name__ == '__main__': main()
