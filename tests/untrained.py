"Recommenders with random weights, none of them zero: what they say means nothing, and every part of them has a say"
import torch
from llmcfsr.itemtable import tfidf
from llmcfsr.model import LEVELS
from llmcfsr.prompts import item_texts, template_for
from llmcfsr.recommender import Recommender, make_model
from llmcfsr.split import leave_one_out, popularity

def untrained(dataset, seed=0, **options):
    levels = dict(fuse=LEVELS) if options.get('model', 'llm-cfsr') == 'llm-cfsr' else {}                                          # all there is, so that all of it is tested
    rec = Recommender(**{**dict(dim=8, blocks=1, heads=2, max_len=12), **levels, **options}); gen = torch.Generator().manual_seed(seed)
    E = tfidf(item_texts(dataset.catalog, template_for(dataset.catalog.fields)), 16)
    rec._know(dataset, popularity(leave_one_out(dataset.interactions))); model = make_model(rec.options, dataset.interactions.n_items, E)
    with torch.no_grad():
        for p in model.parameters(): p += .2*torch.randn(p.shape, generator=gen)
        for p in model.parameters():
            if p.ndim and len(p) == dataset.interactions.n_items+1: p[0] = 0
    rec._use(model)
    return rec
