"One timed training run of llmcfsr: `python benchmarks/ours.py --data FOLDER --model sasrec`"
import argparse, os, statistics, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import SIZES, pin, tell

MODELS = ('sasrec', 'gru4rec', 'bert4rec', 'dual', 'llm-cfsr', 'llm-esr')

def table(
    n_items:int,    # V
    width:int=1536, # M
):                  # float32 [V+1,M], row 0 zero
    "Item vectors that stand in for those of a language model"
    import numpy as np
    E = np.random.default_rng(0).standard_normal((n_items+1, width), dtype='f4'); E[0] = 0
    return E

def machine(device:str)->str:
    "What the device calls itself"
    import torch
    return torch.cuda.get_device_name(device) if device!='cpu' else 'cpu'

def timed(
    data,            # folder or name of a data set
    model:str,       # one of `MODELS`
    n_epochs:int=2,  # timed, after one that warms up
    loss:str='bce',  # with one negative, or softmax
    device:str='cpu',# or cuda
    precision:str='fp32', # or bf16 on a GPU
    draw:int=None,   # similar users a step draws for each user, llm-esr only; its own default if None
    **sizes,         # in place of `SIZES`
)->dict:             # seconds of the median epoch, targets, steps of an epoch
    "Train as the package does and read the clock of `train.epochs`"
    from llmcfsr.batches import SeqLoader
    from llmcfsr.datasets import load_dataset
    from llmcfsr.recommender import make_model, make_objective, make_options
    from llmcfsr.split import leave_one_out
    from llmcfsr.train import TrainConfig, adam, epochs
    split = leave_one_out(load_dataset(data, missing_text='empty', unseen_items='keep').interactions)
    name,more = ('llm-cfsr', dict(fuse=())) if model=='dual' else (model, {})
    options = make_options(model=name, loss=loss, **more, **{**SIZES, **sizes})
    E = table(split.inter.n_items) if name in ('llm-cfsr', 'llm-esr') else None
    net = make_model(options, split.inter.n_items, E).to(device)
    if draw is None or name!='llm-esr': objective = make_objective(options, split, E)
    else:
        from llmcfsr.baselines.llmesr import distilled_objective
        from llmcfsr.losses import objective as plain
        import functools
        objective = distilled_objective(split, E, objective=functools.partial(plain, loss=loss), max_len=options.max_len, draw=draw)
    loader = SeqLoader(split, max_len=options.max_len, batch_size=options.batch_size, kind='next' if getattr(net, 'causal', True) else 'cloze', negatives=int(loss=='bce'))
    config = TrainConfig(epochs=1+n_epochs, lr=options.lr, precision=precision)
    records = list(epochs(net, loader, objective, adam(net, config), config))[1:]
    return dict(seconds=statistics.median(r['train_seconds'] for r in records), targets=records[0]['targets'], steps_per_epoch=len(loader))

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--data', required=True, help='folder with inter.txt, or the name of a data set')
    p.add_argument('--model', choices=MODELS, default='sasrec'); p.add_argument('--loss', choices=('bce', 'softmax'), default='bce')
    p.add_argument('--epochs', type=int, default=2); p.add_argument('--draw', type=int); p.add_argument('--max-len', type=int, default=200)
    p.add_argument('--threads', type=int, default=1); p.add_argument('--round', type=int, default=0)
    p.add_argument('--device', default='cpu'); p.add_argument('--precision', choices=('fp32', 'bf16'), default='fp32')
    a = p.parse_args(); pin(a.threads)
    import torch; torch.set_num_threads(a.threads)
    from llmcfsr import __version__
    from llmcfsr.core import InputError, compiles
    try: r = timed(a.data, a.model, a.epochs, a.loss, a.device, a.precision, a.draw, max_len=a.max_len)
    except InputError as e: sys.exit(f'error: {e}')
    tell(**r, system=f'ours {a.model}', version=__version__, data=Path(a.data).name, round=a.round, measured='epoch', loss=a.loss, draw=a.draw, max_len=a.max_len, threads=a.threads, device=machine(a.device), precision=a.precision, compiled=compiles())

if __name__ == '__main__': main()
