"""All systems under one protocol: `python benchmarks/comparison.py main --root DATA --folder OUT`

`DATA` holds the data sets as folders, `OUT` takes item vectors, the ledger, run folders, tables and figures. A table is a list of experiments; what the ledger holds is not run again, a run that was broken off goes on
from its last epoch, and `--seconds` says after how long nothing new is begun. `plan` prints what each table needs and how much of it is done. Options are chosen on validation items: step sizes and dropouts, the
same for all, then one setting of a system's own if it has one, `--trials` in all at most, seed 0; nothing is chosen on test items. `report` writes the tables
from the ledger as they stand, `record` what the chapter on the comparison shows, with the ranks of every run, and `take` puts what was recorded into an
empty `OUT`, so that the comparison goes on from there on another machine. The tables `prior`, `balance` and
`balance and prior` train nothing that the others have trained: they give their models a prior on popularity, those with two views a balance of them, or both; `roads` measures the main ones under all priors."""
import argparse, dataclasses, functools, json, os, sys, time
from pathlib import Path
from typing import NamedTuple
sys.path[:0] = [str(Path(__file__).resolve().parents[k]) for k in (1, 0)]

COMMON = dict(dim=64, blocks=2, heads=1, max_len=50, batch_size=128, loss='sampled', patience=10, epochs=200)   # the same for every system
TEXT = ('beauty_5core', 'yelp_city_5core'); MORE = ('medium_yelp_la', 'small_beauty_nails', 'small_yelp_ca', 'ml-100k'); IDS = ('llmesr_fashion_ids', 'llmesr_yelp_ids', 'beauty_bert4rec_ids')
TUNED = {'beauty_5core':dict(tune_steps=120, tune_lr=2e-3, tune_mix=1., tune_rho=0.), 'yelp_city_5core':dict(tune_steps=120, tune_lr=2e-3, tune_mix=1., tune_rho=0.)}  # chosen on validation items, see the chapter on judging
TUNED = {**TUNED, **{k:dict(tune_steps=60, tune_lr=2e-3, tune_mix=1., tune_rho=0.) for k in MORE}}
SPOKEN = {k:dict(epochs=1, max_tokens=32, hold=512) for k in TEXT}   # on nails, validation sees no difference between that and four passes over whole texts
ID_ONLY = ('pop', 'sasrec', 'gru4rec', 'bert4rec', 'caser', 'cl4srec', 'ips', 'cities', 'melt'); WITH_ATTRIBUTES = ('s3rec', 'ssl'); WITH_TEXT = ('rlmrec', 'llm-init', 'llmemb', 'summed', 'llm-esr', 'llm-cfsr')
FIRST = ('tslrec', 'said')         # what these two are is a first stage: vectors that LLMInit starts from
FOUR = ('sasrec', 'llm-init', 'llm-esr', 'llm-cfsr')
BASE = dict(lr=(1e-3, 5e-4, 2e-3), dropout=(.5, .3))                                          # what is searched for every system
OWN = {k:tuple(tuple(o.split()) for o in v) for k,v in dict(cl4srec=('', 'weight=0.03', 'weight=0.3'), ips=('', 'eta=0.25', 'eta=1'), ssl=('', 'weight=0.03', 'weight=0.3'), melt=('', 'item=0.1', 'item=0.4'), rlmrec=('', 'weight=0.1', 'weight=0.001'),
    llmemb=('', 'alpha=0.1', 'alpha=0.001'), caser=('', 'length=10', 'activation=none'), cities=('', 'window=10', 'contexts=5'), summed=('', 'contrast=0.1', 'contrast=0.03'), **{'llm-esr':('', 'alpha=0.03', 'alpha=0.3'), 'llm-cfsr':('hide=0.2', 'hide=0.2 contrast=0.1', 'hide=0 words=0'), 'llm-init':('', 'contrast=0.1', 'contrast=0.03')},
    s3rec=('beginnings=False', 'epochs=5', 'beginnings=False epochs=30')).items()}             # the first is the base; S3-Rec's hundred epochs over all beginnings of all histories would take more time than all other systems together

VARIANT = ('llm-cfsr, contrast', 'llm-cfsr, half the step', 'llm-cfsr on bert4rec')  # rows that are compared with all others too: what validation prefers on one of the two large sets, a smaller step on both, and the second of the other backbones
TWO_VIEWS = ('llm-esr', 'llm-cfsr')                                                           # what can be given a balance of its views after training
CONTRASTED = ('llm-init', 'summed', 'llm-cfsr')                                               # what can contrast histories beside its loss: each has such a row, so that nobody wins by the contrast alone
SHAPE = {'llm-cfsr':dict(fuse=())}   # what validation prefers on the small sets and on Beauty: the levels stand beside it, see the chapter on the comparison

