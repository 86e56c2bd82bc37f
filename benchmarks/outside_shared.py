"What the workers of `outside.py` share: plain files in, vectors of users and items out; nothing of llmcfsr"
import argparse, json, os, sys, time
from pathlib import Path
import numpy as np

class Files:
    "Training histories, validation histories with their targets, test histories without, and item vectors, items numbered from 1"
    def __init__(self, folder):
        self.folder = Path(folder); self.n_items = json.loads((self.folder/'split.json').read_text())['n_items']
        self.train,self.valid,self.test = (self.histories(k) for k in ('train', 'valid', 'test')); self.target = np.load(self.folder/'valid_target.npy')
    def histories(self,
        which:str, # train, valid or test
    )->list:       # arrays of item numbers, oldest first
        "The histories of one part"
        item,length = np.load(self.folder/f'{which}_item.npy'),np.load(self.folder/f'{which}_length.npy'); end = length.cumsum()
        return [item[e-n:e] for e,n in zip(end, length)]
    def vectors(self)->np.ndarray:
        "float32 [V+1,M], row 0 zero"
        return np.load(self.folder/'vectors.npy')
    def targets(self,
        max_len:int, # items of a history that are read
    )->int:
        "Next items to be learned in an epoch"
        return sum(min(len(h), max_len+1)-1 for h in self.train if len(h) > 1)

def padded(
    histories,      # arrays of item numbers
    max_len:int,    # newest items kept
    number,         # int [V+1] the library's own number of each item
    left:bool=True, # whether padding comes first
)->np.ndarray:      # int64 [n,max_len]
    "Rows of one length"
    out = np.zeros((len(histories), max_len), np.int64)
    for row,h in zip(out, histories):
        h = number[h[-max_len:]]
        if left: row[max_len-len(h):] = h
        else: row[:len(h)] = h
    return out

def ndcg(
    users,     # float32 [n,D]
    items,     # float32 [V+1,D], row 0 padding
    histories, # of the n users; their items do not compete
    target,    # int [n]
    k:int=10,  # length of the list
    rows:int=512, # users scored at once
)->float:
    "Mean NDCG of a full ranking, ties at every place alike"
    gain = np.append(0., np.where(np.arange(len(items)+1) < k, 1/np.log2(np.arange(len(items)+1)+2), 0.).cumsum()); total = 0.
    for a in range(0, len(users), rows):
        y = users[a:a+rows]@items.T; y[:,0] = -np.inf; at = target[a:a+rows]; own = y[np.arange(len(y)),at].copy()
        for row,h in zip(y, histories[a:a+rows]): row[h] = -np.inf
        y[np.arange(len(y)),at] = own; above,tied = (y > own[:,None]).sum(1),(y == own[:,None]).sum(1)
        total += ((gain[above+tied]-gain[above])/tied).sum()
    return total/len(users)

