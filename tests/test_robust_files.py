"Files that are damaged, foreign, of other versions, hostile or cannot be written: one line that names the file and the mend, and nothing half done"
import errno, io, json, os, pickle, resource, shutil, signal, subprocess, sys, zipfile
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest, torch
from safetensors.numpy import load_file, save_file
from llmcfsr.adapters import add_lora, load_adapter, save_adapter
from llmcfsr.cli import main
from llmcfsr.completion import load_chat
from llmcfsr.contrastive import load_tuning, save_tuning
from llmcfsr.core import InputError, Shelf, holding, read_json, save_tensors, write_json
from llmcfsr.datasets import Dataset, load_dataset, save_dataset
from llmcfsr.evaluate import RankTable, rank_cases
from llmcfsr.experiment import read_runs, run
from llmcfsr.itemtable import ItemTable, export_table
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.recommender import Options, Recommender
from llmcfsr.split import cases, draw_candidates, head_tail, leave_one_out, load_candidates
from llmcfsr.textencoder import load_encoder, tiny_encoder

SMALL = dict(encoder='tfidf', dim=4, blocks=1, epochs=2, batch_size=16, max_len=12, seed=1)
WORLD = planted_world(seed=5, topics=2, users=24, head=3, tail=5)
SHOP = Dataset('shop', WORLD.interactions, WORLD.catalog); ITEMS = SHOP.interactions.items
CASES = cases(leave_one_out(SHOP.interactions), 'test')

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "One of each file, and a function for each that reads it into something that can be compared"
    d = tmp_path_factory.mktemp('made'); rec = Recommender(model='llm-cfsr', **SMALL).fit(SHOP, checkpoint=d/'checkpoint'); rec.save_pretrained(d/'model')
    E = np.zeros((len(ITEMS), 5), 'f4'); E[1:] = np.random.default_rng(0).normal(size=(len(ITEMS)-1, 5)); table = ItemTable(E, dict(encoder='x'), ITEMS); table.save(d/'table.safetensors')
    np.save(d/'table.npy', E); write_json(d/'table.npy.json', dict(how={}, items=[str(i) for i in ITEMS]))
    drawn = draw_candidates(leave_one_out(SHOP.interactions), 'test', k=4); drawn.save(d/'candidates.safetensors'); rank_cases(rec.scorer, CASES, head_tail(leave_one_out(SHOP.interactions))).full.save(d/'ranks.parquet', SHOP.interactions)
    w = [torch.nn.Parameter(torch.ones(3))]; o = torch.optim.AdamW(w); w[0].sum().backward(); o.step(); save_tuning(d/'run.tuning', 'key', w, o, [dict(step=0, loss=1.)])
    Shelf(d/'shelf').put('aakey', dict(E=E), dict(how=1)); return d

def resumed(folder): rec = Recommender(model='llm-cfsr', **SMALL).fit(SHOP, checkpoint=folder, resume=True); return [{k:v.numpy() for k,v in rec.model.state_dict().items()}, [r['loss'] for r in rec.records]]
def tuning(path): w = [torch.nn.Parameter(torch.zeros(3))]; o = torch.optim.AdamW(w); r = load_tuning(path, 'key', w, o); return [r, w[0].detach().numpy(), *(o.state[w[0]][k].numpy() for k in ('step', 'exp_avg', 'exp_avg_sq'))]
def model(folder): rec = Recommender.from_pretrained(folder); return [rec.items, rec.labels, rec.popularity, rec.options, rec.data, rec.table, rec.scores([rec.items[:3]])]
def on_shelf(root):
    got = Shelf(root).get('aakey')
    if got is None: raise InputError('absent')
    return list(got)
KINDS = {'item table':('table.safetensors', 'table.safetensors', lambda p: list(vars(ItemTable.load(p, items=ITEMS)).values())), 'candidates':('candidates.safetensors', 'candidates.safetensors', lambda p: [load_candidates(p, CASES).negative]), 'ranks':('ranks.parquet', 'ranks.parquet', lambda p: list(vars(RankTable.load(p)).values())),
    'weights':('model', 'model/model.safetensors', model), 'model config':('model', 'model/config.json', model), 'model items':('model', 'model/items.json', model), 'model titles':('model', 'model/labels.json', model), 'checkpoint':('checkpoint', 'checkpoint/epoch-2.safetensors', resumed), 'checkpoint note':('checkpoint', 'checkpoint/run.json', resumed),
    'tuning':('run.tuning', 'run.tuning', tuning), 'shelf':('shelf', 'shelf/aa/aakey.safetensors', on_shelf)}