def space_of(
    model, # name of a system
):         # option -> its candidates
    "What is searched for a system: step size and dropout for all, and one setting of its own where it has one that matters"
    return {**BASE, **({} if model not in OWN else dict(settings=OWN[model]))}

def experiment(root, data, model, vectors='tuned', **options):
    "One run of a system: ids, or text by way of a table of vectors"
    from llmcfsr.ledger import Experiment
    from llmcfsr.recommender import MODELS, NEEDS_TEXT, Options
    read = {} if model not in NEEDS_TEXT else dict(encoder=f'vectors/{data}-{vectors}.safetensors')
    return Experiment(model, data if data=='ml-100k' else str(root/data), Options(model=model, **{**COMMON, **SHAPE.get(model, {}), 'settings':OWN.get(model, ((),))[0], **read, **options}))

class Row(NamedTuple):
    "A row of a table: a base, whose options are searched, and what is changed in them"
    label:str
    base:object      # `Experiment` with seed 0; its data is what the options are chosen on
    data:str         # what is trained and tested on
    seeds:int
    search:bool
    change:dict

def tables(root):
    "Name -> list of `Row`"
    e,rivals = functools.partial(experiment, root),(*ID_ONLY, *WITH_ATTRIBUTES, *WITH_TEXT)
    def row(d, model, label=None, seeds=3, like=None, own=None, **change):       # own: vectors that the row's options are searched with too
        base = e(like or d, model, **({} if own is None else dict(vectors=own)))
        if 'vectors' in change: change['encoder'] = e(d, model, vectors=change.pop('vectors')).options.encoder
        return Row(label or model, base, e(d, model).data, seeds if model!='pop' else 1, model!='pop', change)                # counting has no seed
    most = lambda m, d: 5 if m in FOUR and d in TEXT else 3
    out = dict(main=[row(d, m, seeds=most(m, d)) for d in TEXT for m in rivals]+[row(d, 'llm-cfsr', 'llm-cfsr, three levels', fuse=('embedding', 'sequence', 'prediction')) for d in TEXT]+[row(d, m, f'{m}, contrast', settings=('contrast=0.1',)) for d in TEXT for m in CONTRASTED]+[row(d, 'llm-init', k, own=k) for d in TEXT for k in FIRST])
    out['backbones'] = [row(d, b, f'{b}') if m=='sasrec' else row(d, m, f'{m} on {b}', backbone=b) for d in TEXT for b in ('gru4rec', 'bert4rec') for m in FOUR]
    out['backbones'] += [row(d, m, f'{m} on {b}, balance', backbone=b, balance=True) for d in TEXT for b in ('gru4rec', 'bert4rec') for m in TWO_VIEWS]
    out['backbones'] += [row(d, 'llm-cfsr', 'llm-cfsr on bert4rec, nothing hidden'+more, backbone='bert4rec', settings=('hide=0',), **change) for d in TEXT for more,change in (('', {}), (', balance', dict(balance=True)))]
    out['more'] = [row(d, m) for d in MORE for m in ('pop', *FOUR, 'summed')]+[row(d, 'llm-init', k, own=k) for d in ('small_beauty_nails', 'small_yelp_ca') for k in FIRST]
    out['ids'] = [row(d, m, like='beauty_5core') for d in IDS for m in ('pop', 'sasrec', 'gru4rec', 'bert4rec', 'cl4srec', 'cities', 'melt')]
    out['steps'] = [row(d, m, f'{m}, contrast'+more, settings=('contrast=0.1',), **change) for d in TEXT for m in CONTRASTED[::-1] for more,change in (('', {}), (', half the step', dict(lr=5e-4)))]+[row(d, m, f'{m}, half the step', lr=5e-4) for d in TEXT for m in ('llm-cfsr', 'llm-init', 'summed', 'cl4srec', 'sasrec', 'llm-esr')]+[row(d, 'llm-cfsr', f'llm-cfsr, semantic view{more}', view='se', **change) for d in TEXT for more,change in ((', half the step', dict(lr=5e-4)), (', contrast, half the step', dict(lr=5e-4, settings=('contrast=0.1',))))]
    out['losses'] = [row(d, m, f'{m}, {l}', seeds=most(m, d) if l=='sampled' else 3, loss=l) for models,sets in (((*FOUR, 'summed', 'cl4srec'), TEXT), (rivals[1:], ('small_beauty_nails',))) for d in sets for m in models for l in ('bce', 'gbce', 'softmax', 'sampled')]+[row('small_beauty_nails', m, f'{m}, gbce, ten times the patience', loss='gbce', patience=100) for m in FOUR]+[row('beauty_5core', m, f'{m}, gbce, three times the patience', loss='gbce', patience=30) for m in FOUR]+[row('small_beauty_nails', 'melt', 'melt, sampled, twenty times the patience', patience=200)]+[row('yelp_city_5core', m, f'{m}, contrast, softmax'+more, loss='softmax', settings=('contrast=0.1',), **change) for m in ('llm-cfsr', 'llm-init', 'summed') for more,change in (('', {}), (', half the step', dict(lr=5e-4)))]+[row('yelp_city_5core', 'cl4srec', 'cl4srec, softmax, half the step', loss='softmax', lr=5e-4)]
    after = (*out['main'], *(r for t in ('steps', 'losses') for r in out[t] if 'lr' in r.change), *out['more']); weighed = lambda r: dict(balance=True) if r.base.options.model in TWO_VIEWS and r.change.get('view', 'dual')=='dual' else {}
    out['prior'] = [r._replace(label=f'{r.label}, prior', change=dict(r.change, prior=True)) for r in after if r.search]
    out['balance'] = [r._replace(label=f'{r.label}, balance', change=dict(r.change, **new)) if (new := weighed(r)) else r for r in after if r.search]
    out['balance and prior'] = [r._replace(label=f'{r.label}, {"balance and prior" if (new := weighed(r)) else "prior"}', change=dict(r.change, prior=True, **new)) for r in after if r.search]
    out['vectors'] = [row(d, m, f'{m}, {v}', seeds=most(m, d) if v=='tuned' else 3, vectors=v) for d in TEXT for m in ('llm-init', 'summed', 'llm-esr', 'llm-cfsr') for v in ('tfidf', 'plain', 'tuned')]
    cut = {'llm-cfsr':{}, 'embedding level':dict(fuse=('embedding',)), 'sequence level':dict(fuse=('sequence',)), 'prediction level':dict(fuse=('prediction',)), 'all three levels':dict(fuse=('embedding', 'sequence', 'prediction')),
        'collaborative view alone':dict(view='co'), 'semantic view alone':dict(view='se'), 'random start of ids':dict(settings=('id_init=random',)), 'no shared words':dict(settings=('words=0',)), 'nothing hidden':dict(settings=('hide=0',)), 'aligned, 0.01':dict(align=.01), 'aligned, 0.1':dict(align=.1),
        'all levels, one facet':dict(fuse=('embedding', 'sequence', 'prediction'), settings=('facets=1',)), 'all levels, eight facets':dict(fuse=('embedding', 'sequence', 'prediction'), settings=('facets=8',)), 'plain vectors':dict(vectors='plain'), 'tf-idf':dict(vectors='tfidf'), 'tuned with attributes left out':dict(vectors='rho0.4')}
    out['ablations'] = [row(d, 'llm-cfsr', k, seeds=3 if c else most('llm-cfsr', d), **c) for d in TEXT for k,c in cut.items()]+[row(d, 'summed', 'summed, shared words', settings=('words=2',)) for d in TEXT]+[r for d in TEXT for r in (row(d, 'llm-esr', seeds=most('llm-esr', d)), row(d, 'llm-esr', 'llm-esr, masks open as released', settings=('leaky=True',)), row(d, 'llm-init', 'llm-init, tuned with attributes left out', vectors='rho0.4'))]
    return out