class Judge:
    "Validates after each epoch, remembers the best, says when to stop, and stores the run so that a broken one goes on"
    def __init__(self,
        files,        # `Files`
        o,            # options: epochs and patience
        run,          # folder of the run
    ):
        self.files,self.o,self.path,self.values,self.best,self.kept,self.begun,self.spent,self.state = files,o,Path(run)/'state.npz',[],0,None,time.perf_counter(),0.,{}
        if not self.path.exists(): return
        with np.load(self.path, allow_pickle=False) as f: self.state = dict(f)
        self.values,self.best,self.kept = self.state.pop('values').tolist(),int(self.state.pop('best')),tuple(self.state.pop(f'kept{i}') for i in range(3)); self.spent = float(self.state.pop('spent')); self.begun -= float(self.state.pop('seconds'))
        print(f'going on after epoch {len(self.values)}', flush=True)
    def __deepcopy__(self, memo): return self                       # a trainer that is copied has the same judge
    @property
    def over(self)->bool:
        "Whether training has ended"
        return len(self.values) >= self.o.epochs or len(self.values)-self.best >= self.o.patience
    def add(self,
        of, # function of histories: users' vectors [n,D] and items' vectors [V+1,D]
    ):
        "Take note of an epoch; the vectors after the best one are kept"
        if self.over: return
        begun = time.perf_counter(); users,items = of(self.files.valid); v = ndcg(users, items, self.files.valid, self.files.target); self.values.append(float(v))
        if not np.isfinite(users).all() or not np.isfinite(items).all(): sys.exit(f'error: the vectors after epoch {len(self.values)} are not numbers')
        if v > max(self.values[:-1], default=-1.): self.best,self.kept = len(self.values),(users.copy(), of(self.files.test)[0].copy(), items.copy())
        self.spent += time.perf_counter()-begun; print(f'epoch {len(self.values)}: NDCG@10 {v:.5f}, best in epoch {self.best}, {begun-self.begun:.1f} s', flush=True)
    def save(self,
        model,          # a module of PyTorch
        optimizer,      # its Adam
        generator=None, # of the order of rows, where it is not PyTorch's own
    ):
        "Store weights, moments, random states and what is known so far, whole or not at all"
        import torch
        arrays = {**{f'model/{k}':v for k,v in model.state_dict().items()}, **{f'adam/{i}/{k}':v for i,s in optimizer.state_dict()['state'].items() for k,v in s.items()}, 'random':torch.get_rng_state(), **self.numpys(), **({} if generator is None else {'order':generator.get_state()})}
        tmp = self.path.with_name('.state.tmp.npz'); np.savez(tmp, **{k:np.asarray(v.detach() if hasattr(v, 'detach') else v) for k,v in arrays.items()}, values=np.array(self.values), best=self.best, spent=self.spent, seconds=time.perf_counter()-self.begun, **{f'kept{i}':x for i,x in enumerate(self.kept)})
        os.replace(tmp, self.path)
    @staticmethod
    def numpys()->dict:
        "NumPy's random state, which a library may hide items by"
        _,keys,*rest = np.random.get_state(); return {'numpy/keys':keys, 'numpy/rest':np.array(rest, np.float64)}
    def restore(self, model, optimizer, generator=None):
        "Put back what `save` has stored, if there is anything"
        import torch
        if not self.state: return
        t = {k:torch.from_numpy(np.array(v)) for k,v in self.state.items()}; state = {}; model.load_state_dict({k.partition('/')[2]:v for k,v in t.items() if k.startswith('model/')})
        for k in t:
            if k.startswith('adam/'): _,i,name = k.split('/'); state.setdefault(int(i), {})[name] = t[k]
        optimizer.load_state_dict(dict(state=state, param_groups=optimizer.state_dict()['param_groups'])); torch.set_rng_state(t['random'])
        if 'numpy/keys' in self.state: pos,has,cached = self.state['numpy/rest']; np.random.set_state(('MT19937', self.state['numpy/keys'], int(pos), int(has), float(cached)))
        if generator is not None: generator.set_state(t['order'])
    def shuffle(self):
        "Put back the random state alone, before the order of the next epoch is drawn"
        import torch
        if self.state: torch.set_rng_state(torch.from_numpy(np.array(self.state['random'])))

def options(
    text:str, # of the worker
):            # arguments every worker takes
    "Read the command line"
    p = argparse.ArgumentParser(description=text); p.add_argument('--files', required=True, type=Path, help='folder that outside.py has written'); p.add_argument('--run', required=True, type=Path, help='folder for the results')
    p.add_argument('--options', required=True, help='JSON: system, seed, epochs, patience, batch_size, dim, blocks, heads, dropout, max_len, lr, threads and set, the options of the library itself')
    a = p.parse_args()
    return a,argparse.Namespace(**json.loads(a.options))

def finish(
    folder,         # of the run
    judge:Judge,    # after training
    versions:dict,  # of the libraries
    parameters:int, # trained
    **more,         # what else is worth a note
):
    "Write the vectors of the best epoch, and last of all what the run was"
    total = time.perf_counter()-judge.begun
    for name,x in zip(('users_valid', 'users_test', 'items'), judge.kept): np.save(Path(folder)/f'{name}.npy', np.asarray(x, np.float32))
    judge.path.unlink(missing_ok=True)
    (Path(folder)/'outcome.json').write_text(json.dumps(dict(more, versions=versions, parameters=parameters, epochs=len(judge.values), best_epoch=judge.best, valid=judge.values, seconds=dict(fit=total, validate=judge.spent))))
