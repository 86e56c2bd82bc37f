"Time systems round after round, each in a fresh process: `python benchmarks/run.py --out results.jsonl --data FOLDER --only sasrec,recbole,rectools`"
import argparse, json, os, subprocess, sys, tempfile, venv
from pathlib import Path

HERE = Path(__file__).resolve().parent; sys.path.insert(0, str(HERE.parent))
OURS = ('sasrec', 'gru4rec', 'bert4rec', 'dual', 'llm-cfsr', 'llm-esr')
PEERS = {   # what each needs in an environment of its own, since neither lives with a present transformers and numpy
    'recbole': ('peer_recbole.py', ('recbole==1.2.1', 'torch==2.13.0', 'numpy==1.26.4', 'pandas==2.1.4', 'scipy==1.17.1', 'scikit-learn==1.9.1'), ('--loss', 'BPR')),
    'recbole-ce': ('peer_recbole.py', 'recbole', ('--loss', 'CE')),
    'rectools': ('peer_rectools.py', ('rectools[torch]==0.19.0', 'torch==2.13.0', 'numpy==1.26.4', 'pandas==2.3.3', 'pytorch-lightning==2.5.2', 'typeguard==4.6.0'), ('--loss', 'BCE')),
    'rectools-softmax': ('peer_rectools.py', 'rectools', ('--loss', 'softmax'))}

def environment(
    name:str,  # of a peer
    folder,    # where environments are kept
)->Path:       # its Python
    "The peer's own Python, made once: some hundred megabytes from the package index"
    needs = PEERS[name][1]
    if isinstance(needs, str): return environment(needs, folder)
    home = Path(folder)/name; python = home/('Scripts' if os.name=='nt' else 'bin')/'python'; done = home/'complete.json'
    if not (done.exists() and json.loads(done.read_text())==list(needs)):
        print(f'preparing {name} in {home}', flush=True); venv.create(home, with_pip=True, clear=True)
        if subprocess.run([python, '-m', 'pip', 'install', '-q', *needs]).returncode: sys.exit(f'error: {name} could not be installed; its versions are in {__file__}')
        done.write_text(json.dumps(needs))
    return python

def interactions(
    data:str, # folder or name of a data set
    folder,   # where the files go
)->dict:      # 'recbole': all interactions, it holds out the last two itself; 'rectools': the training part
    "One data set as the peers read it: lines of user, item and place in the history"
    from llmcfsr.datasets import load_dataset
    from llmcfsr.split import leave_one_out
    split = leave_one_out(load_dataset(data, missing_text='empty', unseen_items='keep').interactions); inter = split.inter; files = {}
    for peer,length in (('recbole', inter.lengths), ('rectools', split.train_length)):
        files[peer] = Path(folder)/f'{peer}.tsv'
        files[peer].write_text(''.join(f'u{u}\ti{i}\t{t}\n' for u,n in enumerate(length) for t,i in enumerate(inter.item[inter.start[u]:inter.start[u]+n])))
    return files

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
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--threads', type=int, default=1); p.add_argument('--steps', type=int, default=8, help='steps of a peer that are timed')
    p.add_argument('--only', default='sasrec,recbole,rectools', help=f"systems, parted by commas: {', '.join((*OURS, *PEERS))}")
    p.add_argument('--envs', default=None, help='where environments of peers are kept; in the cache folder if not given')
    a = p.parse_args(); systems = a.only.split(',')
    unknown = [m for m in systems if m not in OURS and m not in PEERS]
    if unknown: sys.exit(f"error: {unknown[0]!r} is not known: take some of {', '.join((*OURS, *PEERS))}")
    from llmcfsr.core import InputError, cache_folder
    pythons = {m:environment(m, a.envs or cache_folder()/'benchmarks') for m in systems if m in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        for data in a.data:
            try: files = interactions(data, folder)
            except InputError as e: sys.exit(f'error: {e}')
            for r in range(a.rounds):
                for m in systems:
                    peer = m.partition('-')[0]
                    line = work([sys.executable, HERE/'ours.py', '--data', data, '--model', m, '--round', r, '--threads', a.threads] if m in OURS else
                        [pythons[m], HERE/PEERS[m][0], '--inter', files[peer], '--name', Path(data).name, '--steps', a.steps, '--round', r, '--threads', a.threads, *PEERS[m][2]], a.threads)
                    with open(a.out, 'a') as f: f.write(json.dumps(line)+'\n')
                    print(f"{line['data']} {line['system']} round {r}: {line['seconds']:.2f} s an epoch of {line['targets']} targets", flush=True)

if __name__ == '__main__': main()
