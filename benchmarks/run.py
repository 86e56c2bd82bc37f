"Time several models round after round, each in a fresh process: `python benchmarks/run.py --out results.jsonl --data FOLDER`"
import argparse, json, os, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = ('sasrec', 'gru4rec', 'bert4rec', 'dual', 'llm-cfsr', 'llm-esr')

def work(
    command:list, # of a worker
    threads:int,  # it may use
)->dict:          # the line of JSON it prints last
    "Run one worker to its end; a failure stops the benchmark with the worker's own words"
    env = dict(os.environ, LLMCFSR_PROGRESS='0', OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True)
    if done.returncode: sys.exit((done.stderr.strip().splitlines() or [f'{command} failed'])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--out', required=True, help='file to which lines are added'); p.add_argument('--data', nargs='+', default=['planted'])
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--threads', type=int, default=1)
    p.add_argument('--only', default='sasrec', help=f"models, parted by commas: {', '.join(OURS)}")
    a = p.parse_args(); models = a.only.split(',')
    unknown = [m for m in models if m not in OURS]
    if unknown: sys.exit(f"error: {unknown[0]!r} is not known: take some of {', '.join(OURS)}")
    for data in a.data:
        for r in range(a.rounds):
            for m in models:
                line = work([sys.executable, HERE/'ours.py', '--data', data, '--model', m, '--round', r, '--threads', a.threads], a.threads)
                with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')
                print(f"{line['data']} {line['system']} round {r}: {line['seconds']:.2f} s an epoch", flush=True)

if __name__ == '__main__': main()
