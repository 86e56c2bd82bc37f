"What several test files share"
import json, os, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
FORK = '''
import json, os, sys, traceback, warnings
import torch, numpy, pandas, sklearn.decomposition, sklearn.feature_extraction.text, matplotlib.pyplot, accelerate, peft, transformers
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.llama import modeling_llama
from llmcfsr import cli, contrastive, experiment, itemtable, recommender
from llmcfsr.baselines import llmesr, popularity
torch.set_num_threads(1); children = {}
for line in sys.stdin:
    job = json.loads(line)
    if 'wait' in job: print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(job['wait'], 0)[1])), flush=True); continue
    pid = os.fork()
    if not pid:
        out = os.open(job['log'], os.O_CREAT|os.O_WRONLY|os.O_TRUNC); os.dup2(out, 1); os.dup2(out, 2); os.dup2(os.open(os.devnull, os.O_RDONLY), 0); os.environ.update(job['env']); code = 1
        try: code = exec(job['code'], dict(__name__='__main__', argv=job['argv'])) or 0
        except SystemExit as e: code = e.code or 0
        except BaseException: traceback.print_exc()
        finally: sys.stdout.flush(); sys.stderr.flush(); os._exit(code)
    print(pid, flush=True)
'''

class Job:
    "A process of its own"
    def __init__(self, forks, pid, log): self.forks,self.pid,self.log,self.code = forks,pid,log,None
    def kill(self, signal=9):
        try: os.kill(self.pid, signal)
        except ProcessLookupError: pass
    def running(self): return Path(f'/proc/{self.pid}/stat').exists() and Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    def wait(self):
        "Its exit code, negative for the signal that ended it"
        if self.code is None: self.code = self.forks.ask(dict(wait=self.pid))
        return self.code
    def said(self): return self.log.read_text() if self.log.exists() else ''

class Forks:
    "Processes that begin with everything imported: they are forked from one that has done nothing else"
    def __init__(self, folder):
        env = {**os.environ, 'OMP_NUM_THREADS':'1', 'LLMCFSR_PROGRESS':'0', 'HF_HUB_OFFLINE':'1', 'TOKENIZERS_PARALLELISM':'false', 'MPLBACKEND':'agg', 'PYTHONPATH':str(ROOT)}
        self.folder,self.n,self.process = folder,0,subprocess.Popen([sys.executable, '-W', 'ignore', '-c', FORK], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def ask(self, job): self.process.stdin.write(json.dumps(job)+'\n'); self.process.stdin.flush(); return json.loads(self.process.stdout.readline())
    def start(self, code, *argv, **env):
        self.n += 1; log = self.folder/f'log-{self.n}'
        return Job(self, self.ask(dict(code=code, argv=list(map(str, argv)), env=env, log=str(log))), log)
    def main(self, *argv, **env): return self.start('from llmcfsr.cli import main; raise SystemExit(main(argv))', *argv, **env)

@pytest.fixture(scope='session')
def forks(tmp_path_factory):
    if not hasattr(os, 'fork') or not Path('/proc/self/stat').exists(): pytest.skip('processes are forked and looked at as on Linux')
    f = Forks(tmp_path_factory.mktemp('forks')); yield f; f.process.stdin.close(); f.process.wait(10)
