"Latency and throughput of the HTTP service, asked over real sockets: `python benchmarks/serve.py --rounds 3`; a line of JSON for each (joined, concurrency)"
import argparse, http.client, json, os, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path
import numpy as np

SERVER = '''
import sys, torch
torch.set_num_threads(1)
from llmcfsr.recommender import Recommender
from llmcfsr.serve import serve
serve(Recommender.from_pretrained(sys.argv[1]), port=0, joined=int(sys.argv[2]), name='benchmark', ready=lambda url: print(url, flush=True))
'''

def make(
    folder,  # where the model goes
    items:int, # V
    dim:int, # D
    width:int=256, # M, of the random text vectors
):
    "An untrained model; only time is measured here"
    from llmcfsr.recommender import Recommender, make_model
    rec = Recommender(model='llm-cfsr', dim=dim, seed=0); rng = np.random.default_rng(0)
    E = rng.standard_normal((items+1, width)).astype('f4'); E[0] = 0
    rec.items = [f'B{n:09}' for n in range(items)]; rec._row = {i:n+1 for n,i in enumerate(rec.items)}
    rec.popularity,rec.data,rec.labels = rng.integers(0, 99, items+1),dict(name='random', fingerprint='none'),{}
    rec._use(make_model(rec.options, items, E)); rec.save_pretrained(folder)

def cpu_seconds(pid):
    "Processor time of a process so far; None where the system does not say"
    try: fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError: return None
    return (int(fields[11])+int(fields[12]))/os.sysconf('SC_CLK_TCK')

def load(port, bodies, concurrency):
    "Ask all of `bodies` by so many persistent connections at once; milliseconds of each"
    took,todo,lock,wrong = [],iter(bodies),threading.Lock(),[]
    def client():
        link = http.client.HTTPConnection('127.0.0.1', port, timeout=60); link.connect()
        while True:
            with lock: body = next(todo, None)
            if body is None: break
            start = time.perf_counter(); link.request('POST', '/recommend', body, {'Content-Type':'application/json'}); r = link.getresponse(); answer = r.read(); took.append(1000*(time.perf_counter()-start))
            if r.status != 200: wrong.append(answer)
        link.close()
    threads = [threading.Thread(target=client) for _ in range(concurrency)]; start = time.perf_counter()
    for t in threads: t.start()
    for t in threads: t.join()
    if wrong: raise RuntimeError(f'{len(wrong)} requests failed, the first with {wrong[0]!r}')
    return time.perf_counter()-start,took

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--model', help='a model folder; else an untrained model is made'); p.add_argument('--items', type=int, default=12101); p.add_argument('--dim', type=int, default=64)
    p.add_argument('--joined', type=int, nargs='+', default=[1, 32]); p.add_argument('--concurrency', type=int, nargs='+', default=[1, 8, 32]); p.add_argument('--requests', type=int, default=400); p.add_argument('--rounds', type=int, default=3)
    a = p.parse_args(); tmp = tempfile.TemporaryDirectory(); folder = a.model or f'{tmp.name}/model'
    if not a.model: make(folder, a.items, a.dim)
    items = json.loads((Path(folder)/'items.json').read_text()); rng = np.random.default_rng(1)
    bodies = [json.dumps(dict(history=[items[i] for i in rng.integers(0, len(items), n)], k=10)) for n in rng.integers(1, 20, a.requests)]
    env = dict(os.environ, OMP_NUM_THREADS='1'); servers = {j:subprocess.Popen([sys.executable, '-c', SERVER, folder, str(j)], stdout=subprocess.PIPE, text=True, env=env) for j in a.joined}
    try:
        ports = {j:int(s.stdout.readline().rpartition(':')[2]) for j,s in servers.items()}; found = {}
        for port in ports.values(): load(port, bodies[:40], 4)                                  # warm up
        for n in range(a.rounds):                                                               # in turn, so that both meet the same weather
            for c in a.concurrency:
                for j in sorted(ports, reverse=bool(n%2)):
                    before = cpu_seconds(servers[j].pid); seconds,took = load(ports[j], bodies, c); after = cpu_seconds(servers[j].pid)
                    found.setdefault((j, c), []).append((seconds, took, None if before is None else after-before))
        for (j,c),runs in sorted(found.items()):
            q = [np.quantile(t, [.5, .99]) for _,t,_ in runs]; mid = lambda x: round(float(statistics.median(x)), 2)
            print(json.dumps(dict(joined=j, concurrency=c, requests=a.requests, rounds=a.rounds, requests_per_second=mid([a.requests/s for s,_,_ in runs]), p50_ms=mid([x[0] for x in q]), p99_ms=mid([x[1] for x in q]),
                cpu_ms_per_request=None if runs[0][2] is None else mid([1000*u/a.requests for *_,u in runs]))), flush=True)
    finally:
        for s in servers.values(): s.terminate(); s.wait(30); s.stdout.close()
        tmp.cleanup()

if __name__ == '__main__': main()
