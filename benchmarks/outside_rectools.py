"RecTools' SASRec (softmax, or as in eSASRec), BERT4Rec and UniSRec on the files of `outside.py`, by the Python of their own environment"
import sys, warnings
from importlib.metadata import version
import numpy as np
from outside_shared import Files, Judge, finish, options, padded

def trainer(judge, o, of, **more):
    "RecTools' trainer with a validation after each epoch; `of` makes vectors of the module and histories"
    from pytorch_lightning import Callback, Trainer
    import torch
    class Validate(Callback):
        def on_fit_start(self, trainer, module): judge.shuffle()                    # the order of the first epoch is drawn next,
        def on_train_start(self, trainer, module): self.drawn = torch.get_rng_state()  # then RecTools draws weights,
        def on_train_epoch_start(self, trainer, module):                            # and then a run that was broken off goes on
            if judge.state and self.drawn is not None: judge.restore(module, trainer.optimizers[0]); torch.set_rng_state(self.drawn)
            self.drawn = None
        def on_train_epoch_end(self, trainer, module):
            was = module.training; module.eval()
            with torch.no_grad(): judge.add(lambda histories: of(module, histories))
            module.train(was); judge.save(module, trainer.optimizers[0]); trainer.should_stop = judge.over
    return Trainer(max_epochs=o.epochs, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Validate()], **more)

def encode(
    histories, # arrays of item numbers
    o,         # options
    number,    # the library's own numbers of items
    states,    # function of a long tensor [b,T]: [b,D]
    end=(),    # numbers that stand behind every history
)->np.ndarray: # float32 [n,D]
    "Vectors of users, some at a time"
    import torch
    rows = torch.from_numpy(np.concatenate([padded(histories, o.max_len-len(end), number), np.tile(np.array(end, np.int64), (len(histories), 1))], 1))
    return torch.cat([states(rows[a:a+512]) for a in range(0, len(rows), 512)]).numpy()

def transformer(
    files:Files, # what to learn
    o,           # options
    judge:Judge, # validates
)->tuple:        # parameters, items of an epoch and how many there should be
    "Train RecTools' SASRec or BERT4Rec on the training part, with all items in its catalogue"
    import pandas as pd, torch
    from rectools import Columns
    from rectools.dataset import Dataset, IdMap, Interactions
    from rectools.models import BERT4RecModel, SASRecModel
    from rectools.models.nn.item_net import IdEmbeddingsItemNet
    from rectools.models.nn.transformers.constants import MASKING_VALUE
    from rectools.models.nn.transformers.bert4rec import BERT4RecDataPreparator
    from rectools.models.nn.transformers.ligr import LiGRLayers
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator
    cloze = o.system=='rectools-bert4rec'
    class Whole(BERT4RecDataPreparator if cloze else SASRecDataPreparator):
        "Items that nobody took in training are in the catalogue all the same"
        def process_dataset_train(self, dataset):
            super().process_dataset_train(dataset); t = self.train_dataset; ids = t.item_id_map.add_ids(dataset.item_id_map.external_ids)
            self.train_dataset = Dataset(t.user_id_map, ids, t.interactions); self.item_id_map = ids
    user = np.repeat(np.arange(len(files.train)), [len(h) for h in files.train]); place = np.concatenate([np.arange(len(h)) for h in files.train])
    frame = pd.DataFrame({Columns.User:user, Columns.Item:[f'i{i}' for i in np.concatenate(files.train)], Columns.Datetime:pd.to_datetime(place, unit='s'), Columns.Weight:1.})
    users,items = IdMap.from_values(np.arange(len(files.train))),IdMap.from_values([f'i{i}' for i in range(1, files.n_items+1)])
    data = Dataset(users, items, Interactions.from_raw(frame, users, items))
    def of(module, histories):
        net,prep = module.torch_model,model.data_preparator; vectors = net.item_model.get_all_embeddings(); end = [prep.extra_token_ids[MASKING_VALUE]] if cloze else []     # what comes next is hidden behind the history
        number = np.append(0, prep.item_id_map.convert_to_internal([f'i{i}' for i in range(1, files.n_items+1)]))
        h = encode(histories, o, number, lambda x: net.similarity_module.session_tower_forward(net.encode_sessions(dict(x=x), vectors)[:,-1]), end)
        return h,np.concatenate([np.zeros((1, o.dim), 'f4'), net.similarity_module.item_tower_forward(vectors).numpy()[number[1:]]])
    more = dict(loss='sampled_softmax', n_negatives=256, transformer_layers_type=LiGRLayers) if o.system=='rectools-esasrec' else dict(loss='softmax')
    model = (BERT4RecModel if cloze else SASRecModel)(**{**dict(n_factors=o.dim, n_blocks=o.blocks, n_heads=o.heads, session_max_len=o.max_len, dropout_rate=o.dropout, batch_size=o.batch_size, lr=o.lr, item_net_block_types=(IdEmbeddingsItemNet,)),
        **more, **o.set}, data_preparator_type=Whole, get_trainer_func=lambda: trainer(judge, o, of)); model.fit(data)
    n = model.data_preparator.train_dataset.interactions.df.groupby(Columns.User).size(); parameters = sum(p.numel() for p in model.torch_model.parameters() if p.requires_grad)
    return (parameters,int(n.sum()),sum(min(len(h), o.max_len) for h in files.train if len(h) > 1)) if cloze else (parameters,int((n-1).sum()),files.targets(o.max_len))

