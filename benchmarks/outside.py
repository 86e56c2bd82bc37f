"""Quality of other people's implementations on our split, our item vectors and our metrics: `python benchmarks/outside.py --data FOLDER --out SOMEWHERE`

Training histories, validation cases and test histories go into plain files; each library trains in its own environment and gives back the vectors of users and items of its best epoch; ranking and metrics are those of every other run.
A finished run is not made again, a broken one goes on after its last epoch. Results are lines of kind `outside` in `SOMEWHERE/ledger.jsonl`, with ranks in `SOMEWHERE/runs`."""
import argparse, json, os, subprocess, sys, tempfile
from pathlib import Path
from types import SimpleNamespace
HERE = Path(__file__).resolve().parent; sys.path[:0] = [str(HERE.parent), str(HERE)]
import numpy as np

SYSTEMS = {'rectools-sasrec':'outside_rectools.py', 'rectools-esasrec':'outside_rectools.py', 'rectools-bert4rec':'outside_rectools.py', 'rectools-unisrec':'outside_rectools.py', 'recbole-sasrec':'outside_recbole.py', 'recbole-gru4rec':'outside_recbole.py', 'recbole-caser':'outside_recbole.py', 'files-pop':'outside_pop.py'}
TEXT = ('rectools-unisrec',)
SIZES = dict(epochs=200, patience=10, batch_size=128, dim=64, blocks=2, heads=1, max_len=50)  # the same for every system, ours included
RATES = dict(dropout=.5, lr=1e-3)

def write_files(
    split,    # `Split`
    folder,   # where the files go
    E=None,   # item vectors [V+1,M]
)->Path:
    "Training, validation and test histories end to end, with the validation targets; test targets stay here"
    from llmcfsr.split import cases, in_training
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    parts = dict(train=(split.inter.item[in_training(split)], split.train_length))
    for which in ('valid', 'test'): c = cases(split, which); h = c.histories(np.arange(len(c))); parts[which] = h.item,h.length
    for k,(item,length) in parts.items(): np.save(folder/f'{k}_item.npy', np.asarray(item, np.int32)); np.save(folder/f'{k}_length.npy', np.asarray(length, np.int64))
    np.save(folder/'valid_target.npy', cases(split, 'valid').target)
    if E is not None: np.save(folder/'vectors.npy', np.ascontiguousarray(E, np.float32))
    (folder/'split.json').write_text(json.dumps(dict(n_items=split.inter.n_items, n_users=split.inter.n_users)))
    return folder

class Products:
    "A `Scorer` of what a library gave back: the products of its users' and its items' vectors, users told by their histories"
    def __init__(self,
        split,  # `Split` whose cases the users are
        folder, # of the run: users_valid.npy [n,D], users_test.npy [n,D], items.npy [V+1,D]
    ):
        from llmcfsr.split import cases
        self.items,self.of = np.load(Path(folder)/'items.npy'),{}; self.n_items = len(self.items)-1
        for which in ('valid', 'test'):
            c,users = cases(split, which),np.load(Path(folder)/f'users_{which}.npy')
            if users.shape != (len(c), self.items.shape[1]) or self.n_items != split.inter.n_items: sys.exit(f'error: vectors of {users.shape} users and {self.items.shape} items do not fit the {len(c)} cases and {split.inter.n_items} items')
            self.of.update((self.key(c.history(i)), u) for i,u in enumerate(users))
    @staticmethod
    def key(history): return np.asarray(history, np.int32).tobytes()
    def scores(self,
        histories, # of cases
    )->np.ndarray: # float32 [n,V+1], column 0 is -inf
        "Products of the users' vectors with all items'"
        y = np.stack([self.of[self.key(h)] for h in histories])@self.items.T; y[:,0] = -np.inf
        return y

def judged(
    dataset, # `Dataset`
    folder,  # of a run that a worker has finished
)->tuple:    # `experiment.evaluate`'s result, and what the worker noted
    "Rank and measure as every other run is; the worker's own validation must come to the same"
    from llmcfsr.experiment import evaluate
    from llmcfsr.split import leave_one_out
    note = json.loads((Path(folder)/'outcome.json').read_text()); scorer = Products(leave_one_out(dataset.interactions), folder)
    result = evaluate(SimpleNamespace(items=[str(i) for i in dataset.interactions.items[1:]], scorer=scorer, model=None, seconds={'embed':0., **note['seconds']}), dataset)
    result['metrics']['parameters'] = note['parameters']; ours,theirs = result['metrics']['valid']['full']['overall']['NDCG@10'],note['valid'][note['best_epoch']-1]
    if abs(ours-theirs) > 1e-4: sys.exit(f'error: validation NDCG@10 is {ours:.6f} here and was {theirs:.6f} in the worker: the files do not mean the same to both')
    return result,note