def applied(row, best, seed):
    "A row with the options that were chosen, its change and a seed; a setting that is changed replaces the chosen one"
    from llmcfsr.ledger import Experiment
    change = dict(row.change); new = {s.partition('=')[0]:s for s in change.pop('settings', ())}
    settings = tuple({**{s.partition('=')[0]:s for s in best.options.settings}, **new}.values())
    if row.data!=best.data and best.options.encoder.endswith('.safetensors'): change.setdefault('encoder', best.options.encoder.replace(Path(best.data).name, Path(row.data).name))
    return Experiment(row.label, row.data, dataclasses.replace(best.options, settings=settings, seed=seed, **change))

def spoken_vectors(dataset, checkpoint, **options):
    "SAID's first stage: vectors after which SmolLM2 says the texts of the items, by few passes over the catalogue, since each takes a CPU long, and a longer step than the default for it"
    from llmcfsr.baselines.said import SAIDConfig, said_vectors
    from llmcfsr.completion import load_chat
    from llmcfsr.itemtable import ItemTable
    from llmcfsr.prompts import item_texts, template_for
    config = SAIDConfig(**{**dict(epochs=4, lr=.3), **options}); template = dataclasses.replace(template_for(dataset.catalog), opening=''); E = said_vectors(load_chat('smollm2', 'cpu'), item_texts(dataset.catalog, template), config, checkpoint); Path(checkpoint).unlink(missing_ok=True)
    return ItemTable(E, dict(encoder='smollm2', base='', adapter='', tune=dict(dataclasses.asdict(config), by='said')), dataset.interactions.items)

