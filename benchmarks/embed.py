"Texts a second against sentence-transformers, turn by turn: `python benchmarks/embed.py --data FOLDER --out FILE`; its package goes beside ours, `pip install sentence-transformers==6.2.0`"
import argparse, json, os, statistics, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import pin

def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', required=True); p.add_argument('--encoder', default='minilm'); p.add_argument('--texts', type=int, default=2000); p.add_argument('--batch', type=int, default=32, help='of sentence-transformers; 32 is its default')
    p.add_argument('--threads', type=int, default=1); p.add_argument('--rounds', type=int, default=5); p.add_argument('--out', help='file to which a line is added'); a = p.parse_args(); os.environ.setdefault('HF_HUB_OFFLINE', '1'); pin(a.threads)
    import numpy as np, torch; torch.set_num_threads(a.threads)
    try: from sentence_transformers import SentenceTransformer
    except ImportError: sys.exit('error: sentence-transformers is not installed: pip install sentence-transformers==6.2.0')
    from llmcfsr.core import rng
    from llmcfsr.datasets import load_dataset
    from llmcfsr.itemtable import unit_rows
    from llmcfsr.prompts import item_texts
    from llmcfsr.textencoder import encode, find_model, load_encoder
    catalog = load_dataset(a.data).catalog; texts = [t for t in item_texts(catalog) if t]; texts = [texts[i] for i in rng(0, 'texts').permutation(len(texts))[:a.texts]]
    ours,theirs = load_encoder(a.encoder, device='cpu'),SentenceTransformer(find_model(a.encoder), device='cpu')
    kinds = dict(ours=lambda: unit_rows(encode(ours, texts)), theirs=lambda: theirs.encode(texts, batch_size=a.batch, normalize_embeddings=True, show_progress_bar=False)); taken,got = {k:[] for k in kinds},{}
    for _ in range(a.rounds):
        for k,f in kinds.items(): begun = time.perf_counter(); got[k] = f(); taken[k].append(time.perf_counter()-begun)
    ratio = [t/o for o,t in zip(taken['ours'], taken['theirs'])]; import sentence_transformers
    line = dict(data=Path(a.data).name, encoder=a.encoder, texts=len(texts), threads=a.threads, batch=a.batch, rounds=a.rounds, sentence_transformers=sentence_transformers.__version__, **{f'{k}_per_second':len(texts)/statistics.median(t) for k,t in taken.items()}, ratio=statistics.median(ratio), ratio_low=min(ratio), ratio_high=max(ratio), furthest=float(np.abs(got['ours']-got['theirs']).max()))
    line = json.dumps({k:round(v, 8 if k=='furthest' else 3) if isinstance(v, float) else v for k,v in line.items()}); print(line, flush=True)
    if a.out:
        with open(a.out, 'a') as f: f.write(line+'\n')

if __name__ == '__main__': main()
