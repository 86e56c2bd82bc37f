"""How long interactions take from a file to cases, and how much memory: each measurement in a fresh process

    python benchmarks/load.py --rows 10000000 --folder /some/where          # inter.txt, CSV and parquet, one after the other
    python benchmarks/load.py --rows 10000000 --folder /some/where --only inter --rounds 3
"""
import argparse, json, os, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import peak_mib

FILES = dict(inter='inter.txt', csv='interactions.csv', parquet='interactions.parquet')

def generate(
    folder,            # where the three files appear
    rows:int,          # interactions
    users:int=None,    # 600,000 for ten million interactions
    items:int=None,    # 80,000 for ten million interactions
    seed:int=0,        # of everything
):
    "The same interactions as inter.txt, CSV and parquet: ids as shops have them, popularity and activity like a power law, rows in no order"
    import numpy as np, pyarrow as pa
    from pyarrow import csv, parquet
    users,items = users or max(rows*6//100, 3), items or max(rows*8//1000, 3); g = np.random.default_rng(seed)
    def draw(n, flat, power):
        p = (np.arange(n)+flat)**-power; return np.searchsorted(np.cumsum(p/p.sum())[:-1], g.random(rows)).astype(np.int32)
    def ids(n, letter, digits): return pa.array([f'{letter}{k*0x9E3779B1 % 16**9:0{digits}X}' for k in range(n)])      # an odd factor: no two alike
    columns = [pa.DictionaryArray.from_arrays(pa.array(draw(users, 20, .6)), ids(users, 'A', 13)).cast(pa.string()), pa.DictionaryArray.from_arrays(pa.array(draw(items, 20, .9)), ids(items, 'B', 9)).cast(pa.string()), pa.array(g.integers(1_300_000_000, 1_700_000_000, rows))]
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(pa.table(columns, ['user', 'item', 'time']), folder/FILES['inter'], csv.WriteOptions(include_header=False, delimiter=' ', quoting_style='none'))
    named = pa.table([*columns, pa.array(g.integers(1, 6, rows).astype('float32'))], ['user_id', 'parent_asin', 'timestamp', 'rating'])
    csv.write_csv(named, folder/FILES['csv'], csv.WriteOptions(quoting_style='needed')); parquet.write_table(named, folder/FILES['parquet'])

def measure(
    folder,        # holds the files
    what:str,      # inter, csv or parquet
    core:int=5,    # of the filter
    draw:bool=False, # sampled candidates too
)->dict:           # seconds of each part, of the processor and of the clock, MiB at the peak
    "From a file to cases, part by part"
    import numpy as np
    from llmcfsr.datasets import Dataset
    from llmcfsr.interactions import describe, index_ids, k_core, read_inter
    from llmcfsr.split import cases, draw_candidates, head_tail, leave_one_out
    from llmcfsr.tables import read_interactions
    clock = [(time.perf_counter(), time.process_time())]; out = dict(what=what, import_mib=peak_mib()); wall,cpu = {},{}
    def done(part): clock.append((time.perf_counter(), time.process_time())); wall[part],cpu[part] = (round(b-a, 2) for a,b in zip(clock[-2], clock[-1]))
    path = Path(folder)/FILES[what]; frame = read_inter(path) if what == 'inter' else read_interactions(path).frame; done('read'); rows = len(frame)
    frame = k_core(frame, core, core); done('core'); inter = index_ids(frame); done('index'); del frame
    split = leave_one_out(inter); n = [len(cases(split, w)) for w in ('valid', 'test')]; done('split'); out['peak_mib_until_split'] = peak_mib()
    g = head_tail(split); done('head_tail'); describe(inter); done('describe'); print_ = Dataset('big', inter).fingerprint; done('fingerprint')
    if draw: draw_candidates(split, 'test'); done('draw')
    return dict(out, rows=rows, kept=len(inter.item), users=inter.n_users, items=inter.n_items, cases=n[1], wall=wall, cpu=cpu, wall_until_split=round(sum(wall[k] for k in ('read', 'core', 'index', 'split')), 2), cpu_until_split=round(sum(cpu[k] for k in ('read', 'core', 'index', 'split')), 2), peak_mib=peak_mib(), fingerprint=print_)

def yardstick(
    folder,    # holds the files
    what:str,  # csv or parquet
    by:str,    # pandas or polars
)->dict:
    "What another library takes to have user and item as codes and the time, sorted by user and time"
    path = str(Path(folder)/FILES[what]); start = time.perf_counter(),time.process_time(); columns = ['user_id', 'parent_asin', 'timestamp']
    if by == 'pandas':
        import pandas as pd
        f = pd.read_csv(path, usecols=columns) if what == 'csv' else pd.read_parquet(path, columns=columns)
        for c in columns[:2]: f[c] = pd.factorize(f[c])[0]
        f = f.sort_values(['user_id', 'timestamp'], kind='stable')
    else:
        import polars as pl
        f = pl.read_csv(path, columns=columns) if what == 'csv' else pl.read_parquet(path, columns=columns)
        f = f.with_columns(pl.col(columns[:2]).cast(pl.Categorical).to_physical()).sort(['user_id', 'timestamp'], maintain_order=True)
    return dict(what=what, by=by, rows=len(f), wall=round(time.perf_counter()-start[0], 2), cpu=round(time.process_time()-start[1], 2), peak_mib=peak_mib())

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter); p.add_argument('--rows', type=int, default=10_000_000); p.add_argument('--folder', required=True); p.add_argument('--only', default='inter,csv,parquet')
    p.add_argument('--rounds', type=int, default=1); p.add_argument('--draw', action='store_true', help='draw candidates too'); p.add_argument('--yardstick', action='store_true', help='pandas and polars too'); p.add_argument('--one', help='one measurement, in this process: WHAT or WHAT:LIBRARY'); a = p.parse_args()
    if a.one:
        what,_,by = a.one.partition(':'); print(json.dumps(yardstick(a.folder, what, by) if by else measure(a.folder, what, draw=a.draw))); return
    if not all((Path(a.folder)/f).exists() for f in FILES.values()): subprocess.run([sys.executable, '-c', f'import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; import load; load.generate({a.folder!r}, {a.rows})'], check=True)
    todo = a.only.split(',')+[f'{w}:{by}' for w in a.only.split(',') if w != 'inter' and a.yardstick for by in ('pandas', 'polars')]
    for _ in range(a.rounds):
        for one in todo: subprocess.run([sys.executable, __file__, '--folder', a.folder, '--one', one, *(['--draw'] if a.draw else [])], check=True, env=dict(os.environ, LLMCFSR_PROGRESS='0'))

if __name__ == '__main__': main()