def preferred_vectors(dataset, checkpoint, steps=120):
    "TSLRec's first stage: a SASRec, then MiniLM tuned on the categories of items and on what users prefer among them, then the vectors of all items"
    from llmcfsr.adapters import add_lora
    from llmcfsr.baselines.attributes import attribute_table
    from llmcfsr.baselines.tslrec import TSLRecConfig, main_categories, tsl_task, tslrec_vectors
    from llmcfsr.itemtable import ItemTable
    from llmcfsr.prompts import item_texts, template_for
    from llmcfsr.recommender import Recommender
    from llmcfsr.split import leave_one_out
    from llmcfsr.textencoder import load_encoder
    before = Recommender(model='sasrec', **COMMON).fit(dataset).model; config = TSLRecConfig(steps=steps, hold=8192)
    task = tsl_task(leave_one_out(dataset.interactions), item_texts(dataset.catalog, template_for(dataset.catalog)), main_categories(attribute_table(dataset.catalog))[0], before)
    E = tslrec_vectors(add_lora(load_encoder('minilm')), task, config, checkpoint); Path(checkpoint).unlink(missing_ok=True)
    return ItemTable(E, dict(encoder='minilm', base='', adapter='', tune=dict(dataclasses.asdict(config), by='tslrec')), dataset.interactions.items)

def make_vectors(folder, experiments, load, shelf):
    "The tables of item vectors that experiments name, made where they are missing"
    from llmcfsr.recommender import Options, item_vectors
    for name in dict.fromkeys(x.options.encoder for x in experiments if x.options.encoder.endswith('.safetensors')):
        if (folder/name).exists(): continue
        source = next(x.data for x in experiments if x.options.encoder==name); d,_,kind = Path(name).stem.rpartition('-')
        tuned = dict(encoder='minilm', finetune=True, **TUNED.get(d, {})); how = dict(tfidf=dict(encoder='tfidf'), plain=dict(encoder='minilm'), tuned=tuned)
        if kind.startswith('rho'): how[kind] = dict(tuned, tune_rho=float(kind[3:]))        # the share of its attributes that a text leaves out while the encoder is tuned
        begun = time.perf_counter(); (folder/name).parent.mkdir(parents=True, exist_ok=True)
        if kind in FIRST: table = dict(tslrec=functools.partial(preferred_vectors, steps=TUNED[d]['tune_steps']), said=functools.partial(spoken_vectors, **SPOKEN.get(d, {})))[kind](load(source), folder/'vectors'/f'{d}.{kind}')
        else: table = item_vectors(load(source), Options(**how[kind]), shelf)
        table.save(folder/name)
        print(f'{name}: {table.E.shape[0]-1} x {table.E.shape[1]} in {time.perf_counter()-begun:.0f} s', flush=True)

def lines_in(folder):
    "The lines of a folder's ledger"
    from llmcfsr.ledger import read_ledger
    return read_ledger(folder/'ledger.jsonl')