def train(
    dataset,      # `Dataset`
    files,        # folder from `write_files`
    options:dict, # of the worker
    python,       # of its environment
    out,          # folder that holds ledger.jsonl and runs/
    texts='',     # fingerprint of the item vectors, for a system that reads them
)->dict:          # its line
    "Run a worker and add its line, unless the ledger has it"
    from llmcfsr.core import fingerprint, holding, write_json
    from llmcfsr.ledger import add_line, read_ledger
    key = fingerprint('outside', dataset.fingerprint, texts, json.dumps(options, sort_keys=True))
    for line in read_ledger(Path(out)/'ledger.jsonl'):
        if line.get('kind')=='outside' and line['key']==key: return line
    with holding(Path(out)/'runs'/key) as run:
        if not (run/'outcome.json').exists(): work(options, python, files, run)
        result,note = judged(dataset, run); result['full'].save(run/'ranks.parquet', dataset.interactions); result['sampled'].save(run/'ranks_sampled.parquet', dataset.interactions); write_json(run/'metrics.json', result['metrics'])
        line = dict(kind='outside', key=key, label=options['system']+''.join(f' {k}={v}' for k,v in sorted(options['set'].items())), data=dataset.name, data_print=dataset.fingerprint, options=options, vectors=texts, epochs=note['epochs'], best_epoch=note['best_epoch'],
            metrics=result['metrics'], versions=note['versions'], **{k:note[k] for k in ('targets', 'rows') if k in note})
        add_line(Path(out)/'ledger.jsonl', line)
        for name in ('items', 'users_valid', 'users_test'): (run/f'{name}.npy').unlink()
    return line

def work(
    options:dict, # of the worker
    python,       # of its environment
    files,        # folder from `write_files`
    run,          # its folder
):
    "Run a worker to its end; what it and its library say goes into log.txt"
    command = [python, HERE/SYSTEMS[options['system']], '--files', Path(files).resolve(), '--run', run.resolve(), '--options', json.dumps(options)]; threads = str(options['threads'])
    env = {**{k:v for k,v in os.environ.items() if k!='PYTHONPATH'}, 'OMP_NUM_THREADS':threads, 'MKL_NUM_THREADS':threads}
    with open(run/'log.txt', 'a') as log, tempfile.TemporaryDirectory() as cwd:         # libraries leave logs where they run
        code = subprocess.run(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, cwd=cwd, env=env).returncode
    if code: sys.exit(f"error: {options['system']} failed: {((run/'log.txt').read_text().strip().splitlines() or ['no word'])[-1]}")

def ours(
    dataset,      # `Dataset`
    model:str,    # one of llmcfsr's
    options:dict, # as for a worker
    out,          # folder that holds ledger.jsonl and runs/
    encoder:str,  # what item vectors are of
)->dict:          # its line
    "The same options in a run of our own, in the same ledger"
    from llmcfsr.ledger import Experiment, work
    from llmcfsr.recommender import NEEDS_TEXT, make_options
    o = make_options(model=model, **{k:options[k] for k in ('seed', *SIZES, *RATES)}, **options['set'], **(dict(encoder=encoder) if model in NEEDS_TEXT else {}))
    return next(work([Experiment(f'ours-{model}'+''.join(f' {k}={v}' for k,v in sorted(options['set'].items())), dataset.name, o)], out, data=lambda name: dataset))[1]

def pairs(
    lines, # of a ledger
)->list:   # of (experiment, line), as the tables of `llmcfsr.ledger` take them
    "What a table needs to know of lines, whoever made them"
    of = lambda l: l.get('vectors') or l['options'].get('encoder', ''); kinds = {}
    for l in lines: kinds.setdefault(l['label'], set()).add(of(l))
    label = lambda l: l['label']+(f" of {Path(of(l)).name[:24]}" if len(kinds[l['label']]) > 1 else '')        # the same system with other vectors is another
    return [(SimpleNamespace(label=label(l), options=SimpleNamespace(seed=l['options']['seed'])), l) for l in lines]

def check()->str:
    "Popularity from plain files, by a worker in a process of its own, ranks as popularity here does"
    from llmcfsr.baselines.popularity import Popularity
    from llmcfsr.datasets import load_dataset
    from llmcfsr.evaluate import RankTable, rank_cases
    from llmcfsr.split import cases, head_tail, leave_one_out, popularity
    d = load_dataset('planted'); split = leave_one_out(d.interactions)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(split, Path(folder)/'files'); line = train(d, files, dict(system='files-pop', seed=0, threads=1, epochs=1, patience=1, set={}), sys.executable, folder)
        t = RankTable.load(Path(folder)/'runs'/line['key']/'ranks.parquet').frame(); own = rank_cases(Popularity(popularity(split)), cases(split, 'test'), head_tail(split)).full.frame(d.interactions)
    differ = [k for k in t if not (t[k].to_numpy()==own[k].to_numpy()).all()]
    if differ: sys.exit(f'error: ranks from files differ from those here in {", ".join(differ)}')
    return f'{len(t)} test users have the ranks from files that they have here'

def setting(text:str)->tuple:
    "SYSTEM.NAME=VALUE, the value in JSON or a word"
    system,_,rest = text.partition('.'); name,eq,value = rest.partition('=')
    if not eq: sys.exit(f'error: --set {text}: give SYSTEM.NAME=VALUE, such as rectools-sasrec.use_key_padding_mask=true')
    try: return system,name,json.loads(value)
    except json.JSONDecodeError: return system,name,value

