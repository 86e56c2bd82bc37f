"One timed training run of RecBole's SASRec, by the Python of its own environment: `python peer_recbole.py --inter FILE --name NAME`"
import argparse, sys, tempfile, time
from pathlib import Path
from common import SIZES, pin, tell

def prepare():
    "What RecBole 1.2.1 expects of older libraries, under their present names"
    import numpy as np, scipy.sparse, torch
    for name,now in dict(bool=bool, int=int, float=float, object=object, str=str, complex=complex, float_=np.float64, unicode_=np.str_).items():
        if name not in np.__dict__: setattr(np, name, now)
    if not hasattr(scipy.sparse.dok_matrix, '_update'): scipy.sparse.dok_matrix._update = lambda self, d: [self.__setitem__(k, v) for k,v in d.items()] and None
    load = torch.load; torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, 'weights_only':False})

def settings(
    folder,   # that holds NAME/NAME.inter
    loss:str, # CE, softmax over the catalogue, or BPR with one negative
)->dict:
    "RecBole's names for the sizes of the benchmark; it holds out the last two items of each user itself"
    return dict(data_path=str(folder), USER_ID_FIELD='user', ITEM_ID_FIELD='item', TIME_FIELD='time', load_col=dict(inter=['user', 'item', 'time']), MAX_ITEM_LIST_LENGTH=SIZES['max_len'],
        train_batch_size=SIZES['batch_size'], hidden_size=SIZES['dim'], inner_size=SIZES['dim'], n_layers=SIZES['blocks'], n_heads=SIZES['heads'], hidden_dropout_prob=SIZES['dropout'], attn_dropout_prob=SIZES['dropout'],
        learning_rate=SIZES['lr'], loss_type=loss, train_neg_sample_args=None if loss=='CE' else dict(distribution='uniform', sample_num=1), use_gpu=False, worker=0, show_progress=False, state='ERROR',
        eval_args=dict(split=dict(LS='valid_and_test'), order='TO', group_by='user', mode='full'))

def timed(
    inter:Path,  # lines `user item time`
    loss:str,    # CE or BPR
    steps:int,   # timed, after two that warm up
)->dict:
    "Mean of some steps; every step is padded to the full length, so they cost the same"
    prepare()
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, init_seed
    with tempfile.TemporaryDirectory() as d:
        (Path(d)/'data').mkdir(); (Path(d)/'data/data.inter').write_text('user:token\titem:token\ttime:float\n'+inter.read_text())
        sys.argv = sys.argv[:1]; config = Config(model='SASRec', dataset='data', config_dict=settings(d, loss)); init_seed(0, True)
        data = create_dataset(config); train,_,_ = data_preparation(config, data)
    model = get_model('SASRec')(config, train.dataset).train(); optimizer = torch.optim.Adam(model.parameters(), lr=SIZES['lr']); times = []
    while len(times) < steps+2:
        for batch in train:
            begun = time.perf_counter(); optimizer.zero_grad(); model.calculate_loss(batch).backward(); optimizer.step(); times.append(time.perf_counter()-begun)
            if len(times) == steps+2: break
    return dict(seconds=sum(times[2:])/steps*len(train), targets=len(train.dataset), steps=steps, steps_per_epoch=len(train))

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--inter', required=True, type=Path, help='file with lines user, item, time, parted by tabs'); p.add_argument('--name', required=True)
    p.add_argument('--loss', choices=('CE', 'BPR'), default='BPR'); p.add_argument('--steps', type=int, default=8); p.add_argument('--threads', type=int, default=1); p.add_argument('--round', type=int, default=0)
    a = p.parse_args(); pin(a.threads)
    import torch; torch.set_num_threads(a.threads); import recbole
    tell(**timed(a.inter, a.loss, a.steps), system=f'RecBole SASRec {a.loss}', version=recbole.__version__, data=a.name, round=a.round, measured='steps', threads=a.threads)

if __name__ == '__main__': main()