def stages(x, trials):
    "What is tried for a base, stage by stage: step size and dropout for all alike, then the system's own setting at the best of them, for which every fourth trial is kept; pairs of space and draws"
    own = trials//4 if x.options.model in OWN else 0; first = {k:v for k,v in space_of(x.options.model).items() if k!='settings'}
    return [(first, trials-trials//4), *([(dict(settings=OWN[x.options.model]), own+1)] if own else [])]                # the best of the first stage is tried already

def budget(x, trials):
    "How many options that is: fewer than `trials` where a system has no more to try"
    from llmcfsr.ledger import draws
    return 1 if trials < 2 or x.options.model=='pop' else 1+sum(min(len(draws(space, 10**6)), n)-1 for space,n in stages(x, trials))

def chosen(row, trials, folder, load, shelf, known=False):
    "The base of a row with the options validation prefers; None if that is not `known` yet"
    from llmcfsr.ledger import choose, draws, find
    x = row.base
    if not row.search or trials < 2: return x
    for space,n in stages(x, trials):
        base = {k:getattr(x.options, k) for k in space}
        if known:
            d = load(x.data)
            if any(find(lines_in(folder), dataclasses.replace(x, options=dataclasses.replace(x.options, **o)), d.fingerprint, 'trial') is None for o in draws(space, n, 0, base)): return None
        x = choose(x, space, n, folder, shelf=shelf, data=load)[0]
    return x

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', help='plan, report, record, take, roads, or the name of a table: main, backbones, more, ids, steps, prior, balance, "balance and prior", losses, vectors, ablations'); p.add_argument('--root', required=True, help='folder of the data sets'); p.add_argument('--folder', required=True, help='where everything goes')
    p.add_argument('--seconds', type=float, help='begin nothing new after so many'); p.add_argument('--trials', type=int, default=8, help='options tried for each system on validation items (default 8: all six pairs of step size and dropout, then two of its own setting if it has one); 1 for no search')
    p.add_argument('--data', action='append', help='only these data sets'); p.add_argument('--systems', action='append', help='only the rows whose label begins so'); p.add_argument('--seeds', type=int, help='at most so many'); p.add_argument('--threads', type=int, default=1)
    p.add_argument('--to', default=Path(__file__).resolve().parent/'results'/'comparison.jsonl', help='file that `record` writes and `take` reads; ranks lie in the folder `ranks` beside it')
    a = p.parse_args(); root = Path(a.root).resolve(); folder = Path(a.folder); folder.mkdir(parents=True, exist_ok=True); folder = folder.resolve(); os.chdir(folder)
    import torch
    from llmcfsr.core import Shelf
    from llmcfsr.ledger import Data, work
    torch.set_num_threads(a.threads); load,shelf,every = Data(),Shelf(),tables(root)
    mine = lambda rows: [r._replace(seeds=min(r.seeds, a.seeds or r.seeds)) for r in rows if (not a.data or Path(r.data).name in a.data) and (not a.systems or any(r.label.startswith(l) for l in a.systems))]
    if a.what in ('plan', 'report'): return (plan if a.what=='plan' else report)({k:mine(v) for k,v in every.items()}, a.trials, folder, load, shelf)
    if a.what=='take': return take(a.to, root, folder, load)
    if a.what=='record': return record({k:mine(v) for k,v in every.items()}, a.trials, folder, load, shelf, a.to)
    if a.what=='roads': return roads(mine(every['main'])+[r for r in mine(every['steps']) if 'lr' in r.change], folder, load, shelf, Path(a.to).with_name('roads.jsonl'))
    if a.what not in every: p.error(f"{a.what!r} is no table: take one of {', '.join(every)}, or plan, report, record, take or roads")
    begun,rows = time.perf_counter(),mine(every[a.what]); over = lambda: a.seconds is not None and time.perf_counter()-begun > a.seconds
    for seed in range(max((r.seeds for r in rows), default=0)):                                # first seeds of all systems first
        for r in rows:
            if seed >= r.seeds or over(): continue
            make_vectors(folder, [r.base, applied(r, r.base, 0)], load, shelf); best = chosen(r, a.trials, folder, load, shelf)
            if over(): continue
            for e,line in work([applied(r, best, seed)], folder, shelf, data=load):
                m = line['metrics']['test']['full']; print(f"{line['data']} {e.label} seed {seed}: NDCG@10 {m['overall']['NDCG@10']:.4f}, tail {m['tail_item']['NDCG@10']:.4f}, {line['epochs']} epochs, {line['metrics']['seconds']['fit']:.0f} s", flush=True)

def runs_of(row, trials, folder, load, shelf):
    "Pairs (experiment, line) of a row that the ledger holds, its options chosen among so many"
    from llmcfsr.ledger import find
    if any(not Path(d).exists() and d!='ml-100k' for d in {row.data, row.base.data if row.search and trials > 1 else row.data}): return []
    best,lines = chosen(row, trials, folder, load, shelf, known=True),lines_in(folder)
    return [] if best is None else [(e, l) for s in range(row.seeds) if (l := find(lines, e := applied(row, best, s), load(row.data).fingerprint)) is not None]

def searched(every, trials, folder, load, shelf):
    "Name -> pairs (experiment, line) of what the ledger holds, and their trials: each table as it is without a search, and once more with it for the data sets whose rows were all searched"
    for name,rows in every.items():
        base = [runs_of(r, 1, folder, load, shelf) for r in rows]; yield name,[x for b in base for x in b],1
        if trials < 2: continue
        best = [runs_of(r, trials, folder, load, shelf) for r in rows]; whole = {r.data for r,b in zip(rows, best) if b and r.search}-{r.data for r,a,b in zip(rows, base, best) if a and not b}
        yield f'{name}, searched',[x for r,b in zip(rows, best) if r.data in whole for x in b],trials

def plan(every, trials, folder, load, shelf):
    "What each table needs, what is done, and how long the rest will take by what was measured"
    from llmcfsr.recommender import Options
    lines = lines_in(folder); took = {}                                                        # lines that `take` brought lack what is at its default
    for l in lines: took.setdefault((l['data'], l['options'].get('model', Options().model)), []).append(l['seconds']['fit'] if l['kind']=='trial' else l['metrics']['seconds']['fit'])
    for name,rows in every.items():
        done = [x for r in rows for x in runs_of(r, trials, folder, load, shelf)]; need = sum(r.seeds for r in rows)
        tries = sum(budget(x, trials) for x in {(r.base.data, r.base.options.model, r.base.options.encoder):r.base for r in rows if r.search}.values()) if trials > 1 else 0
        mean = [sum(v)/len(v) for k in {(Path(r.data).name, r.base.options.model) for r in rows} if (v := took.get(k))]; each = sum(mean)/len(mean) if mean else None
        print(f'{name}: {len(rows)} rows, {need} runs, {tries} trials; {len(done)} runs done'+(f', {each*(need-len(done))/3600:.1f} core-hours for the rest of the runs' if each else ''))

def report(every, trials, folder, load, shelf):
    "Tables, differences and figures of what the ledger holds"
    from matplotlib import pyplot as plt
    from llmcfsr.core import write_text
    from llmcfsr.experiment import markdown_table
    from llmcfsr.ledger import differences, leaderboard, plot_leaderboard
    for name,done,given in searched(every, trials, folder, load, shelf):
        if not done: continue
        text = [f'# {name}', f'Options tried for each system on validation items, at most: {given}', markdown_table(leaderboard(done)), '## Sampled ranking', markdown_table(leaderboard(done, ranking='sampled')), '## Users', markdown_table(leaderboard(done, groups=('tail_user', 'head_user')))]
        for d in dict.fromkeys(l['data'] for _,l in done):
            here = [(e, l) for e,l in done if l['data']==d]; first = next((e.label for e,_ in here if e.label.startswith('llm-cfsr')), None)
            if first and len({e.label for e,_ in here}) > 1: text += [f'## {first} against the others on {d}, NDCG@10', markdown_table(differences(here, folder, first).round(4))]
            ax = plot_leaderboard(here); ax.figure.savefig(folder/f'{name}-{d}.png', bbox_inches='tight'); plt.close(ax.figure)
        write_text(folder/f'{name}.md', '\n\n'.join(text)+'\n'); print('\n\n'.join(text[:3]))

GROUPS = ('overall', 'tail_item', 'head_item', 'tail_user', 'head_user', *(f'popularity_{g}' for g in range(1, 6))); METRICS = ('HR@10', 'NDCG@10', 'n', 'least', 'most'); COUNTS = ('above', 'tied')

def rounded(x, digits=7):
    "JSON with its numbers cut to so many decimals, enough that a table of four shows the same"
    if isinstance(x, dict): return {k:rounded(v, digits) for k,v in x.items()}
    return [rounded(v, digits) for v in x] if isinstance(x, list) else round(x, digits) if isinstance(x, float) else x

def slim(line):
    "A line of the ledger without what no table shows: fifths by popularity are kept of the full ranking of test items alone"
    from llmcfsr.recommender import Options
    default = json.loads(json.dumps(dataclasses.asdict(Options()))); out = {k:line[k] for k in ('kind', 'key', 'label', 'data', 'data_print', 'epochs', 'versions')}
    out['options'] = {k:v for k,v in line['options'].items() if v!=default.get(k)}
    if line['kind']=='trial': return dict(out, valid=line['valid'], seconds=line['seconds'], best_epoch=line['best_epoch'])
    m = line['metrics']; cut = lambda part, groups=GROUPS[:5]: {g:{k:part[g][k] for k in METRICS if k in part[g]} for g in groups if g in part}
    return dict(out, metrics=dict(**{k:m[k] for k in ('balance', 'prior') if k in m}, test={'full':cut(m['test']['full'], GROUPS), 'sampled':cut(m['test']['sampled'])}, valid={'full':cut(m['valid']['full'])}, parameters=m['parameters'], seconds=m['seconds']))

def beside(rows, head):
    "A Markdown table of {(data set, system): cells}, the large sets beside each other, the best overall first"
    sets = [d for d in TEXT if any(d==k for k,_ in rows)]; order = sorted(dict.fromkeys(k for _,k in rows), key=lambda k: [-float(rows[d, k][head.index('all')]) if (d, k) in rows else 0 for d in sets])
    line = lambda name, cells: f"| {' | '.join([name, *cells])} |".replace('|  ', '| ')
    return '\n'.join([line('', [f'`{d}`: {h}'*(not i) or h for d in sets for i,h in enumerate(head)]), '|---'*(1+len(head)*len(sets))+'|', *(line(k, [c for d in sets for c in rows.get((d, k), ['']*len(head))]) for k in order)])

def headline(lines):
    "The main table of recorded lines in few words, for the README: NDCG@10 on test items, means over the seeds that were run"
    from recorded import Recorded
    kept = Recorded(lines); seeds = lambda d, k: str(len(kept.by('row', table='main', data=d, label=k)))
    return beside({(d, k):[*(f'{x:.4f}' for x in m.values()), seeds(d, k)] for d in TEXT for k,m in kept.means('main', d).items()}, ['all', 'tail items', 'head items', 'seeds'])

def preferred(lines):
    "The same of the systems that were run in several ways, each as validation prefers it: contrast, half the step, one view, levels, a balance of the views"
    from recorded import Recorded, reached
    best = {d:Recorded(lines).preferred(d) for d in TEXT}; several = {s for of in best.values() for s,(_,_,n) in of.items() if n > 1}
    return beside({(d, s):[*(f'{x:.4f}' for x in reached(runs)), str(len(runs)), f'{how} (of {n})'] for d,of in best.items() for s,(how,runs,n) in of.items() if s in several}, ['all', 'tail items', 'head items', 'seeds', 'which'])

PARTS = ('', '_rows', '_trials', '_differences', '_prior', '_balance')

def part_of(line):
    "Which of the recorded files takes a line, so that none grows beyond a megabyte: what is weighed after training lies in files of its own, then rows, trials and differences, each kind in its own"
    said = [f'_{k}' for k in ('balance', 'prior') if (line['options'].get(k) if line['kind']=='run' else line.get('table', '').startswith(k))]
    return said[0] if said else f"_{line['kind']}s" if line['kind']!='run' else ''

def recorded(to):
    "All recorded lines"
    from llmcfsr.ledger import read_ledger
    return [l for p in PARTS for l in read_ledger(Path(to).with_stem(Path(to).stem+p))]

def ranks_file(to, key):
    "Where the ranks of a recorded run lie"
    return Path(to).parent/'ranks'/f'{key}.npz'

def keep_ranks(run, file):
    "The counts of a full ranking, user by user, in the smallest whole numbers that hold them"
    import numpy as np
    from llmcfsr.core import writing
    from llmcfsr.evaluate import RankTable
    table = RankTable.load(run/'ranks.parquet'); small = lambda x: x.astype(np.min_scalar_type(int(x.max())))
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing(file) as tmp, open(tmp, 'wb') as f: np.savez_compressed(f, **{k:small(getattr(table, k)) for k in COUNTS})

def restored_ranks(file, dataset):
    "The `RankTable` that `keep_ranks` took the counts from"
    import numpy as np
    from llmcfsr.evaluate import RankTable
    from llmcfsr.split import cases, head_tail, leave_one_out
    split = leave_one_out(dataset.interactions); c,g = cases(split, 'test'),head_tail(split)
    had = np.array([len({*h}-{t}) for h,t in zip(c.histories(np.arange(len(c.user))), c.target)])
    with np.load(file) as z: counts = {k:z[k].astype(np.int64) for k in COUNTS}
    return RankTable(user=c.user, target=c.target, **counts, n_candidates=dataset.interactions.n_items-had, history_length=g.length[c.user], popularity=g.popularity[c.target], tail_item=g.tail_item[c.target], tail_user=g.tail_user[c.user])

def take(to, root, folder, load):
    "Put recorded trials and runs into a folder that lacks them; a run whose ranks were not kept is left out, and so made again"
    from llmcfsr.ledger import add_line, read_ledger
    ledger = folder/'ledger.jsonl'; there = {(l['kind'], l['key']) for l in read_ledger(ledger)}; counts,without = dict(run=0, trial=0),0
    for l in recorded(to):
        if l['kind'] not in counts or (l['kind'], l['key']) in there: continue
        source = l['data'] if l['data']=='ml-100k' else root/l['data']
        if l['data']!='ml-100k' and not source.exists(): without += 1; continue
        d = load(str(source))
        if d.fingerprint!=l['data_print'] or l['kind']=='run' and not ranks_file(to, l['key']).exists(): without += 1; continue
        if l['kind']=='run': out = folder/'runs'/l['key']; out.mkdir(parents=True, exist_ok=True); restored_ranks(ranks_file(to, l['key']), d).save(out/'ranks.parquet', d.interactions)
        add_line(ledger, l); counts[l['kind']] += 1
    print(f"{folder}: {counts['trial']} trials and {counts['run']} runs taken over from {to}; {without} left out, since their data or ranks are not there or their data is another")

def record(every, trials, folder, load, shelf, to):
    "All trials, all runs with their ranks, which row has which runs, and the differences to LLM-CFSR over users and seeds, as JSON lines"
    from llmcfsr.core import InputError, write_text
    from llmcfsr.ledger import differences, read_ledger
    held = read_ledger(folder/'ledger.jsonl'); lines,runs,rows = [slim(l) for l in held if l['kind']=='trial'],{l['key']:slim(l) for l in held if l['kind']=='run'},[]
    lost = {(l['kind'], l['key']) for l in recorded(to) if l['kind']=='trial' or l['kind']=='run' and ranks_file(to, l['key']).exists()}-{(l['kind'], l['key']) for l in held}
    if lost: raise InputError(f"{to} holds {len(lost)} runs and trials that {folder} lacks: `take` them first, or write to another file with --to")
    for name,done,given in searched(every, trials, folder, load, shelf):
        done = [x for x in done if x[1]['key'] in runs]                                        # another process may have added to the ledger since
        rows += [dict(kind='row', table=name, label=e.label, data=l['data'], key=l['key'], trials=budget(e, given)) for e,l in done]
        for d in dict.fromkeys(l['data'] for _,l in done):
            here = [(e, l) for e,l in done if l['data']==d]; first = next((e.label for e,_ in here if e.label.startswith('llm-cfsr')), None)
            if first is None or len({e.label for e,_ in here}) < 2: continue
            for one in dict.fromkeys([first, *(e.label for e,_ in here if e.label.startswith(VARIANT))]): rows += [dict(kind='difference', table=name, data=d, system=one, **{k:None if v!=v else v for k,v in r.items()}) for r in differences(here, folder, one).reset_index().to_dict('records')]
    for key in runs: keep_ranks(folder/'runs'/key, ranks_file(to, key))
    said = lambda l: json.dumps(l if l['kind']=='row' else dict(l, **rounded({k:v for k,v in l.items() if k!='options'})), ensure_ascii=False, separators=(',', ':'))+'\n'
    for p in PARTS:
        if some := [said(l) for l in [*lines, *runs.values(), *rows] if part_of(l)==p]: write_text(Path(to).with_stem(Path(to).stem+p), ''.join(some))
    print(f'{to}: {len(lines)} trials, {len(runs)} runs, {len(rows)} rows and differences', headline([*runs.values(), *rows]), sep='\n')

def last_learned(split):
    "As cases what was learned last of each user: the newest item of the training part, after those before it"
    from llmcfsr.split import Cases, cases
    c = cases(split, 'valid'); upto = c.upto-1; known = upto>split.inter.start[c.user]
    return Cases(c.user[known], split.inter.item[upto[known]], upto[known], split.inter)

def roads(rows, folder, load, shelf, to):
    "What the models that rows without a search have kept reach under priors from -1 to 1, as JSON lines: on targets they were trained on, on validation and on test items, the last for looking at alone"
    from llmcfsr.core import write_text
    from llmcfsr.ledger import read_ledger
    from llmcfsr.prior import road
    from llmcfsr.recommender import Recommender
    from llmcfsr.split import cases, head_tail, leave_one_out
    lines = {(l['key'], l['part']):l for l in read_ledger(to)}; weights = [w/10 for w in range(-10, 11)]
    for e,l in [x for r in rows for x in runs_of(r, 1, folder, load, shelf)]:
        model = folder/'runs'/l['key']/'model'
        if (l['key'], 'test') in lines or not (model/'config.json').exists() or e.options.model=='pop': continue
        split = leave_one_out(load(e.data).interactions); scorer = Recommender.from_pretrained(model).set_prior(0.).scorer
        for part,c in (('learned', last_learned(split)), *((p, cases(split, p)) for p in ('valid', 'test'))): lines[l['key'],part] = dict(kind='road', key=l['key'], label=e.label, data=l['data'], seed=e.options.seed, part=part, **rounded(road(scorer, c, head_tail(split), weights).reset_index().to_dict('list'), 6))
        write_text(to, ''.join(json.dumps(x, separators=(',', ':'))+'\n' for x in lines.values())); print(f"{l['data']} {e.label} seed {e.options.seed}", flush=True)

if __name__=='__main__': main()
