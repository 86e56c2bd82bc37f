"Similar users: the approximate search against the exact one, and what the exact one costs in memory"
import subprocess, sys
import pytest, torch
from llmcfsr.baselines.llmesr import recall, similar_users, similar_users_approx

def users(U, M=48, topics=60, seed=0):
    "Users around some tastes"
    g = torch.Generator().manual_seed(seed); centre = torch.randn(topics, M, generator=g)
    return centre[torch.randint(topics, (U,), generator=g)]+.7*torch.randn(U, M, generator=g)

def test_approximate_search():
    "All lists give the exact answer, some give most of it, and nobody is a neighbour of oneself"
    pytest.importorskip('faiss', reason='faiss is an extra: pip install "llmcfsr[ann]"')
    z = users(3000); best = similar_users(z, 10)
    assert recall(similar_users_approx(z, 10, lists=50, probes=50), best) > .999
    near = similar_users_approx(z, 10, probes=16); assert .8 < recall(near, best) <= 1
    assert not (near==torch.arange(3000)[:,None]).any() and all(len(set(r))==10 for r in near[:200].tolist())
    assert similar_users_approx(torch.ones(5, 3), 10).shape == (5,4)

def test_exact_search_in_bounded_memory():
    "20,000 users: the table of all pairs would be 1.6 GB"
    code = '''
import resource, torch
from llmcfsr.baselines.llmesr import similar_users
z = torch.randn(20_000, 64); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
similar_users(z, 10); print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)/1024)'''
    grown = float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout)
    assert grown < 400, grown
