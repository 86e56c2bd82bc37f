"What every worker of the benchmark shares"
import json, os, resource, sys
from pathlib import Path

SIZES = dict(batch_size=128, dim=64, blocks=2, heads=1, max_len=200, dropout=.5, lr=1e-3) # the same for every system

def pin(
    threads:int=1, # threads the worker may use
    core:int=None, # first core; the last ones allowed if None
):
    "Keep this process on as many cores as it has threads, where the system can"
    if not hasattr(os, 'sched_setaffinity'): return
    cores = sorted(os.sched_getaffinity(0))
    first = len(cores)-threads if core is None else cores.index(core)
    os.sched_setaffinity(0, cores[max(0, first):][:threads])

def peak_mib()->float:
    "The most memory this process has held, in MiB"
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if sys.platform=='darwin' else 2**10), 1)

def tell(
    seconds:float, # of one epoch
    targets:int,   # supervised positions of that epoch
    **more,        # what else the line holds
):
    "Print one result as a line of JSON"
    print(json.dumps(dict(more, seconds=seconds, targets=targets, seconds_per_1000=1000*seconds/targets, peak_rss_mib=peak_mib())), flush=True)
