"How long similar users take, exactly and by an inverted index, and what the process holds: `python benchmarks/similar.py --users 50000`"
import argparse, json, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import peak_mib, pin

def search(
    how:str,    # exact or index
    users:int,  # U
    width:int,  # M
    tastes:int, # centres around which users lie
)->dict:        # seconds, MiB; the neighbours are kept in a file beside the results
    "One search over users that lie around some tastes, one core"
    import torch; torch.set_num_threads(1)
    from llmcfsr.baselines.llmesr import similar_users, similar_users_approx
    gen = torch.Generator().manual_seed(0); centre = torch.randn(tastes, width, generator=gen); z = centre[torch.randint(tastes, (users,), generator=gen)].add_(torch.randn(users, width, generator=gen))
    before,begun = peak_mib(),time.perf_counter(); found = (similar_users if how=='exact' else similar_users_approx)(z, 10); seconds = time.perf_counter()-begun
    return dict(how=how, users=users, width=width, tastes=tastes, seconds=round(seconds, 2), vectors_mib=round(4*z.numel()/2**20), before_mib=before, peak_mib=peak_mib()),found

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--users', type=int, default=50_000); p.add_argument('--width', type=int, default=1536); p.add_argument('--tastes', type=int, default=200)
    p.add_argument('--how', choices=('exact', 'index')); p.add_argument('--keep'); p.add_argument('--out', help='file to which lines are added'); a = p.parse_args()
    if a.how:
        pin(1); import torch
        line,found = search(a.how, a.users, a.width, a.tastes); torch.save(found, a.keep); print(json.dumps(line)); return
    import tempfile, torch
    from llmcfsr.baselines.llmesr import recall
    with tempfile.TemporaryDirectory() as d:
        found = {}
        for how in ('exact', 'index'):
            args = [sys.executable, __file__, '--how', how, '--keep', f'{d}/{how}', *(x for k in ('users', 'width', 'tastes') for x in (f'--{k}', str(getattr(a, k))))]
            done = subprocess.run(args, capture_output=True, text=True)
            if done.returncode: sys.exit((done.stderr.strip().splitlines() or [f'{how} failed'])[-1])
            line = json.loads(done.stdout.strip().splitlines()[-1]); found[how] = torch.load(f'{d}/{how}')
            line['recall'] = 1. if how=='exact' else round(sum(recall(found[how][i:i+1000], found['exact'][i:i+1000])*len(found['exact'][i:i+1000]) for i in range(0, a.users, 1000))/a.users, 4)
            print(json.dumps(line), flush=True)
            if a.out:
                with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')

if __name__ == '__main__': main()
