"""How well items are recommended that came after training, by their text alone: `python benchmarks/cold.py --data FOLDER --out FILE`

A tenth of the items is hidden from training, stratified by popularity, with all their interactions. A model is trained on the rest, the hidden items are added from their text, and for users whose next item is a hidden
one the whole catalogue is ranked. Half of the hidden items is for choosing how a new item gets its id vector (part `valid`), the other half for the result (part `test`). A finished run is not made again."""
import argparse, copy, json, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np

RULES = {'zeros':dict(kind='zeros'), 'mean':dict(kind='mean'),
         **{f'near {k}{w}':dict(kind='near', k=k, weight=w.strip()) for k in (1, 5, 10, 20, 50) for w in ('', ' root', ' counted')},
         **{f'ridge {r}{w}':dict(kind='ridge', ridge=r, weight=w.strip()) for r in (.01, .1, 1., 10.) for w in ('', ' root', ' counted')}}
FEW = ('add_items', 'as trained', 'pop', 'text', 'zeros', 'mean', *(f'{r}{w}' for r in ('near 10', 'ridge 0.01', 'ridge 0.1') for w in ('', ' root', ' counted')))

def hidden_items(
    pop,       # int [V+1] training interactions
    share=.1,  # of the items that are hidden
    seed=0,    # of the draw
):             # two int arrays of items, for choosing and for the result
    "Items drawn evenly over the order of popularity: two of each twenty neighbours, one for either half"
    from llmcfsr.core import rng
    g = rng(seed, 'hidden items'); order = 1+np.lexsort((g.random(len(pop)-1), -pop[1:])); size = round(2/share)
    drawn = [g.permutation(part)[:2] for part in np.split(order, range(size, len(order), size)) if len(part) > 2]
    return tuple(np.sort([d[n] for d in drawn]) for n in (0, 1))

def without(dataset, hidden, keep=False):
    "The data without any interaction of the hidden items; their text stays where `keep`"
    import pandas as pd
    from llmcfsr.datasets import join
    i = dataset.interactions; u = np.repeat(np.arange(i.n_users), i.lengths); stays = ~np.isin(i.item, hidden)
    frame = pd.DataFrame(dict(user=i.users[u[stays]], item=i.items[i.item[stays]], time=np.arange(stays.sum())))
    return join(f'{dataset.name} without a part', frame, {k:a for k,a in zip(i.items[1:], dataset.catalog.attrs[1:])}, missing_text='empty', unseen_items='keep' if keep else 'drop')

def renumbered(inter, items):
    "The interactions in the rows of `items`, those with others left out"
    from llmcfsr.interactions import Interactions
    row = {k:n+1 for n,k in enumerate(items)}; new = np.array([0]+[row.get(k, 0) for k in inter.items[1:]]); item = new[inter.item]; stays = item > 0
    u = np.repeat(np.arange(inter.n_users), inter.lengths)[stays]; start = np.append(0, np.bincount(u, minlength=inter.n_users).cumsum())
    return Interactions(item[stays].astype(np.int32), inter.time[stays], start, inter.users, np.array(['', *items], object))

def cases_of(inter, wanted, backs):
    "Cases whose target is one of the wanted items, so many places from the end of a history"
    from llmcfsr.split import Cases
    user,upto = [],[]
    for back in backs:
        u = np.flatnonzero(inter.lengths >= 3); at = inter.start[u+1]-back; hit = np.isin(inter.item[at], wanted); user.append(u[hit]); upto.append(at[hit])
    user,upto = np.concatenate(user),np.concatenate(upto)
    return Cases(user.astype(np.int32), inter.item[upto], upto, inter)

class MeanText:
    "Cosine of each item's text vector and the mean of the history's"
    def __init__(self, E): self.E,self.n_items = E,len(E)-1
    def scores(self, histories):
        y = np.stack([self.E[h].mean(0) for h in histories])@self.E.T; y[:,0] = -np.inf
        return y.astype('f4')

