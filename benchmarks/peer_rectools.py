"One timed training run of RecTools' SASRec, by the Python of its own environment: `python peer_rectools.py --inter FILE --name NAME`"
import argparse, time, warnings
from pathlib import Path
from common import SIZES, pin, tell

def timed(
    inter:Path,  # lines `user item time`, the training part alone
    loss:str,    # BCE with one negative, or softmax
    steps:int,   # timed, after two that warm up
)->dict:
    "Mean of some steps; every step is padded to the full length, so they cost the same"
    import pandas as pd
    from pytorch_lightning import Callback, Trainer
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    class Clock(Callback):
        "Notes the time at the end of each step"
        def __init__(self): self.at = []
        def on_train_batch_end(self, *args, **kwargs): self.at.append(time.perf_counter())
    limit = steps+2
    frame = pd.read_csv(inter, sep='\t', names=[Columns.User, Columns.Item, Columns.Datetime], dtype={Columns.User:str, Columns.Item:str})
    frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], unit='s'); frame[Columns.Weight] = 1.
    length = frame.groupby(Columns.User).size(); users = int((length>=2).sum()); per_epoch = -(-users//SIZES['batch_size'])
    trainer = lambda **_: Trainer(max_epochs=-(-limit//per_epoch), max_steps=limit, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Clock()])
    model = SASRecModel(n_factors=SIZES['dim'], n_blocks=SIZES['blocks'], n_heads=SIZES['heads'], session_max_len=SIZES['max_len'], dropout_rate=SIZES['dropout'], batch_size=SIZES['batch_size'], lr=SIZES['lr'],
        loss=loss, n_negatives=1, dataloader_num_workers=0, get_trainer_func=trainer)
    model.fit(Dataset.construct(frame)); clock = next(c for c in model.fit_trainer.callbacks if isinstance(c, Clock))     # it trains with a copy of the trainer
    each = [b-a for a,b in zip(clock.at[1:], clock.at[2:])]
    return dict(seconds=sum(each)/len(each)*per_epoch, targets=int((length[length>=2].clip(upper=SIZES['max_len']+1)-1).sum()), steps=len(each), steps_per_epoch=per_epoch)

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--inter', required=True, type=Path, help='file with lines user, item, time, parted by tabs'); p.add_argument('--name', required=True)
    p.add_argument('--loss', choices=('BCE', 'softmax'), default='BCE'); p.add_argument('--steps', type=int, default=8); p.add_argument('--threads', type=int, default=1); p.add_argument('--round', type=int, default=0)
    a = p.parse_args(); pin(a.threads); warnings.filterwarnings('ignore')
    import torch; torch.set_num_threads(a.threads); from importlib.metadata import version
    tell(**timed(a.inter, a.loss, a.steps), system=f'RecTools SASRec {a.loss}', version=version('rectools'), data=a.name, round=a.round, measured='steps', threads=a.threads)

if __name__ == '__main__': main()