def unisrec(
    files:Files, # what to learn
    o,           # options
    judge:Judge, # validates
)->tuple:        # parameters, targets of an epoch
    "Train RecTools' UniSRec on the training part and the given item vectors"
    import torch
    from rectools.fast_transformers import UniSRecModel
    taken = np.concatenate(files.train); missing = np.setdiff1d(np.arange(1, files.n_items+1), taken)    # each of them is given a user of one interaction, who is not learned from
    user = np.concatenate([np.repeat(np.arange(len(files.train)), [len(h) for h in files.train]), len(files.train)+np.arange(len(missing))])
    place = np.concatenate([*(np.arange(len(h)) for h in files.train), np.zeros(len(missing), int)]); item = np.concatenate([taken, missing]).astype(np.int64)
    def of(module, histories):
        number = model.map_item_ids(torch.arange(files.n_items+1)).numpy()
        h = encode(histories, o, number, module.net.encode_last); x = module.net.project_all().numpy()[number]; x[0] = 0
        return h,x
    class Held(UniSRecModel):
        "Validated on items that are held out"
        def _make_trainer(self, max_epochs, val_dl=None): return trainer(judge, o, of, gradient_clip_val=self.grad_clip)
    model = Held(torch.from_numpy(files.vectors()), **{**dict(n_factors=o.dim, n_blocks=o.blocks, n_heads=o.heads, session_max_len=o.max_len, dropout=o.dropout, batch_size=o.batch_size, epochs=o.epochs), **o.set})
    model.fit(*(torch.from_numpy(x.astype(np.int64)) for x in (user, item, place)))
    return sum(p.numel() for p in model._net.parameters() if p.requires_grad),files.targets(o.max_len),files.targets(o.max_len)

def main():
    a,o = options(__doc__); warnings.filterwarnings('ignore'); files = Files(a.files)
    import logging, torch, pytorch_lightning as pl
    logging.getLogger('pytorch_lightning').setLevel(logging.ERROR); torch.set_num_threads(o.threads); pl.seed_everything(o.seed, verbose=False); judge = Judge(files, o, a.run)
    parameters,targets,expected = (unisrec if o.system=='rectools-unisrec' else transformer)(files, o, judge)
    if targets != expected: sys.exit(f'error: RecTools learned {targets} items an epoch, not the {expected} of the training part')
    finish(a.run, judge, {k:version(k) for k in ('rectools', 'torch', 'pytorch-lightning', 'numpy')}, parameters, targets=targets)

if __name__ == '__main__': main()