def main():
    from llmcfsr.core import InputError
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', help='folder with inter.txt, or the name of a data set'); p.add_argument('--out', help='folder with the ledger and the runs'); p.add_argument('--seeds', type=int, nargs='+', default=[0]); p.add_argument('--threads', type=int, default=1)
    p.add_argument('--only', default='rectools-sasrec,recbole-sasrec,recbole-gru4rec', help=f"systems, parted by commas: {', '.join(SYSTEMS)}, or ours-MODEL"); p.add_argument('--vectors', default='minilm', help='for systems that read text: a table of `llmcfsr embed`, minilm or tfidf')
    for k,v in {**SIZES, **RATES}.items(): p.add_argument(f'--{k.replace("_", "-")}', type=type(v), default=v)
    p.add_argument('--set', nargs='+', default=[], metavar='SYSTEM.NAME=VALUE', help="options of a library itself, in place of what it is given here"); p.add_argument('--envs', help='where environments are kept; in the cache folder if not given')
    p.add_argument('--check', action='store_true', help='whether ranks from files are ours, on a planted world, without any library'); p.add_argument('--show', action='store_true', help='only the table of what is in the ledger')
    p.add_argument('--first', help='label of the system that is compared with the others; the first of the ledger if not given'); a = p.parse_args()
    try:
        if a.check: print(check()); return
        if not a.out or not (a.show or a.data): p.error('--data and --out are needed')
        run(a)
    except InputError as e: sys.exit(f'error: {e}')

def run(a):
    "All systems, seed by seed, and the table"
    from llmcfsr.core import cache_folder
    from llmcfsr.datasets import load_dataset
    from llmcfsr.ledger import differences, leaderboard, read_ledger
    from llmcfsr.recommender import MODELS, Options, item_vectors
    from llmcfsr.split import leave_one_out
    if not a.show:
        systems = a.only.split(','); unknown = [m for m in systems if m not in SYSTEMS and m.removeprefix('ours-') not in MODELS]; own = {}
        if unknown: sys.exit(f"error: {unknown[0]!r} is not known: take some of {', '.join(SYSTEMS)}, or ours- and one of {', '.join(MODELS)}")
        for s,name,value in map(setting, a.set): own.setdefault(s, {})[name] = value
        if set(own)-set(systems): sys.exit(f'error: --set names {sorted(set(own)-set(systems))[0]!r}, which is not among the systems {a.only}')
        from run import environment
        pythons = {m:sys.executable if m=='files-pop' else environment(m.partition('-')[0], a.envs or cache_folder()/'benchmarks') for m in systems if m in SYSTEMS}
        data = load_dataset(a.data, missing_text='empty', unseen_items='keep') if Path(a.data).is_dir() else load_dataset(a.data)
        table = item_vectors(data, Options(encoder=a.vectors)) if set(systems) & set(TEXT) else None
        files = write_files(leave_one_out(data.interactions), Path(a.out)/'files'/data.fingerprint/('plain' if table is None else table.print), None if table is None else table.E)
        for seed in a.seeds:
            for m in systems:
                options = dict(system=m, seed=seed, threads=a.threads, **{k:getattr(a, k) for k in (*SIZES, *RATES)}, set=own.get(m, {}))
                line = train(data, files, options, pythons[m], a.out, table.print if m in TEXT else '') if m in SYSTEMS else ours(data, m.removeprefix('ours-'), options, a.out, a.vectors)
                v,t = line['metrics']['valid']['full']['overall'],line['metrics']['test']['full']; s = line['metrics']['seconds']
                print(f"{line['label']} seed {seed}: NDCG@10 {t['overall']['NDCG@10']:.4f}, tail {t['tail_item']['NDCG@10']:.4f}, head {t['head_item']['NDCG@10']:.4f}, validation {v['NDCG@10']:.4f}, {line['epochs']} epochs, {s['fit']:.0f} s", flush=True)
    from llmcfsr.experiment import text_table
    lines = [l for l in read_ledger(Path(a.out)/'ledger.jsonl') if l['kind'] in ('run', 'outside')]; done = {}
    for e,l in pairs(lines): done.setdefault((l['data'], *((k, l['options'][k]) for k in (*SIZES, *RATES) if k in l['options'])), {})[e.label,e.options.seed] = e,l
    for (name,*same),each in done.items():
        each = list(each.values()); print(f"\n{name}, {', '.join(f'{k} {v}' for k,v in same)}\n"+text_table(leaderboard(each)))
        labels = [e.label for e,_ in each]; first = a.first if a.first in labels else labels[0]
        if len(set(labels)) > 1: d = differences(each, a.out, first, groups=('overall', 'tail_item')).round(4).astype(object); print(f'\nNDCG@10 of {first} against the others\n'+text_table(d.where(d.notna(), '-')))

if __name__ == '__main__': main()
