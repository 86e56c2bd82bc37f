"A base in few bits is tuned like any other; bitsandbytes is an extra"
import warnings
import numpy as np, pytest
pytest.importorskip('bitsandbytes', reason='bitsandbytes is an extra: pip install "llmcfsr[quant]"')
from llmcfsr.adapters import add_lora, load_adapter, save_adapter
from llmcfsr.contrastive import TuneConfig, fit_contrastive
from llmcfsr.core import InputError
from llmcfsr.planted import planted_world
from llmcfsr.prompts import item_texts
from llmcfsr.textencoder import base_print, encode, load_encoder, tiny_encoder

@pytest.mark.parametrize('bits', (4, 8))
def test_adapter_on_few_bits(tmp_path, bits):
    "The loss falls, the base keeps its bits, and the adapter fits this base and no other"
    catalog = planted_world(seed=0).catalog; texts = item_texts(catalog); tiny = tiny_encoder(texts, width=64); tiny.model.save_pretrained(tmp_path/'base'); tiny.tokenizer.save_pretrained(tmp_path/'base')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore'); few = load_encoder(str(tmp_path/'base'), device='cpu', bits=bits); before = base_print(few)
        tuned = add_lora(few, rank=4, seed=0); losses = [r['loss'] for r in fit_contrastive(tuned, catalog, config=TuneConfig(steps=12, batch=24, lr=1e-2))]
        assert np.mean(losses[-3:]) < np.mean(losses[:3]) and base_print(tuned)==before
        save_adapter(tuned, tmp_path/'adapter'); again = load_adapter(load_encoder(str(tmp_path/'base'), device='cpu', bits=bits), tmp_path/'adapter')
        assert np.allclose(encode(again, texts[1:20]), encode(tuned, texts[1:20]), atol=1e-4)
        with pytest.raises(InputError, match='was made for'): load_adapter(load_encoder(str(tmp_path/'base'), device='cpu'), tmp_path/'adapter')
