"Does tuning help? `python benchmarks/tuning.py --data FOLDER --kinds plain,tuned,tfidf,values --seeds 0 1 2 --part test --out FILE`"
import argparse, json, os, sys, time
from dataclasses import asdict
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

KINDS = ('tfidf', 'values', 'plain', 'tuned')

def vectors(
    kind:str,  # one of `KINDS`
    catalog,   # a `Catalog`
    split,     # `Split`; its training part gives partners, where some are asked for
    parts,     # `ItemParts`
    name:str,  # of the encoder
    tune,      # `TuneConfig`
    folder,    # where runs that were broken off are kept
    judged,    # part -> int [n] items that are looked for by a part of their text
    met:int,   # people who must have taken two items for one to be the other's partner
)->dict:       # E [V+1,M]; Q part -> [n,M], or None; notes
    "Item vectors of one kind, with those of partial texts where the encoder reads any text"
    import torch
    from llmcfsr.adapters import add_lora
    from llmcfsr.affinity import part_texts, partners, value_vectors
    from llmcfsr.contrastive import fit_contrastive
    from llmcfsr.core import Shelf, fingerprint
    from llmcfsr.itemtable import bare, embed_catalog, tfidf
    from llmcfsr.prompts import item_texts, template_for
    from llmcfsr.textencoder import encode, load_encoder
    template = template_for(catalog)
    if kind=='tfidf': return dict(E=tfidf(item_texts(catalog, bare(template))), Q=None)
    if kind=='values': return dict(E=value_vectors(catalog, template), Q=None)
    encoder,note = load_encoder(name),{}
    if kind=='tuned':
        encoder = add_lora(encoder, seed=tune.seed); friends = partners(split, parts.train, met) if tune.mix else None; begun = time.perf_counter()
        key = fingerprint(item_texts(catalog, template), name, tune, parts.train, met); records = fit_contrastive(encoder, catalog, template, tune, items=parts.train, partners=friends, checkpoint=Path(folder)/f'{key}.safetensors')
        note = dict(tune_seconds=time.perf_counter()-begun, first_loss=records[0]['loss'], last_loss=records[-1]['loss'])
    begun = time.perf_counter(); E = embed_catalog(encoder, item_texts(catalog, template), Shelf()).E; note['embed_seconds'] = time.perf_counter()-begun
    return dict(E=E, Q={k:encode(encoder, part_texts(catalog, template, v)) for k,v in judged.items()}, **note)

def main():
    from llmcfsr.contrastive import TuneConfig
    p = argparse.ArgumentParser(description=__doc__); p.add_argument('--data', required=True); p.add_argument('--encoder', default='minilm'); p.add_argument('--kinds', default=','.join(KINDS)); p.add_argument('--seeds', type=int, nargs='+', default=[0])
    p.add_argument('--part', nargs='+', choices=('valid', 'test'), default=['valid'], help='items that judge: choose on valid, report test'); p.add_argument('--share', type=float, default=.1); p.add_argument('--least', type=int, default=2); p.add_argument('--met', type=int, default=1, help='people who must have taken both for an item to be a partner'); p.add_argument('--threads', type=int, default=1); p.add_argument('--out', required=True, help='file to which lines are added')
    for k,v in dict(steps=60, batch=64, lr=1e-3, tau=.07, rho=.4, mix=0., hold=8192).items(): p.add_argument(f'--{k}', type=type(v), default=v)
    a = p.parse_args(); os.environ.setdefault('HF_HUB_OFFLINE', '1')
    import numpy as np, torch; torch.set_num_threads(a.threads)
    from llmcfsr.affinity import affinity_pairs, affinity_report, found_again, part_items
    from llmcfsr.core import InputError, cache_folder
    from llmcfsr.datasets import load_dataset
    from llmcfsr.prompts import item_texts
    from llmcfsr.split import head_tail, leave_one_out
    try: data = load_dataset(a.data)
    except InputError as e: sys.exit(f'error: {e}')
    catalog,split = data.catalog,leave_one_out(data.interactions); parts,groups = part_items(catalog.n_items, a.share),head_tail(split); out = Path(a.out); out.parent.mkdir(parents=True, exist_ok=True)
    pairs,some = {k:affinity_pairs(split, getattr(parts, k), a.least) for k in a.part},{k:getattr(parts, k)[:500] for k in a.part}
    for kind in a.kinds.split(','):
        for seed in a.seeds if kind in ('tuned', 'mapped') else [0]:
            tune = TuneConfig(steps=a.steps, batch=a.batch, lr=a.lr, tau=a.tau, rho=a.rho, mix=a.mix, hold=a.hold, seed=seed); v = vectors(kind, catalog, split, parts, a.encoder, tune, cache_folder()/'tuning', some, a.met)
            for k in a.part:
                line = dict(data=Path(a.data).name, part=k, kind=kind, seed=seed, encoder=a.encoder if kind in ('plain', 'tuned', 'mapped') else '', options=dict(asdict(tune), met=a.met) if kind=='tuned' else {}, threads=a.threads, **{n:x for n,x in v.items() if n not in 'EQ'}, **affinity_report(v['E'], pairs[k], groups.tail_item), **(found_again(v['E'], v['Q'][k], some[k], item_texts(catalog)) if v['Q'] else {}))
                print(json.dumps({n:round(x, 4) if isinstance(x, float) else x for n,x in line.items() if n!='options'}), flush=True)
                with open(out, 'a') as f: f.write(json.dumps(line)+'\n')

if __name__ == '__main__': main()
