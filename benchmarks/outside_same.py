"""Random weights of RecTools' SASRec and its scores, for tests/test_outside.py, by the Python of its own environment: `python benchmarks/outside_same.py FILE.npz`

Scores are made in four ways: with padding left out of attention or not (`use_key_padding_mask`), with item vectors scaled by the root of the width or not (`use_scale_factor`)."""
import itertools, sys
import numpy as np

def main():
    import torch
    from rectools.models.nn.item_net import IdEmbeddingsItemNet, SumOfEmbeddingsConstructor
    from rectools.models.nn.transformers.net_blocks import LearnableInversePositionalEncoding
    from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers
    from rectools.models.nn.transformers.similarity import DistanceSimilarityModule
    from rectools.models.nn.transformers.torch_backbone import TransformerTorchBackbone
    torch.manual_seed(0); g = np.random.default_rng(0); V,D,T = 12,8,6; x = np.zeros((6, T), int); weights,scores = None,{}
    for row,n in zip(x, (1, 2, 3, 5, 6, 6)): row[T-n:] = g.integers(1, V+1, n)
    for mask,scale in itertools.product((False, True), repeat=2):
        net = TransformerTorchBackbone(2, .5, SumOfEmbeddingsConstructor(V+1, [IdEmbeddingsItemNet(D, V+1, .5)]), LearnableInversePositionalEncoding(True, T, D, use_scale_factor=scale), SASRecTransformerLayers(2, D, 2, .5), DistanceSimilarityModule(), True, mask).eval()
        if weights is None:
            for p in net.parameters(): torch.nn.init.normal_(p, std=.3)
            weights = {k:v.clone() for k,v in net.state_dict().items()}
        net.load_state_dict(weights)
        with torch.no_grad(): scores[f'scores/mask {mask} scale {scale}'] = net(dict(x=torch.from_numpy(x)))[:,-1].numpy()
    np.savez_compressed(sys.argv[1], rows=x, **scores, **{f'weights/{k}':v.numpy() for k,v in weights.items()})

if __name__ == '__main__': sys.exit(__doc__) if len(sys.argv) != 2 or sys.argv[1].startswith('-') else main()
