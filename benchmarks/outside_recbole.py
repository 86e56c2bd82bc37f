"RecBole's SASRec, GRU4Rec and Caser with softmax on the files of `outside.py`, by the Python of their own environment"
import sys, tempfile
from importlib.metadata import version
from pathlib import Path
import numpy as np
from outside_shared import Files, Judge, finish, options, padded
from peer_recbole import prepare

def settings(
    folder, # that holds data/data.inter
    o,      # options
    rows:int, # prefixes in a step
)->dict:
    "RecBole's names for the options; it is given the training part alone and holds nothing out itself"
    sizes = {'recbole-sasrec':dict(hidden_size=o.dim, n_layers=o.blocks, n_heads=o.heads, hidden_dropout_prob=o.dropout, attn_dropout_prob=o.dropout), 'recbole-gru4rec':dict(hidden_size=o.dim, embedding_size=o.dim, num_layers=1, dropout_prob=o.dropout),
        'recbole-caser':dict(embedding_size=o.dim, nh=16, nv=4, dropout_prob=o.dropout, reg_weight=0.)}[o.system]
    return {**dict(data_path=str(folder), USER_ID_FIELD='user', ITEM_ID_FIELD='item', TIME_FIELD='time', load_col=dict(inter=['user', 'item', 'time'], item=['item']), MAX_ITEM_LIST_LENGTH=o.max_len, train_batch_size=rows,
        learning_rate=o.lr, loss_type='CE', train_neg_sample_args=None, use_gpu=False, worker=0, show_progress=False, state='ERROR', seed=o.seed, checkpoint_dir=str(folder),
        eval_args=dict(split=dict(RS=[1, 0, 0]), order='TO', group_by='none', mode='full')), **sizes, **o.set}

def without_users(
    model, # of RecBole
):
    "A user is his history here, so a model with vectors of users keeps them at nought"
    if hasattr(model, 'user_embedding'): model.user_embedding.weight.requires_grad_(False); model.user_embedding.weight.data.zero_()

def train(
    files:Files, # what to learn
    o,           # options
    judge:Judge, # validates
)->dict:         # parameters, targets of an epoch, rows of a step
    "Epochs of RecBole's trainer on the training part, all items in its catalogue"
    prepare()
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset
    from recbole.data.utils import get_dataloader
    from recbole.trainer import Trainer
    from recbole.utils import get_model, init_seed
    name = dict(sasrec='SASRec', gru4rec='GRU4Rec', caser='Caser')[o.system.partition('-')[2]]; learners = sum(len(h) > 1 for h in files.train); rows = round(o.batch_size*files.targets(o.max_len)/learners)
    with tempfile.TemporaryDirectory() as d:
        (Path(d)/'data').mkdir(); (Path(d)/'data/data.item').write_text('item:token\n'+''.join(f'i{i}\n' for i in range(1, files.n_items+1)))
        (Path(d)/'data/data.inter').write_text('user:token\titem:token\ttime:float\n'+''.join(f'u{u}\ti{i}\t{t}\n' for u,h in enumerate(files.train) for t,i in enumerate(h)))
        sys.argv = sys.argv[:1]; config = Config(model=name, dataset='data', config_dict=settings(d, o, rows)); init_seed(o.seed, True); data = create_dataset(config); part = data.build()[0]
        loader = get_dataloader(config, 'train')(config, part, None, shuffle=True); init_seed(o.seed, True); model = get_model(name)(config, part); without_users(model); trainer = Trainer(config, model)
    number = np.array([0, *(data.field2token_id['item'][f'i{i}'] for i in range(1, files.n_items+1))])
    if model.n_items != files.n_items+1: sys.exit(f'error: RecBole knows {model.n_items-1} items, and there are {files.n_items}')
    def of(histories):
        x = torch.from_numpy(padded(histories, o.max_len, number, left=False)); n = (x > 0).sum(1)
        h = torch.cat([model(torch.zeros_like(n[a:a+512]), x[a:a+512]) if name=='Caser' else model(x[a:a+512], n[a:a+512]) for a in range(0, len(x), 512)]).numpy(); v = model.item_embedding.weight.detach().numpy()[number].copy(); v[0] = 0
        return h,v
    judge.restore(model, trainer.optimizer, loader.generator)
    while not judge.over:
        trainer._train_epoch(loader, len(judge.values)); model.eval()
        with torch.no_grad(): judge.add(of)
        judge.save(model, trainer.optimizer, loader.generator)
    return dict(parameters=sum(p.numel() for p in model.parameters() if p.requires_grad), targets=len(part), rows=int(config['train_batch_size']))

def main():
    a,o = options(__doc__); files = Files(a.files)
    import torch; torch.set_num_threads(o.threads); judge = Judge(files, o, a.run); r = train(files, o, judge); whole = sum(len(h)-1 for h in files.train if len(h) > 1)
    if r['targets'] != whole: sys.exit(f"error: RecBole learned {r['targets']} targets an epoch, not the {whole} of the training part")
    finish(a.run, judge, {k:version(k) for k in ('recbole', 'torch', 'numpy')}, **r)

if __name__ == '__main__': main()
