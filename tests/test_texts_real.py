"The texts of real catalogues, where they are at hand: every item has one, and nothing that tells popularity or identity is in it"
import os, re
from pathlib import Path
import numpy as np, pytest
from llmcfsr.augment import n_kept, view_texts
from llmcfsr.catalog import LEAKY_FIELDS, build_catalog, read_attributes
from llmcfsr.core import rng
from llmcfsr.itemtable import nearest, tfidf
from llmcfsr.prompts import is_read, item_texts, pairs, template_for, text_report

DATA = Path(os.environ.get('LLMCFSR_DATA') or Path(__file__).resolve().parents[2]/'shared/data')
FOLDERS = sorted(p.parent for p in DATA.glob('*/item_attributes.jsonl'))
each = pytest.mark.parametrize('folder', FOLDERS or [pytest.param(None, marks=pytest.mark.skip(reason=f'no catalogues in {DATA}; set LLMCFSR_DATA'))], ids=lambda p: p.name if p else 'none')

def catalog_of(folder):
    attributes = read_attributes(folder/'item_attributes.jsonl')
    return build_catalog(attributes, ['', *attributes], source=folder.name)

@each
def test_texts(folder):
    "One line of attributes an item, title or name first, no identifier, no count of reviews"
    catalog = catalog_of(folder); template = template_for(catalog); texts = item_texts(catalog, template)
    assert all(is_read(f) for f in template.fields) and not set(template.fields) & set(LEAKY_FIELDS)
    assert len(texts) == len(catalog.attrs) and texts[0] == '' and all(texts[1:])
    for a,t in zip(catalog.attrs[1:], texts[1:]):
        opening,line = t.split('\n')
        assert opening == template.opening and line.count('; ') == len(pairs(template, a))-1
        assert re.match(r'(title|name|brand|category) is ', line) and len(line) < 1000
        assert not a.get('asin') or a['asin'] not in t
    report = text_report(catalog); assert report['without_text'] == 0 and report['distinct'] > .9*report['items']

@each
def test_views(folder):
    "Every view of every item keeps the promised number of attributes and invents none"
    catalog = catalog_of(folder); template = template_for(catalog); ids = np.arange(1, min(400, len(catalog.attrs)))
    for views in view_texts(catalog, template, ids, .5, rng(0, folder.name)):
        for i,v in zip(ids, views):
            kept,own = v.split('\n')[1].split('; '),item_texts_of(template, catalog.attrs[i])
            assert len(kept) == n_kept(len(own), .5) >= 1 and set(kept) <= own

def item_texts_of(template, attrs): return {template.form.format(key=k, value=v) for k,v in pairs(template, attrs)}

@each
def test_floor(folder):
    "Counting words already brings items of the same brand or category together"
    catalog = catalog_of(folder); E = tfidf(item_texts(catalog), 64); rank = rng(0, 'floor').choice(np.arange(1, len(E)), 60, replace=False)
    groups = [set(map(str, np.atleast_1d(a.get('categories', [])))) for a in catalog.attrs]
    share = lambda i,j: len(groups[i]&groups[j])/max(1, len(groups[i]|groups[j]))
    near = np.mean([share(i, j) for i in rank for j in nearest(E, i, 3)[0]]); far = np.mean([share(i, j) for i in rank for j in rng(0, 'far', int(i)).integers(1, len(E), 3)])
    assert near > far+.1
