"Ranks, metrics, groups and list measures against the golden fixtures; sizes and cut-offs are read from each json"
import json, os
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from safetensors.numpy import load_file
from llmcfsr.evaluate import RankTable, user_values
from llmcfsr.longtail import beyond, gini, groups_of
from llmcfsr.ranking import above_tied, hit, mrr, ndcg

GOLDEN = Path(os.environ.get('LLMCFSR_GOLDEN') or Path(__file__).resolve().parents[1]/'../shared/golden')

def fixtures(kind):
    "Each fixture of a kind as (facts, tensors), or one skipped case that says why"
    found = sorted(GOLDEN.glob(f'{kind}_*.json'))
    if not found: return [pytest.param(None, marks=pytest.mark.skip(reason=f'no {kind}_*.json in the golden folder; set LLMCFSR_GOLDEN'))]
    return [pytest.param(p, id=p.stem) for p in found]

def read(path): return json.loads(path.read_text()), load_file(path.with_suffix('.safetensors'))

def close(got, want, name): assert abs(float(got)-want) <= 1e-12, f'{name}: {float(got)!r} instead of {want!r}'

@pytest.mark.parametrize('path', fixtures('ranking_ties'))
def test_ranks_under_ties(path):
    facts,x = read(path)
    for block in ('all', 'excluding'):
        scores,target = torch.from_numpy(x['scores']).clone(),torch.from_numpy(x['target'])
        if block=='excluding':
            out = torch.from_numpy(x['excluded']).bool(); out[torch.arange(len(target)),target] = False
            scores[out] = -torch.inf
        above,tied = above_tied(scores, target)
        assert np.array_equal(above, x[f'{block}/greater']) and np.array_equal(tied, x[f'{block}/equal'])
        none = torch.zeros_like(tied)
        for how,(a,b) in dict(expected_random=(above, tied), optimistic=(above, none), pessimistic=(above+tied, none)).items():
            want = facts['results'][block][how]
            close(mrr(a, b).mean(), want['MRR'], f'{block} {how} MRR')
            for k in facts['hyper_parameters']['k']:
                close(hit(a, b, k).mean(), want[f'HR@{k}'], f'{block} {how} HR@{k}')
                close(ndcg(a, b, k).mean(), want[f'NDCG@{k}'], f'{block} {how} NDCG@{k}')

@pytest.mark.parametrize('path', fixtures('diversity'))
def test_measures_of_lists(path):
    facts,x = read(path); h = facts['hyper_parameters']; V,k,top = h['items_V'],h['k'],x['top10']
    counts_used = np.bincount(top.ravel(), minlength=V+1)
    assert np.array_equal(counts_used, x['frequency'])
    for name in ('counts', 'counts_with_zeros'):
        n = x[name]; want = facts['results'][name]
        got = beyond(top, SimpleNamespace(popularity=n, tail_item=n<h['tail_threshold']), V, k)
        close(got['coverage'], facts['results'][f'catalogue coverage@{k}'], 'coverage')
        close(got['gini'], facts['results'][f'Gini@{k} over the whole catalogue'], 'Gini')
        close(got['ARP'], want[f'ARP@{k} (mean count)'], 'ARP')
        close(got['APLT'], want[f'APLT@{k}, tail = count < threshold'], 'APLT')
        close(got['novelty'], want[f'novelty@{k}, p = (count+1)/(total+V)'], 'novelty')
        head = np.argsort(-n[1:], kind='stable')[:-(-V//5)]+1
        fewest = np.ones(V+1, bool); fewest[head] = False
        close(beyond(top, SimpleNamespace(popularity=n, tail_item=fewest), V, k)['APLT'], want[f'APLT@{k}, tail = all but the ceil(0.2*V) most counted items (lower id first in ties)'], 'APLT by share')
    close(gini(counts_used[counts_used>0]), facts['results'][f'Gini@{k} over recommended items only'], 'Gini of the recommended')

CELLS = {'overall':'overall', 'tail_user':'tail user', 'head_user':'head user', 'tail_item':'tail item', 'head_item':'head item', 'tail_user_tail_item':'tail user x tail item',
         'tail_user_head_item':'tail user x head item', 'head_user_tail_item':'head user x tail item', 'head_user_head_item':'head user x head item'}

@pytest.mark.parametrize('path', fixtures('metrics'))
@pytest.mark.parametrize('counted', ['release_counts', 'all_interactions', 'train_only'])
def test_groups(path, counted):
    facts,x = read(path); h = facts['hyper_parameters']; k = h['k']; want = facts['results']['corrected'][counted]
    n = x[dict(release_counts='popularity_release', all_interactions='popularity_all', train_only='popularity_train')[counted]][x['target']]
    zero = np.zeros_like(x['rank']); length = x['input_length']
    table = RankTable(user=np.arange(len(zero)), target=x['target'], above=x['rank'], tied=zero, n_candidates=zero+1, history_length=length, popularity=n, tail_item=n<h['ts_item'], tail_user=length<h['ts_user'])
    groups = groups_of(table)
    for mine,theirs in CELLS.items():
        if theirs not in want: continue
        assert groups[mine].sum() == want[theirs]['count']
        for m in (f'HR@{k}', f'NDCG@{k}'): close(user_values(table, m)[groups[mine]].mean(), want[theirs][m], f'{mine} {m}')

@pytest.mark.parametrize('path', fixtures('metrics'))
def test_popularity_counts_training_only(path):
    from llmcfsr.interactions import Interactions
    from llmcfsr.split import leave_one_out, popularity, cases
    facts,x = read(path); start = x['sequence_offset']; U,V = len(start)-1,facts['hyper_parameters']['items_V']
    inter = Interactions(item=x['sequence_items'].astype(np.int32), time=np.arange(start[-1]), start=start, users=np.array([f'u{u}' for u in range(U)], object), items=np.array(['']+[f'i{i}' for i in range(1, V+1)], object))
    split = leave_one_out(inter)
    assert np.array_equal(popularity(split), x['popularity_train'])
    test = cases(split, 'test')
    assert np.array_equal(test.target, x['target'][test.user])
    assert np.array_equal(test.upto-start[test.user], (np.diff(start)-1)[test.user])
