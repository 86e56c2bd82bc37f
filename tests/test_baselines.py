"LLM-ESR in training: it resumes exactly, and nothing held out reaches its teacher"
import dataclasses, functools
import numpy as np, pytest, torch
from llmcfsr.baselines.llmesr import Teacher, build_llmesr, distilled_objective, similar_users, user_vectors
from llmcfsr.batches import SeqLoader
from llmcfsr.losses import objective
from llmcfsr.model import ModelConfig
from llmcfsr.planted import planted_world
from llmcfsr.split import leave_one_out
from llmcfsr.train import TrainConfig, fit

WORLD = planted_world(seed=0, users=120)
SPLIT = leave_one_out(WORLD.interactions)
E = torch.randn(WORLD.interactions.n_items+1, 12, generator=torch.Generator().manual_seed(0)); E[0] = 0
def model(backbone='sasrec'): return build_llmesr(ModelConfig(backbone=backbone, d=8, blocks=1, max_len=12, dropout=.2), E)
def same(a, b): return all(torch.equal(x, y) for x,y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))

@pytest.mark.parametrize('backbone', ('sasrec', 'bert4rec'))
def test_a_broken_off_run_ends_as_a_whole_one(tmp_path, backbone):
    def train(epochs, **how):
        m = model(backbone); loader = SeqLoader(SPLIT, max_len=12, batch_size=50, kind='next' if m.causal else 'cloze')
        goal = distilled_objective(SPLIT, E, functools.partial(objective, loss='bce'), max_len=12, n=5)
        return m, fit(m, loader, goal, lambda m: {'NDCG@10':float(sum(p.abs().sum() for p in m.parameters()))}, TrainConfig(epochs=epochs), **how)
    whole,records = train(3); train(1, checkpoint=tmp_path/'c'); resumed,again = train(3, checkpoint=tmp_path/'c', resume=True)
    assert same(whole, resumed) and [r['loss'] for r in records] == [r['loss'] for r in again] and records[0]['loss']['distil'] > 0

def test_nothing_held_out_is_read():
    inter = SPLIT.inter; held = inter.item.copy(); rows = np.repeat(np.arange(inter.n_users), np.diff(inter.start))
    out = np.arange(len(held))-inter.start[rows] >= SPLIT.train_length[rows]; assert out.sum() == SPLIT.held.sum() > 0
    held[out] = held[out]%inter.n_items+1                                    # every validation and test item becomes another one
    other = dataclasses.replace(SPLIT, inter=dataclasses.replace(inter, item=held)); m,who = model(),torch.arange(inter.n_users)
    assert torch.equal(similar_users(user_vectors(SPLIT, E)), similar_users(user_vectors(other, E)))
    assert torch.equal(Teacher(SPLIT, 12).states(m, who), Teacher(other, 12).states(m, who))
    inside = inter.item.copy(); inside[~out] = inside[~out]%inter.n_items+1  # the same done to training is felt
    changed = dataclasses.replace(SPLIT, inter=dataclasses.replace(inter, item=inside))
    assert not torch.equal(Teacher(SPLIT, 12).states(m, who), Teacher(changed, 12).states(m, who))
