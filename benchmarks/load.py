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
    def ids(n, letter, digits): return pa.array([f'{letter}{k:0{digits}X}' for k in g.permutation(16**min(digits, 7))[:n]] if n <= 16**5 else [f'{letter}{k:0{digits}X}' for k in range(n)])
    columns = [pa.DictionaryArray.from_arrays(pa.array(draw(users, 20, .6)), ids(users, 'A', 13)).cast(pa.string()), pa.DictionaryArray.from_arrays(pa.array(draw(items, 20, .9)), ids(items, 'B', 9)).cast(pa.string()), pa.array(g.integers(1_300_000_000, 1_700_000_000, rows))]
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(pa.table(columns, ['user', 'item', 'time']), folder/FILES['inter'], csv.WriteOptions(include_header=False, delimiter=' ', quoting_style='none'))
    named = pa.table([*columns, pa.array(g.integers(1, 6, rows).astype('float32'))], ['user_id', 'parent_asin', 'timestamp', 'rating'])
    csv.write_csv(named, folder/FILES['csv'], csv.WriteOptions(quoting_style='needed')); parquet.write_table(named, folder/FILES['parquet'])