kinds = pytest.mark.parametrize('kind', KINDS)

def same(a, b):
    if isinstance(a, np.ndarray): return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, (list, tuple)): return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict): return isinstance(b, dict) and a.keys() == b.keys() and all(same(v, b[k]) for k,v in a.items())
    return a == b

def copied(made, kind, tmp_path):
    top,name,read = KINDS[kind]
    if (made/top).is_dir(): shutil.copytree(made/top, tmp_path/top)
    else: shutil.copy(made/top, tmp_path/top)
    return tmp_path/top,tmp_path/name,read

def refused(read, path, file):
    "One line that names the file or its folder; the shelf, which only forgets, says nothing"
    with pytest.raises(InputError) as e: read(path)
    said = str(e.value); assert '\n' not in said.strip() and (str(file) in said or str(file.parent) in said or said == 'absent'), said
    return said

@kinds
def test_every_flipped_bit(kind, made, tmp_path):
    "Bits are turned over one at a time, some hundred a file and every one of its first and last bytes: what is read is the same, or refused"
    path,file,read = copied(made, kind, tmp_path); want,raw = read(path),file.read_bytes(); n,some = 0,120 if kind not in ('checkpoint', 'checkpoint note') else 25
    edge = 8 if some == 25 else 60; bits = sorted({*range(edge), *range(8*len(raw)-edge, 8*len(raw)), *np.random.default_rng(7).integers(8*len(raw), size=some).tolist()})
    for bit in bits:
        torn = bytearray(raw); torn[bit//8] ^= 1<<bit%8; file.write_bytes(torn)
        try: got = read(path)
        except InputError as e: n += 1; assert '\n' not in str(e).strip()
        else: assert same(want, got), f'bit {bit} of {len(raw)} bytes changed what is read, unseen'
    assert n > .9*len(bits) or kind in ('ranks', 'model config', 'model titles', 'model items', 'checkpoint note') and n > len(bits)//2

@kinds
@pytest.mark.parametrize('torn', ['empty', 'half', 'one byte short', 'zeros', 'a folder', 'a link to itself', 'missing', 'a huge header', 'text'])
def test_torn(kind, torn, made, tmp_path):
    path,file,read = copied(made, kind, tmp_path); raw = file.read_bytes(); file.unlink()
    if torn == 'a folder': file.mkdir()
    elif torn == 'a link to itself': file.symlink_to(file.name)
    elif torn != 'missing': file.write_bytes({'empty':b'', 'half':raw[:len(raw)//2], 'one byte short':raw.rstrip()[:-1], 'zeros':bytes(len(raw)), 'a huge header':(2**62).to_bytes(8, 'little')+raw[8:], 'text':b'no such thing\n'}[torn])
    if kind == 'checkpoint note' and torn in ('missing', 'a link to itself'): assert len(read(path)) == 2; return       # no note, no run: it begins anew
    refused(read, path, file)

def altered(file, change, **note):
    "The tensors of a file, changed, under a checksum that is right: a tool wrote them so"
    t = load_file(file); change(t); save_tensors(file, t, note)
def put(name, f): return lambda t: t.__setitem__(name, f(t[name]))
def hole(x, v): x = x.copy(); x.flat[-1] = v; return x
NOTE = dict(how='{}', items=json.dumps([str(i) for i in ITEMS]))
WRONG = {
    'NaN':(put('E', lambda E: hole(E, np.nan)), NOTE, f'not finite, the first is item {len(ITEMS)-1}'), 'infinity':(put('E', lambda E: hole(E, np.inf)), NOTE, 'not finite'), 'doubles':(put('E', lambda E: E.astype('f8')), NOTE, 'float64'), 'halves':(put('E', lambda E: E.astype('f2')), NOTE, 'float16'), 'whole numbers':(put('E', lambda E: E.astype('i4')), NOTE, 'int32'),
    'no padding row':(put('E', lambda E: E[1:]), dict(NOTE, items=json.dumps([str(i) for i in ITEMS[1:]])), 'row 0'), 'one axis':(put('E', lambda E: E[:,0]), NOTE, r'\[V\+1,M\]'), 'fewer rows than ids':(put('E', lambda E: E[:-1]), NOTE, 'item ids for'), 'fewer items':(put('E', lambda E: E[:-2]), dict(NOTE, items=json.dumps([str(i) for i in ITEMS[:-2]])), 'has no row for 2 of'),
    'no ids and fewer items':(put('E', lambda E: E[:-2]), dict(NOTE, items='null'), 'embed this data set again'), 'ids of other data':(lambda t: None, dict(NOTE, items=json.dumps(['']+[f'x{i}' for i in range(1, len(ITEMS))])), 'has no row for'), 'an id twice':(lambda t: None, dict(NOTE, items=json.dumps([str(i) for i in [*ITEMS[:-1], ITEMS[1]]])), 'two rows of one id|has no row'),
    'another name':(lambda t: t.__setitem__('F', t.pop('E')), NOTE, 'is not an item table'), 'no note':(lambda t: None, {}, 'is not an item table'), 'a note that is no JSON':(lambda t: None, dict(NOTE, how='{'), 'is not an item table'), 'ids that are no list':(lambda t: None, dict(NOTE, items='7'), 'is not an item table'), 'ids that are numbers':(lambda t: None, dict(NOTE, items=json.dumps([*range(len(ITEMS))])), 'is not an item table'),
}

@pytest.mark.parametrize('case', WRONG)
def test_wrong_content(case, made, tmp_path, capsys):
    "Item tables with a checksum that is right and a content that is wrong, through the loader and through `llmcfsr fit --encoder FILE`"
    change,note,said = WRONG[case]; file = tmp_path/'t.safetensors'; shutil.copy(made/'table.safetensors', file); altered(file, change, **note)
    with pytest.raises(InputError, match=said) as e: ItemTable.load(file, items=ITEMS)
    assert str(file) in str(e.value); save_dataset(SHOP, tmp_path/'shop')
    assert main(['fit', str(tmp_path/'shop'), '--unseen-items', 'keep', '--encoder', str(file), '--out', str(tmp_path/'run')]) == 2 and capsys.readouterr().err.count('\n') == 1

def test_another_order_is_put_right(made, tmp_path):
    "Rows belong to ids, not to places"
    file = tmp_path/'t.safetensors'; shutil.copy(made/'table.safetensors', file); order = [0, *np.random.default_rng(0).permutation(np.arange(1, len(ITEMS)))]
    altered(file, put('E', lambda E: E[order]), how='{}', items=json.dumps([str(ITEMS[i]) for i in order])); assert (ItemTable.load(file, items=ITEMS).E == load_file(made/'table.safetensors')['E']).all()

@pytest.mark.parametrize('change,said', [(put('model.semantic.E', lambda E: hole(E, np.nan)), 'not finite'), (put('popularity', lambda p: p[:-1]), 'does not fit'), (put('popularity', lambda p: p.astype('f8')), 'does not fit'), (lambda t: t.pop('popularity'), 'does not fit'), (lambda t: t.pop(sorted(t)[0]), 'does not fit'), (put('model.semantic.E', lambda E: E[:-1]), 'does not fit'), (lambda t: t.__setitem__('model.more', np.ones(3, 'f4')), 'does not fit')])
def test_wrong_weights(change, said, made, tmp_path):
    shutil.copytree(made/'model', tmp_path/'m'); file = tmp_path/'m/model.safetensors'; names = load_file(file); E = next(k for k in names if k.endswith('.E'))
    def on(t):
        if E != 'model.semantic.E': t['model.semantic.E'] = t.pop(E)
        change(t)
        if E != 'model.semantic.E' and 'model.semantic.E' in t: t[E] = t.pop('model.semantic.E')
    altered(file, on, config=read_json(tmp_path/'m/config.json')['print'])
    with pytest.raises(InputError, match=said) as e: Recommender.from_pretrained(tmp_path/'m')
    assert str(file) in str(e.value)

def test_weights_of_another_model(made, tmp_path):
    Recommender(model='llm-cfsr', **{**SMALL, 'seed':2}).fit(SHOP).save_pretrained(tmp_path/'m'); shutil.copy(made/'model/model.safetensors', tmp_path/'m')
    with pytest.raises(InputError, match='belongs to another model'): Recommender.from_pretrained(tmp_path/'m')

@pytest.mark.parametrize('change,said', [(lambda t: t.assign(above=t.above+.5), "column 'above' holds float64"), (lambda t: t.assign(tied=[None, *t.tied[1:]]), 'with gaps'), (lambda t: t.assign(user=range(len(t))), 'ids as text'), (lambda t: t.assign(tail_item=1), 'true or false'), (lambda t: t.assign(above=10**9), 'more candidates'), (lambda t: t.assign(above=-1), 'more candidates'), (lambda t: t.drop(columns='tied'), "no column 'tied'"), (lambda t: t.assign(user=[None, *t.user[1:]]), 'with gaps')])
def test_wrong_ranks(change, said, made, tmp_path):
    change(pd.read_parquet(made/'ranks.parquet')).to_parquet(tmp_path/'r.parquet')
    with pytest.raises(InputError, match=said) as e: RankTable.load(tmp_path/'r.parquet')
    assert str(tmp_path/'r.parquet') in str(e.value)

# ---- nothing that is handed in is run

class Trap:
    "What a pickle of it does when it is opened"
    def __init__(self, flag): self.flag = flag
    def __reduce__(self): return (Path.touch, (Path(self.flag),))
def pickled(flag): return pickle.dumps(Trap(flag))
def npy(flag): b = io.BytesIO(); np.save(b, np.array([Trap(flag)], object), allow_pickle=True); return b.getvalue()
def pt(flag): b = io.BytesIO(); torch.save(Trap(flag), b); return b.getvalue()
def npz(flag):
    b = io.BytesIO(); np.savez(b, E=np.array([Trap(flag)], object)); return b.getvalue()
def arrow_extension(flag):
    field = pa.field('user', pa.binary(), metadata={b'ARROW:extension:name':b'arrow.py_extension_type', b'ARROW:extension:metadata':pickled(flag)}); b = io.BytesIO()
    pq.write_table(pa.table([pa.array([b'a'])], schema=pa.schema([field])), b); return b.getvalue()
PAYLOADS = dict(pickle=pickled, npy=npy, npz=npz, pt=pt, parquet=arrow_extension)
CODE = 'from pathlib import Path\nPath({flag!r}).touch()\nfrom transformers import LlamaConfig as Config, LlamaModel as Model\n'

def tiny_folder(folder):
    "An encoder as transformers stores it"
    e = tiny_encoder(['one word', 'two words']); e.model.save_pretrained(folder); e.tokenizer.save_pretrained(folder); return folder

@pytest.mark.parametrize('payload', PAYLOADS)
def test_nothing_is_run(payload, made, tmp_path, capsys, monkeypatch):
    "A file that would make another one when it is unpickled, in every place that takes a file: none of them unpickles it"
    flag = tmp_path/'flag'; bad = PAYLOADS[payload](flag); tried = 0
    def refuse(f, *args, **kwargs):
        nonlocal tried; tried += 1
        with pytest.raises(InputError): f(*args, **kwargs)
        assert not flag.exists()
    for end in ('.npy', '.safetensors', '.pt', '.pkl', '.bin', '.npz'):
        file = tmp_path/f't{end}'; file.write_bytes(bad); write_json(f'{file}.json', dict(how={}, items=None)); refuse(ItemTable.load, file); refuse(load_encoder, str(file))
    for kind in KINDS:
        (tmp_path/kind).mkdir(); path,file,read = copied(made, kind, tmp_path/kind); file.write_bytes(bad); refuse(read, path)
    save_dataset(SHOP, tmp_path/'shop')
    for name in ('inter.txt', 'item_attributes.jsonl'): raw = (tmp_path/'shop'/name).read_bytes(); (tmp_path/'shop'/name).write_bytes(bad); refuse(load_dataset, tmp_path/'shop'); (tmp_path/'shop'/name).write_bytes(raw)
    folder = tiny_folder(tmp_path/'encoder'); (folder/'model.safetensors').unlink(); (folder/'pytorch_model.bin').write_bytes(bad); refuse(load_encoder, str(folder)); refuse(load_chat, str(folder))
    (folder/'model.safetensors').write_bytes(bad); refuse(load_encoder, str(folder)); refuse(load_chat, str(folder))
    encoder = tiny_encoder(['one word']); tuned = add_lora(tiny_encoder(['one word'])); save_adapter(tuned, tmp_path/'adapter'); (tmp_path/'adapter/adapter_model.safetensors').unlink(); (tmp_path/'adapter/adapter_model.bin').write_bytes(bad); refuse(load_adapter, encoder, tmp_path/'adapter')
    (tmp_path/'adapter/adapter_model.safetensors').write_bytes(bad); refuse(load_adapter, tiny_encoder(['one word']), tmp_path/'adapter')
    assert tried > 25 and not flag.exists()

def test_the_trap_works(tmp_path):
    "The payloads above do harm where they are unpickled: the test before can fail"
    for n,(name,make) in enumerate(PAYLOADS.items()):
        flag = tmp_path/str(n); raw = make(flag)
        try: dict(pickle=lambda: pickle.loads(raw), npy=lambda: np.load(io.BytesIO(raw), allow_pickle=True), npz=lambda: np.load(io.BytesIO(raw), allow_pickle=True)['E'], pt=lambda: torch.load(io.BytesIO(raw), weights_only=False), parquet=lambda: pickle.loads(pq.read_schema(io.BytesIO(raw)).field('user').metadata[b'ARROW:extension:metadata']))[name]()
        except Exception: pass
        assert flag.exists(), name

@pytest.mark.parametrize('answer', ['y\n', ''])
@pytest.mark.parametrize('load', [load_encoder, load_chat])
def test_code_in_a_model_folder_is_not_run(load, answer, tmp_path, monkeypatch):
    "Nor is anybody asked whether it shall"
    flag = tmp_path/'flag'; folder = tiny_folder(tmp_path/'encoder'); (folder/'own.py').write_text(CODE.format(flag=str(flag))); config = read_json(folder/'config.json')
    monkeypatch.setattr('sys.stdin', io.StringIO(answer)); write_json(folder/'config.json', {**config, 'model_type':'own', 'auto_map':dict(AutoConfig='own.Config', AutoModel='own.Model', AutoModelForCausalLM='own.Model')})
    with pytest.raises(InputError): load(str(folder))
    assert not flag.exists() and sys.stdin.tell() == 0

def test_an_encoder_with_lost_weights(tmp_path):
    "transformers would put random numbers in their place"
    folder = tiny_folder(tmp_path/'encoder'); assert load_encoder(str(folder)).width == 48
    t = load_file(folder/'model.safetensors'); t.pop('layers.0.mlp.up_proj.weight'); save_file(t, folder/'model.safetensors', metadata=dict(format='pt'))
    with pytest.raises(InputError, match='1 of its weights are not in its files, the first is layers.0.mlp.up_proj.weight'): load_encoder(str(folder))

# ---- folders of other versions

def edited(file, **change): write_json(file, {**read_json(file), **change})
def option(k, v): return lambda m: (lambda c: write_json(m/'config.json', {**{a:b for a,b in c.items() if a != 'print'}, 'options':{**c['options'], k:v}}))(read_json(m/'config.json'))
FOREIGN = {
    'a later version':(lambda m: edited(m/'config.json', format='llmcfsr-model-9'), ('config.json', 'a later version', 'llmcfsr-model-9', 'update llmcfsr')), 'an earlier version':(lambda m: edited(m/'config.json', format='llmcfsr-model-0'), ('an earlier version', 'make it again')), 'another package':(lambda m: write_json(m/'config.json', dict(model_type='bert')), ('is not a model of this package',)), 'a list':(lambda m: write_json(m/'config.json', []), ('is not a model',)),
    'an option to come':(option('warp', 9), ("the option 'warp'", 'does not know', 'update llmcfsr')), 'text for a number':(option('dim', '64'), ("dim='64' must be a whole number", 'config.json')), 'a number beyond bounds':(option('dropout', 7), ('dropout=7', 'config.json')), 'null':(option('heads', None), ('heads=None',)), 'a number for text':(option('model', 3), ('model=3 must be text',)), 'true for a number':(option('blocks', True), ('blocks=True',)), 'a number for a list':(option('fuse', 5), ('fuse=5',)), 'NaN':(option('lr', 'NaN'), ("lr='NaN'",)), 'another width':(option('dim', 8), ('does not fit', 'model.safetensors', 'another model')),
    'an edited setting':(lambda m: (lambda c: write_json(m/'config.json', {**c, 'options':{**c['options'], 'max_len':3}}))(read_json(m/'config.json')), ('config.json was altered',)), 'no options':(lambda m: (lambda c: (c.pop('options'), write_json(m/'config.json', c)))(read_json(m/'config.json')), ('lacks what a model is told by',)),
    'other items':(lambda m: write_json(m/'items.json', ['a', 'b']), ('items.json', 'is not the catalogue')), 'items that are no list':(lambda m: write_json(m/'items.json', 3), ('is not the catalogue',)), 'titles that are no titles':(lambda m: write_json(m/'labels.json', []), ('labels.json',)), 'deep JSON':(lambda m: (m/'config.json').write_text('['*10**5), ('not valid JSON',)),
}

@pytest.mark.parametrize('case', FOREIGN)
def test_foreign_models(case, made, tmp_path):
    change,said = FOREIGN[case]; shutil.copytree(made/'model', tmp_path/'m'); change(tmp_path/'m')
    with pytest.raises(InputError) as e: Recommender.from_pretrained(tmp_path/'m')
    assert any(s in str(e.value) for s in said) if case == 'another width' else all(s in str(e.value) for s in said), str(e.value)

def test_missing_options_have_their_defaults(made, tmp_path):
    "As a folder of a version that did not know them yet"
    shutil.copytree(made/'model', tmp_path/'m'); c = read_json(tmp_path/'m/config.json'); c.pop('print')
    for k in ('calibration', 'tune_mix', 'precision'): c['options'].pop(k)
    write_json(tmp_path/'m/config.json', c); t = load_file(tmp_path/'m/model.safetensors'); save_file(t, tmp_path/'m/model.safetensors')
    assert (Recommender.from_pretrained(tmp_path/'m').scores([[ITEMS[1]]]) == Recommender.from_pretrained(made/'model').scores([[ITEMS[1]]])).all()

@pytest.fixture(scope='module')
def ran(tmp_path_factory): d = tmp_path_factory.mktemp('ran'); run(SHOP, Options(model='pop'), d/'run', source='planted'); return d/'run'

RUNS = {
    'of a later version':(lambda r: edited(r/'config.json', format='llmcfsr-run-9'), 'a later version'), 'of an earlier version':(lambda r: edited(r/'config.json', format='llmcfsr-run-0'), 'an earlier version'), 'a model folder':(lambda r: shutil.copy(r/'model/config.json', r/'config.json'), 'is not of a run folder'), 'no data':(lambda r: edited(r/'config.json', data=None), 'lacks what a run is told by'), 'no config':(lambda r: (r/'config.json').unlink(), 'does not exist'),
    'half a config':(lambda r: (r/'config.json').write_text('{"format": "llmcfsr-run-1",'), 'not valid JSON'), 'no model':(lambda r: shutil.rmtree(r/'model'), 'not finished'), 'model of a later version':(lambda r: edited(r/'model/config.json', format='llmcfsr-model-9'), 'a later version'), 'config is a folder':(lambda r: ((r/'config.json').unlink(), (r/'config.json').mkdir()), 'cannot be read'),
}

@pytest.mark.parametrize('case', RUNS)
def test_foreign_runs(case, ran, tmp_path, capsys):
    "Whatever is asked of it: exit code 2 and one line"
    change,said = RUNS[case]; shutil.copytree(ran, tmp_path/'run'); change(tmp_path/'run'); r = str(tmp_path/'run'); capsys.readouterr(); before = tree(tmp_path)
    asked = [['recommend', r, '--history', str(ITEMS[1])]]+([['evaluate', r, '--data', 'planted']] if 'model' not in case else [])+([['compare', r, str(ran)], ['fit', 'planted', '--model', 'pop', '--out', r, '--resume']] if 'model' not in case or case == 'a model folder' else [])
    for argv in asked:
        assert main(argv) == 2, argv; out,err = capsys.readouterr(); assert out == '' and err.count('\n') == 1 and 'Traceback' not in err, (argv, err)
        assert ('items.json does not exist' if case == 'a model folder' and argv[0] == 'recommend' else said) in err, (argv, err)      # a model folder may be recommended from
    assert tree(tmp_path) == before

@pytest.mark.parametrize('case,said', [('empty', 'not valid JSON'), ('list', 'does not hold the metrics'), ('flat', 'does not hold the metrics'), ('missing', 'has no metrics.json')])
def test_foreign_metrics(case, said, ran, tmp_path):
    shutil.copytree(ran, tmp_path/'run'); f = tmp_path/'run/metrics.json'
    f.unlink() if case == 'missing' else f.write_text(dict(empty='', list='[]', flat='{"test": {"full": 3}, "valid": {}, "seconds": {}}')[case])
    with pytest.raises(InputError, match=said): read_runs([tmp_path/'run'])

def test_two_writers(ran, tmp_path, capsys, forks):
    "The second gets one line; the lock ends with the process that held it, however it ended"
    shutil.copytree(ran, tmp_path/'run'); argv = ['fit', 'planted', '--model', 'pop', '--out', str(tmp_path/'run'), '--resume']
    first = forks.start('import time\nfrom llmcfsr.core import holding\nwith holding(argv[0]): print("held", flush=True); time.sleep(100)', tmp_path/'run')
    while 'held' not in first.said(): assert first.running()
    capsys.readouterr(); assert main(argv) == 2 and 'another process is writing into' in capsys.readouterr().err
    first.kill(); assert first.wait() == -9; main(argv); assert 'another process' not in capsys.readouterr().err
    with holding(tmp_path/'run'): pass

# ---- what cannot be written

def tree(d): return {p.relative_to(d).as_posix():p.read_bytes() if p.is_file() else None for p in sorted(Path(d).rglob('*')) if p.name != '.lock'}
WRITE = {
    'save_pretrained':(lambda made: (lambda rec: rec.save_pretrained)(Recommender.from_pretrained(made/'model')), 'folder'), 'save_dataset':(lambda made: lambda p: save_dataset(SHOP, p), 'folder'), 'ItemTable.save':(lambda made: ItemTable.load(made/'table.safetensors').save, 't.safetensors'), 'Candidates.save':(lambda made: load_candidates(made/'candidates.safetensors', CASES).save, 'c.safetensors'),
    'RankTable.save':(lambda made: RankTable.load(made/'ranks.parquet').save, 'r.parquet'), 'write_json':(lambda made: lambda p: write_json(p, 'x'*5000), 'x.json'), 'export_table':(lambda made: (lambda texts: lambda p: export_table(tiny_encoder(texts), texts, p))(item_texts(WORLD.catalog)), 't.npy'), 'shelf':(lambda made: lambda p: Shelf(p).put('aakey', dict(E=np.ones((30, 30))), {}), 'shelf'),
    'run':(lambda made: lambda p: run(SHOP, Options(model='pop'), p, resume=True), 'run'), 'checkpoint':(lambda made: lambda p: Recommender(model='sasrec', **SMALL).fit(SHOP, checkpoint=p), 'checkpoint'), 'save_adapter':(lambda made: (lambda e: lambda p: save_adapter(e, p))(add_lora(tiny_encoder(['a b']))), 'adapter'),
}
writers = pytest.mark.parametrize('name', WRITE)

def one_line(e, *said): assert '\n' not in str(e.value) and all(s in str(e.value) for s in said), str(e.value)

FULL = '''
import json, sys
sys.path.insert(0, argv[2])
import test_robust_files as t
from pathlib import Path
from llmcfsr.core import InputError
import resource
write,name = t.WRITE[argv[0]]; made,folder = map(Path, argv[1].split('|')); f = write(made)
soft,hard = resource.getrlimit(resource.RLIMIT_FSIZE)
if argv[3] == 'limit': resource.setrlimit(resource.RLIMIT_FSIZE, (int(argv[4]), hard))
said = 'DONE'
try: f(folder/name)
except InputError as e: said = f'TOLD {e}'
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)); print(said)
'''

@writers
def test_too_large(name, made, tmp_path, forks):
    "No file may grow past some size: one line that names the place, and what lay there is unchanged"
    d = tmp_path/'d'; d.mkdir(); WRITE[name][0](made)(d/WRITE[name][1]) if name not in ('run', 'checkpoint') else None; before = tree(d)
    if name in ('run', 'checkpoint'): (tmp_path/'w').mkdir(); p = forks.start(FULL, name, f'{made}|{tmp_path/"w"}', Path(__file__).parent, 'limit', 2**40); assert p.wait() == 0, p.said()[-2000:]       # compiled loops are cached before files are small
    p = forks.start(FULL, name, f'{made}|{d}', Path(__file__).parent, 'limit', 100); assert p.wait() == 0, p.said()[-2000:]
    said = p.said(); assert said.startswith('TOLD') and said.count('\n') == 1 and str(d) in said and 'cannot be written' in said and ('raise the limit' in said or 'free some space' in said), said
    after = tree(d); assert after == before if name not in ('run', 'checkpoint') else not [k for k in after if '.tmp' in k or after[k]]

def mounted(folder):
    "A file system of 64 kB, where we may make one"
    folder.mkdir(); r = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(folder)], capture_output=True, text=True) if shutil.which('mount') else None
    if r is None or r.returncode: pytest.skip(f"a small file system cannot be mounted here ({r.stderr.strip() if r else 'there is no mount'}); test_too_large stands in")

@pytest.mark.parametrize('name', [n for n in WRITE if n != 'export_table'])
def test_full_disk(name, made, tmp_path, forks):
    mounted(tmp_path/'d'); d = tmp_path/'d'
    try:
        with pytest.raises(OSError), open(d/'filler', 'wb', buffering=0) as f:
            while f.write(bytes(4096)): pass
        p = forks.start(FULL, name, f'{made}|{d}', Path(__file__).parent, 'disk'); assert p.wait() == 0, p.said()[-2000:]
        said = p.said(); assert said.startswith('TOLD') and said.count('\n') == 1 and str(d) in said and 'free some space' in said, said
        assert not [k for k in tree(d) if '.tmp' in k]
    finally: subprocess.run(['umount', '-l', str(d)], check=True)

@writers
@pytest.mark.parametrize('place', ['read-only', 'below a file', 'a file in its place'])
def test_places_that_cannot_be(name, place, made, tmp_path, request):
    write,end = WRITE[name]; d = tmp_path/'d'; d.mkdir(); f = write(made)
    if place == 'read-only':
        if os.geteuid() == 0: d.rmdir(); mounted(d); subprocess.run(['mount', '-o', 'remount,ro', str(d)], check=True); request.addfinalizer(lambda: subprocess.run(['umount', '-l', str(d)], check=True))     # root may write anywhere else
        else: d.chmod(0o555); request.addfinalizer(lambda: d.chmod(0o755))
        where,said = d/end,'mend its permissions'
    elif place == 'below a file': (d/'file').write_text('kept'); where,said = d/'file'/end,'a part of the path is a file'
    else:
        where = d/end
        if end in ('folder', 'run', 'checkpoint', 'adapter', 'shelf'): where.write_text('kept'); said = 'a file'
        else: where.mkdir(); said = 'folder'
    before = tree(d)
    with pytest.raises(InputError) as e: f(where)
    one_line(e, str(d), said); assert tree(d) == before

def test_a_missing_parent_is_made(made, tmp_path):
    for name,(write,end) in WRITE.items():
        if name in ('save_pretrained', 'save_dataset', 'ItemTable.save', 'write_json'): write(made)(tmp_path/name/'new'/end); assert (tmp_path/name/'new'/end).exists()
