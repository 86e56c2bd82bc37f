"What `comparison.py record` left, as the tables of the chapters: `recorded('', '_rows', '_differences')`"
import dataclasses, json
from functools import cached_property
from pathlib import Path
import numpy as np, pandas as pd
from llmcfsr.ledger import Experiment, leaderboard
from llmcfsr.ranking import ndcg
from llmcfsr.recommender import Options

MAIN = ('overall', 'tail_item', 'head_item'); RESULTS = Path(__file__).resolve().parent/'results'

def recorded(
    *parts, # of the files: '' for runs, and '_rows', '_trials', '_differences', '_prior', '_balance'
    folder=RESULTS,
)->'Recorded':
    "The lines of some of the recorded files"
    return Recorded([json.loads(l) for p in parts for l in (Path(folder)/f'comparison{p}.jsonl').read_text().splitlines()])

def reached(
    lines, # runs of one system
)->list:   # NDCG@10 on all, rare and popular test items
    "Means over seeds"
    return np.mean([[l['metrics']['test']['full'][g]['NDCG@10'] for g in MAIN] for l in lines], 0).tolist()

def values_of(
    lines,          # runs of one system on one data set
    folder=RESULTS, # where they were recorded
)->np.ndarray:      # [n] in the order of the users
    "NDCG@10 of every test user, mean over the runs"
    def one(key):
        with np.load(Path(folder)/'ranks'/f'{key}.npz') as z: return ndcg(z['above'], z['tied'])
    return np.mean([one(l['key']) for l in lines], 0)

def named(
    table:str, # such as main
    data:str,  # name of a data set
)->str:
    "What stands above a table"
    return data+', searched'*table.endswith('searched')

class Recorded:
    "Recorded lines, looked up"
    def __init__(self,
        lines, # dicts
    ): self.lines = lines

    def by(self,
        kind:str, # row, run, trial or difference
        **only,   # what else a line must say
    )->list:
        "Lines of a kind"
        return [l for l in self.lines if l['kind']==kind and all(l[k]==v for k,v in only.items())]

    @cached_property
    def runs(self)->dict:
        "Runs by their keys"
        return {l['key']:l for l in self.by('run')}

    @cached_property
    def held(self)->list:
        "Pairs (table, data) that have rows"
        return sorted({(r['table'], r['data']) for r in self.by('row')})

    def done(self,
        table:str, # such as main
        data:str,  # name of a data set
    )->list:       # of (`Experiment`, line), as the tables of `llmcfsr.ledger` take them
        "The runs of a table"
        options = lambda l: dataclasses.replace(Options(), **{k:tuple(v) if isinstance(v, list) else v for k,v in l['options'].items()})
        return [(Experiment(r['label'], l['data'], options(l)), l) for r in self.by('row', table=table, data=data) for l in [self.runs[r['key']]]]

    def board(self,
        table:str, # such as main
        data:str,  # name of a data set
    )->pd.DataFrame:
        "The leaderboard of a table, NDCG@10 alone, named by the data set"
        return leaderboard(self.done(table, data), shown=('NDCG@10',)).droplevel('data').rename_axis(named(table, data))

    def means(self,
        table:str, # such as main
        data:str,  # name of a data set
    )->dict:       # label -> group -> NDCG@10 on test items, mean over seeds
        "What each system of a table reached"
        of = {}
        for r in self.by('row', table=table, data=data): of.setdefault(r['label'], []).append(self.runs[r['key']])
        return {k:dict(zip(MAIN, reached(v))) for k,v in of.items()}

    def ways(self,
        data:str,  # name of a data set
    )->dict:       # system -> way -> its runs
        "In how many ways each system was run, priors apart: with which parts, losses, steps and contrasts, searched, with a balance of its views"
        out = {}
        for t in ('main', 'steps', 'more', 'more, searched', 'losses', 'balance', 'balance, searched'):
            for r in self.by('row', table=t, data=data):
                if r['label'].endswith(', sampled'): continue # as it is
                system,_,how = r['label'].partition(', '); how = ', '.join(x for x in (how, 'searched'*t.endswith('searched')) if x) or 'as it is'
                out.setdefault(system, {}).setdefault(how, {})[r['key']] = self.runs[r['key']]
        return {s:{how:list(v.values()) for how,v in of.items()} for s,of in out.items()}

    def preferred(self,
        data:str,  # name of a data set
    )->dict:       # system -> way, its runs, and of how many ways
        "Each system in the way that has the highest NDCG@10 on validation items, mean over its seeds"
        valid = lambda lines: np.mean([l['metrics']['valid']['full']['overall']['NDCG@10'] for l in lines])
        return {s:(how := max(of, key=lambda w: valid(of[w])), of[how], len(of)) for s,of in self.ways(data).items()}

    def differ(self,
        data:str,               # name of a data set
        against:str,            # label of the other system
        group:str='overall',    # of users
        table:str='main',       # where both stand
        system:str='llm-cfsr',  # label
    )->dict:                    # its line
        "One difference"
        return self.by('difference', table=table, data=data, against=against, group=group, system=system)[0]

    def differences(self,
        table:str,       # such as main
        data:str,        # name of a data set
        system:str=None, # label; the first that was compared if None
    )->pd.DataFrame:     # index (group, against)
        "A system against all others of a table"
        some = self.by('difference', table=table, data=data)
        return pd.DataFrame([l for l in some if l['system']==(system or some[0]['system'])]).drop(columns=['kind', 'table', 'data', 'system']).set_index(['group', 'against']).loc[[*MAIN]].rename_axis([named(table, data), 'against'])

def shown(
    differences, # from `Recorded.differences`
)->pd.DataFrame:
    "Differences to look at, an interval a cell; those over seeds only where a system has several"
    short = lambda x: f'{x:.4f}'.replace('0.', '.', 1).replace('-', '\N{MINUS SIGN}'); pair = lambda low, high: '' if pd.isna(low) else f'{short(low)} to {short(high)}'.replace(' ', '\N{NO-BREAK SPACE}')
    out = differences[['first', 'other']].astype(float).round(4); out['relative'] = ['' if pd.isna(x) else f'{100*x:+.1f}\N{NO-BREAK SPACE}%'.replace('-', '\N{MINUS SIGN}') for x in differences.relative.astype(float)]
    for name,low,high in (('over users', 'low', 'high'), ('over items', 'items low', 'items high'), ('over seeds', 'seeds low', 'seeds high')):
        if differences[low].notna().any(): out[name] = [pair(x, y) for x,y in zip(differences[low], differences[high])]
    return out.assign(**{'p (Holm)':differences['p (Holm)'].round(4)})