def figures(scorer, cases, groups, new):
    "What a table shows of one scorer on some cases"
    from llmcfsr.evaluate import metrics, rank_cases
    r = rank_cases(scorer, cases, groups, top=10); out = {}
    for name,t in (('all', r.full), ('tail', r.full.where(r.full.tail_item))):
        m = metrics(t); out |= {f'{name} n':len(t), **{f'{name} {k}':None if m[k] is None else round(m[k], 5) for k in ('HR@10', 'NDCG@10')}}
    return dict(out, chance=round(float(np.mean(10/r.full.n_candidates)), 5), new_in_lists=round(float(np.isin(r.top, new).mean()), 4))

def neighbour_mean(E, C, new, k, w):
    "Mean id vector of the items that read most alike, weighted by cosine and by what they count"
    from llmcfsr.itemtable import unit_rows
    at = np.flatnonzero(w > 0); cos = np.maximum(unit_rows(new)@unit_rows(E[at]).T, 1e-6); near = np.argpartition(-cos, k-1, axis=1)[:,:k]; a = np.take_along_axis(cos, near, 1)*w[at][near]
    return np.einsum('mk,mkd->md', a/a.sum(1, keepdims=True), C[at][near]).astype('f4')

def id_vectors(rule, E, C, pop, new):
    "Id vectors of new items"
    from llmcfsr.growth import affine_map
    w = pop**dict(root=.5, counted=1.).get(rule.get('weight'), 0.)*np.sign(pop)
    if rule['kind'] == 'zeros': return np.zeros((len(new), C.shape[1]), 'f4')
    if rule['kind'] == 'mean': return np.repeat((np.sign(pop)@C/np.sign(pop).sum())[None].astype('f4'), len(new), 0)
    return neighbour_mean(E, C, new, rule['k'], w) if rule['kind'] == 'near' else affine_map(E, C, w, rule['ridge'])(new)

def grown(rec, E, goods, rule):
    "A copy of the trained model with rows for new items"
    from llmcfsr.baselines.attributes import known_attributes
    from llmcfsr.growth import grow
    model = copy.deepcopy(rec.model); co = model.views.co; old = slice(1, rec.n_trained+1)
    grow(model, E, None if co is None else id_vectors(rule, rec.vectors[old], co.weight.detach().numpy()[old], rec.popularity[old], E),
        shared=None if rec._shared is None else [known_attributes(g, rec._shared) for g in goods])
    return model

def with_ids(rec, rows, rule):
    "A copy of the trained model in which some items have other id vectors"
    import torch
    model = copy.deepcopy(rec.model); warm = np.setdiff1d(np.arange(1, rec.n_trained+1), rows); C = model.views.co.weight
    with torch.no_grad(): C[torch.from_numpy(rows)] = torch.from_numpy(id_vectors(rule, rec.vectors[warm], C.numpy()[warm], rec.popularity[warm], rec.vectors[rows]))
    return model

