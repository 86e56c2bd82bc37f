"Ratios per target from a file of results: `python benchmarks/report.py results.jsonl`"
import argparse, json, statistics, sys
from pathlib import Path

def ratios(
    lines:list, # dicts as the workers print them; a later line replaces an earlier one of the same round
    base:str,   # system the others are compared with
)->dict:        # (data, system) -> seconds per 1000 targets over those of `base`, one a round
    "Compare within a round, so that a slow moment of the machine meets both"
    at = {(l['data'], l['system'], l['round']):l['seconds_per_1000'] for l in lines}
    out = {}
    for (d,s,r),v in at.items():
        if (d, base, r) in at: out.setdefault((d, s), []).append(v/at[d,base,r])
    return out

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('results'); p.add_argument('--base', default='ours sasrec')
    a = p.parse_args()
    if not Path(a.results).is_file(): sys.exit(f'error: {a.results} is not there: make it with run.py')
    rows = ratios([json.loads(l) for l in Path(a.results).read_text().splitlines() if l.strip()], a.base)
    if not rows: sys.exit(f'error: {a.results} has no round of {a.base!r}: give another --base')
    print(f'| data | system | median time per target over {a.base} | least | most | rounds |\n|---|---|---|---|---|---|')
    for (d,s),v in sorted(rows.items()): print(f'| {d} | {s} | {statistics.median(v):.2f} | {min(v):.2f} | {max(v):.2f} | {len(v)} |')

if __name__ == '__main__': main()