def run(a, tell):
    from llmcfsr.core import Shelf, fingerprint, read_json, write_json
    from llmcfsr.datasets import load_dataset
    from llmcfsr.recommender import Recommender
    from llmcfsr.baselines.popularity import Popularity
    from llmcfsr.model import ModelScorer
    from llmcfsr.split import head_tail, leave_one_out, popularity
    data = load_dataset(a.data, missing_text='empty', unseen_items='drop') if Path(a.data).is_dir() else load_dataset(a.data)
    inter = data.interactions; hv,ht = hidden_items(popularity(leave_one_out(inter)), a.share, a.seed); hidden = np.concatenate([hv, ht])
    less = without(data, hidden, keep=a.cold=='kept'); start = time.perf_counter()
    rec = Recommender(model=a.model, backbone=a.backbone, encoder=a.encoder, epochs=a.epochs, patience=a.patience, dim=a.dim, batch_size=a.batch_size, max_len=a.max_len, seed=a.seed)
    kept = Path(a.checkpoints)/f'{data.name}-{a.model}-{a.backbone}-{Path(a.encoder).name}-{a.cold}-{fingerprint(less.fingerprint, rec.options)}' if a.checkpoints else None
    if kept and (kept/'fit.json').exists(): rec,fit_note = Recommender.from_pretrained(kept/'model'),read_json(kept/'fit.json')
    else:
        rec.fit(less, shelf=Shelf(), **(dict(checkpoint=kept/'state', resume=(kept/'state').exists()) if kept else {})); fit_note = dict(epochs_run=len(rec.records), fit_seconds=round(time.perf_counter()-start, 1))
        if kept: rec.save_pretrained(kept/'model'); write_json(kept/'fit.json', fit_note)
    note = dict(hidden=len(hidden), **fit_note); trained = rec.items; ids = [str(i) for i in inter.items]
    goods = [dict(item_id=ids[i], **{k:v for k,v in data.catalog.attrs[i].items() if k != 'item_id'}) for i in hidden]; start = time.perf_counter()
    if a.cold == 'added':
        last = copy.deepcopy(rec); last.add_items(goods); add_seconds = time.perf_counter()-start; E = last.vectors; V = len(trained); scorers = {'add_items':last.scorer}
        scorers |= {k:(lambda rule: lambda: ModelScorer(grown(rec, E[V+1:], goods, rule)))(r) for k,r in RULES.items()}
    else: last,E,add_seconds = rec,rec.vectors,0.; scorers = {'as trained':rec.scorer, **{k:(lambda rule: lambda: ModelScorer(with_ids(rec, np.array([rec._row[ids[i]] for i in hidden]), rule)))(r) for k,r in RULES.items()}}
    scorers |= {'pop':Popularity(last.popularity), 'text':MeanText(E)}
    here = renumbered(inter, last.items); groups = head_tail(leave_one_out(here)); rows = {k:np.array([last._row[ids[i]] for i in h]) for k,h in (('valid', hv), ('test', ht))}; new = np.concatenate(list(rows.values()))
    warm = np.setdiff1d(np.arange(1, here.n_items+1), new); parts = {'valid':cases_of(here, rows['valid'], (1, 2)), 'test':cases_of(here, rows['test'], (1,)), 'warm':cases_of(here, warm, (1,)), 'warm valid':cases_of(here, warm, (2,))}
    if a.model not in ('llm-cfsr', 'llm-esr', 'llm-init') or a.few: scorers = {k:v for k,v in scorers.items() if k in FEW}
    for name,s in scorers.items():
        s = s() if callable(s) and not hasattr(s, 'scores') else s
        for part,c in parts.items(): tell(dict(rule=name, part=part, **figures(s, c, groups, new), add_seconds=round(add_seconds, 2), **note))
    if a.cold == 'added':                                                               # warm targets in a catalogue that never grew, histories without the hidden items
        old = renumbered(inter, trained); g = head_tail(leave_one_out(old)); same = np.isin(old.users, here.users[parts['warm'].user]); u = np.flatnonzero(same & (old.lengths >= 2))
        from llmcfsr.split import Cases
        at = old.start[u+1]-1; tell(dict(rule='before', part='warm', **figures(rec.scorer, Cases(u.astype(np.int32), old.item[at], at, old), g, np.zeros(0, int)), **note))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True); p.add_argument('--out', required=True, help='file of JSON lines that is added to'); p.add_argument('--model', default='llm-cfsr'); p.add_argument('--backbone', default='sasrec'); p.add_argument('--encoder', default='minilm')
    p.add_argument('--cold', choices=('added', 'kept'), default='added', help='hidden items come after training, or are in the catalogue without interactions'); p.add_argument('--few', action='store_true', help='some rules only')
    for k,v in dict(epochs=200, patience=10, dim=64, batch_size=128, max_len=50, seed=0).items(): p.add_argument(f'--{k.replace("_", "-")}', type=int, default=v)
    p.add_argument('--share', type=float, default=.1); p.add_argument('--checkpoints', help='folder from which a broken run goes on'); a = p.parse_args()
    run_ = {k:v for k,v in vars(a).items() if k not in ('out', 'checkpoints', 'few')} | dict(data=Path(a.data).name); out = Path(a.out)
    done = [json.loads(l) for l in out.read_text().splitlines()] if out.exists() else []
    if any(all(d.get(k) == v for k,v in run_.items()) for d in done): print('this run is in the file already'); return   # lines are written when all of a run is there
    lines = []; run(a, lambda line: (lines.append({**run_, **line}), print(json.dumps({k:line[k] for k in ('rule', 'part', 'all n', 'all HR@10', 'all NDCG@10', 'tail NDCG@10', 'chance', 'new_in_lists')}), flush=True)))
    with open(out, 'a') as f: f.writelines(json.dumps(l)+'\n' for l in lines)

if __name__ == '__main__': main()
