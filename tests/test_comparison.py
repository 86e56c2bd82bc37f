"The plan of the comparison: every row can be run, the budget is the same for all, and what the ledger holds is what is reported"
import dataclasses, functools, importlib.util, json, subprocess, sys
from pathlib import Path
import pytest
from llmcfsr.core import InputError
from llmcfsr.recommender import Recommender
from llmcfsr.datasets import load_dataset
from llmcfsr.evaluate import RankTable
from llmcfsr.ledger import draws, read_ledger
from llmcfsr.recommender import MODELS, Options

SCRIPT = Path(__file__).resolve().parents[1]/'benchmarks'/'comparison.py'
spec = importlib.util.spec_from_file_location('comparison', SCRIPT); comparison = importlib.util.module_from_spec(spec); spec.loader.exec_module(comparison)

def test_every_row_can_be_run(tmp_path):
    tables = comparison.tables(tmp_path); assert {r.base.options.model for r in tables['main']} == set(MODELS)
    for rows in tables.values():
        assert len({(r.label, r.data) for r in rows}) == len(rows)                       # no label stands for two things
        for r in rows:
            tried = [dataclasses.replace(r.base.options, **o) for o in draws(comparison.space_of(r.base.options.model), 10**6)]      # checks each option and setting
            assert r.seeds >= (3 if r.search else 1) and r.base.options in tried and len(tried) in (6, 18) and all(o.epochs == 200 and o.max_len == 50 for o in tried)
            for best in tried: e = comparison.applied(r, dataclasses.replace(r.base, options=best), 2); assert e.options.seed == 2 and e.options.lr == r.change.get('lr', best.lr) and len({s.partition('=')[0] for s in e.options.settings}) == len(e.options.settings)

def make_folder(root, name):
    "The planted world under the name of a data set"
    d = load_dataset('planted'); inter = d.interactions; folder = root/name; folder.mkdir(parents=True)
    (folder/'inter.txt').write_text(''.join(f'{u+1} {i}\n' for u in range(inter.n_users) for i in inter.item[inter.start[u]:inter.start[u+1]]))
    (folder/'item_attributes.jsonl').write_text(''.join(json.dumps(dict(a, item_id=str(n)))+'\n' for n,a in enumerate(d.catalog.attrs) if n))

@pytest.mark.parametrize('table,systems', [('ids', ('pop', 'sasrec'))])
def test_a_table_is_made_once(tmp_path, table, systems, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'llmesr_fashion_ids'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.chdir(tmp_path)
    def go(what, *more): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--trials', '1', '--data', 'llmesr_fashion_ids', *(o for s in systems for o in ('--systems', s)), *more]); comparison.main(); return capsys.readouterr().out
    said = go(table, '--seeds', '2'); lines = read_ledger(tmp_path/'out'/'ledger.jsonl'); assert said.count('NDCG@10') == 3 == len(lines) and [(l['options']['model'], l['options']['seed']) for l in lines] == [('pop', 0), ('sasrec', 0), ('sasrec', 1)]   # counting has no seed
    go(table, '--seeds', '2'); assert len(read_ledger(tmp_path/'out'/'ledger.jsonl')) == 3
    assert '3 runs done' in go('plan'); go('report'); text = (tmp_path/'out'/'ids.md').read_text()
    for l in lines: assert l['label'] in text
    go('record', '--to', str(tmp_path/'kept.jsonl')); kept = comparison.recorded(tmp_path/'kept.jsonl'); assert sorted(l['kind'] for l in kept) == ['row']*3+['run']*3 and {l['key'] for l in kept} == {l['key'] for l in lines}
    for l in lines: (k,) = [k for k in kept if k['kind'] == 'run' and k['key'] == l['key']]; assert k['metrics']['test']['full']['tail_item']['NDCG@10'] == round(l['metrics']['test']['full']['tail_item']['NDCG@10'], 7) and k['options'].get('seed', 0) == l['options']['seed']
    go('take', '--to', str(tmp_path/'kept.jsonl')); assert read_ledger(tmp_path/'out'/'ledger.jsonl') == lines                                         # nothing is taken twice
    old = tmp_path/'out'; old.rename(tmp_path/'first'); go('take', '--to', str(tmp_path/'kept.jsonl')); assert {l['key'] for l in read_ledger(old/'ledger.jsonl')} == {l['key'] for l in lines}
    for l in lines: mine,was = (RankTable.load(f/'runs'/l['key']/'ranks.parquet').frame() for f in (old, tmp_path/'first')); assert mine.equals(was)
    text,again = (tmp_path/'kept.jsonl').read_bytes(),[f.read_bytes() for f in sorted((tmp_path/'ranks').iterdir())]; go('record', '--to', str(tmp_path/'kept.jsonl')); assert text == (tmp_path/'kept.jsonl').read_bytes() and again == [f.read_bytes() for f in sorted((tmp_path/'ranks').iterdir())]
    (old/'ledger.jsonl').unlink()
    with pytest.raises(InputError, match='3 runs and trials that .* lacks: `take`'): go('record', '--to', str(tmp_path/'kept.jsonl'))
    assert text == (tmp_path/'kept.jsonl').read_bytes(); text = (tmp_path/'first'/'ids.md').read_text(); (tmp_path/'first').rename(tmp_path/'again')
    assert f"{sum(l['metrics']['test']['full']['overall']['NDCG@10'] for l in lines if l['label']=='sasrec')/2:.4f}" in text and (tmp_path/'again'/'ids-llmesr_fashion_ids.png').stat().st_size > 1000

def test_options_are_chosen_on_validation_items(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'small_yelp_ca'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['comparison.py', 'more', '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'small_yelp_ca', '--systems', 'sasrec', '--seeds', '1', '--trials', '3']); comparison.main()
    lines = read_ledger(tmp_path/'out'/'ledger.jsonl'); assert [l['kind'] for l in lines] == ['trial']*3+['run'] and not any('test' in l for l in lines[:3])
    best = max(lines[:3], key=lambda l: l['valid']['NDCG@10']); assert lines[3]['options'] == best['options'] and lines[0]['options']['lr'] == .001 and lines[0]['options']['dropout'] == .5

def test_a_searched_table_has_the_data_sets_whose_rows_were_all_searched(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'small_yelp_ca'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.setattr(comparison, 'experiment', functools.partial(comparison.experiment, vectors='tfidf')); monkeypatch.chdir(tmp_path)
    def go(what, trials, *systems): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'small_yelp_ca', *(o for k in systems for o in ('--systems', k)), '--seeds', '1', '--trials', str(trials), *(('--to', str(tmp_path/'kept.jsonl')) if what=='record' else ())]); comparison.main(); return capsys.readouterr().out
    def recorded(): go('record', 4, 'pop', 'sasrec', 'llm-esr'); kept = read_ledger(tmp_path/'kept_rows.jsonl'); assert all(l['trials']==({'sasrec':3, 'llm-esr':4}.get(l['label'], 1) if l['table']=='more, searched' else 1) for l in kept if l['kind']=='row'); return ({l['label']:l['key'] for l in kept if l['kind']=='row' and l['table']==t} for t in ('more', 'more, searched'))
    go('more', 1, 'pop', 'sasrec', 'llm-esr'); base,best = recorded(); assert [*base] == ['pop', 'sasrec', 'llm-esr'] and not best
    go('more', 4, 'sasrec'); assert [*recorded()] == [base, {}]                                                          # one searched beside one that was not
    go('more', 4, 'llm-esr'); now,best = recorded(); assert now == base and [*best] == [*base] and best['pop'] == base['pop']
    trials = [l for l in read_ledger(tmp_path/'out'/'ledger.jsonl') if l['kind']=='trial']; assert [l['label'] for l in trials] == ['sasrec']*3+['llm-esr']*4
    three,own = trials[3:6],trials[6]; top = max(three, key=lambda l: l['valid']['NDCG@10'])['options']; assert all(l['options']['settings'] == [] for l in three) and own['options'] == dict(top, settings=own['options']['settings']) and own['options']['settings'] in (['alpha=0.03'], ['alpha=0.3'])
    said = go('report', 4, 'pop', 'sasrec', 'llm-esr'); assert '# more\n\nOptions tried for each system on validation items, at most: 1' in said and '# more, searched\n\nOptions tried for each system on validation items, at most: 4' in said
    assert 'more: 3 rows, 3 runs, 7 trials; 3 runs done' in go('plan', 4, 'pop', 'sasrec', 'llm-esr')
    recorded(); text = (tmp_path/'kept.jsonl').read_bytes(); (tmp_path/'out').rename(tmp_path/'first'); monkeypatch.setattr(sys, 'argv', ['comparison.py', 'take', '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--to', str(tmp_path/'kept.jsonl')]); comparison.main()
    ranked = {f.parent.name for f in (tmp_path/'out'/'runs').glob('*/ranks.parquet')}; recorded(); assert text == (tmp_path/'kept.jsonl').read_bytes() and ranked == {f.parent.name for f in (tmp_path/'out'/'runs').glob('*/ranks.parquet')}     # ranks of what was tried and not chosen stay

def test_what_was_taken_over_can_be_planned_with(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'small_yelp_ca'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.setattr(comparison, 'experiment', functools.partial(comparison.experiment, vectors='tfidf')); monkeypatch.chdir(tmp_path)
    def go(what, out='out'): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/out), '--data', 'small_yelp_ca', '--systems', 'llm-cfsr', '--seeds', '2', '--trials', '1', '--to', str(tmp_path/'kept.jsonl')]); comparison.main(); return capsys.readouterr().out
    go('more'); go('record'); assert all('model' not in l['options'] for l in read_ledger(tmp_path/'kept.jsonl') if l['kind']=='run')                # the default model is not said
    go('take', 'there'); assert 'more: 1 rows, 2 runs, 0 trials; 2 runs done, 0.0 core-hours for the rest of the runs' in go('plan', 'there')

def test_a_prior_takes_the_models_that_are_there(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'small_yelp_ca'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.setattr(comparison, 'experiment', functools.partial(comparison.experiment, vectors='tfidf')); monkeypatch.chdir(tmp_path)
    def go(what, out='out'): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/out), '--data', 'small_yelp_ca', '--systems', 'sasrec', '--systems', 'llm-init', '--seeds', '1', '--trials', '1', '--to', str(tmp_path/'kept.jsonl')]); comparison.main(); return capsys.readouterr().out
    go('more'); trained = Recommender.fit; monkeypatch.setattr(Recommender, 'fit', lambda *a, **k: pytest.fail('trained again')); assert go('prior').count('prior seed 0') == 2; go('record')
    plain,prior = ([l for l in read_ledger(tmp_path/f) if l['kind']=='run'] for f in ('kept.jsonl', 'kept_prior.jsonl')); assert [l['label'] for l in plain] == ['sasrec', 'llm-init'] and [l['label'] for l in prior] == ['sasrec, prior', 'llm-init, prior'] and all('prior' in l['options'] for l in prior)
    assert {l['table'] for l in read_ledger(tmp_path/'kept_rows.jsonl') if l['kind']=='row'} == {'more'} and {l['table'] for l in read_ledger(tmp_path/'kept_prior.jsonl') if l['kind']=='row'} == {'prior'} and all(l['metrics']['valid']['full']['overall']['NDCG@10'] >= k['metrics']['valid']['full']['overall']['NDCG@10']-1e-3 for k,l in zip(plain, prior))
    kept = [(tmp_path/f).read_bytes() for f in ('kept.jsonl', 'kept_prior.jsonl')]; (tmp_path/'out').rename(tmp_path/'first'); assert '4 runs taken over' in go('take'); go('record'); assert kept == [(tmp_path/f).read_bytes() for f in ('kept.jsonl', 'kept_prior.jsonl')]

def test_a_balance_is_for_models_with_two_views(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'small_yelp_ca'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=2, dim=8)); monkeypatch.setattr(comparison, 'experiment', functools.partial(comparison.experiment, vectors='tfidf')); monkeypatch.chdir(tmp_path)
    def go(what): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'small_yelp_ca', '--systems', 'sasrec', '--systems', 'llm-cfsr', '--seeds', '1', '--trials', '1', '--to', str(tmp_path/'kept.jsonl')]); comparison.main(); return capsys.readouterr().out
    go('more'); trained = Recommender.fit; monkeypatch.setattr(Recommender, 'fit', lambda *a, **k: pytest.fail('trained again')); assert 'llm-cfsr, balance seed 0' in go('balance') and 'llm-cfsr, balance and prior seed 0' in go('balance and prior'); go('record')
    labels = {p:{l['label'] for l in read_ledger(tmp_path/f'kept{p}.jsonl') if l['kind']=='run'} for p in comparison.PARTS}; assert {p:n for p,n in labels.items() if n} == {'':{'sasrec', 'llm-cfsr'}, '_prior':{'sasrec, prior'}, '_balance':{'llm-cfsr, balance', 'llm-cfsr, balance and prior'}}
    rows = [l for l in comparison.recorded(tmp_path/'kept.jsonl') if l['kind']=='row' and l['table'] == 'balance']; assert {l['label'] for l in rows} == {'sasrec', 'llm-cfsr, balance'}
    for r in comparison.tables(tmp_path)['balance']: assert bool(r.change.get('balance')) == (r.label.endswith(', balance')) and (not r.change.get('balance') or r.base.options.model in comparison.TWO_VIEWS and r.change.get('view') != 'se')

def test_roads_of_what_is_kept(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'beauty_5core'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.chdir(tmp_path)
    def go(what): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'beauty_5core', '--systems', 'sasrec', '--seeds', '1', '--trials', '1', '--to', str(tmp_path/'kept.jsonl')]); comparison.main(); return capsys.readouterr().out
    go('main'); assert go('roads') == 'beauty_5core sasrec seed 0\n' and go('roads') == ''; lines = read_ledger(tmp_path/'roads.jsonl'); assert [l['part'] for l in lines] == ['learned', 'valid', 'test'] and all(len(l['overall']) == 21 for l in lines)
    (run,) = read_ledger(tmp_path/'out'/'ledger.jsonl'); assert all(abs(l['overall'][l['weight'].index(0.)]-run['metrics'][l['part']]['full']['overall']['NDCG@10']) < 1e-6 for l in lines[1:])

def test_a_record_is_of_one_moment(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'llmesr_fashion_ids'); monkeypatch.chdir(tmp_path); searched = comparison.searched
    def go(what): monkeypatch.setattr(sys, 'argv', ['comparison.py', what, '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'llmesr_fashion_ids', '--systems', 'pop', '--seeds', '1', '--trials', '1', '--to', str(tmp_path/'kept.jsonl')]); comparison.main()
    def later(*a):                                                                        # a run that another process ends while this one records
        for name,done,given in searched(*a): yield name,[*done, *((e, dict(l, key='f'*16)) for e,l in done)],given
    go('ids'); monkeypatch.setattr(comparison, 'searched', later); go('record'); kept = comparison.recorded(tmp_path/'kept.jsonl'); assert [l['kind'] for l in kept] == ['run', 'row'] and kept[0]['key'] == kept[1]['key']

def test_a_table_for_ids_takes_the_options_chosen_on_text(tmp_path):
    (r,) = [r for r in comparison.tables(tmp_path)['ids'] if r.label == 'melt' and r.data.endswith('fashion_ids')]; assert r.base.data.endswith('beauty_5core') and comparison.applied(r, r.base, 1).data == r.data
    (r,) = [r for r in comparison.tables(tmp_path)['vectors'] if r.label == 'summed, tfidf' and 'yelp' in r.data]; assert comparison.applied(r, r.base, 1).options.encoder == 'vectors/yelp_city_5core-tfidf.safetensors'

def test_vectors_are_made_once(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'beauty_5core'); monkeypatch.setattr(comparison, 'COMMON', dict(comparison.COMMON, epochs=1, dim=8)); monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['comparison.py', 'vectors', '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--data', 'beauty_5core', '--systems', 'llm-init, tfidf', '--systems', 'summed, tfidf', '--seeds', '1', '--trials', '1'])
    monkeypatch.setattr(comparison, 'experiment', functools.partial(comparison.experiment, vectors='tfidf')); comparison.main(); said = capsys.readouterr().out
    assert said.count('vectors/beauty_5core-tfidf.safetensors') == 1 and said.count('NDCG@10') == 2; comparison.main(); assert 'vectors/' not in capsys.readouterr().out

def test_nothing_new_is_begun_after_the_time(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path/'data', 'llmesr_fashion_ids'); monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['comparison.py', 'ids', '--root', str(tmp_path/'data'), '--folder', str(tmp_path/'out'), '--trials', '1', '--data', 'llmesr_fashion_ids', '--seconds', '-1']); comparison.main()
    assert read_ledger(tmp_path/'out'/'ledger.jsonl') == []
    done = subprocess.run([sys.executable, str(SCRIPT), 'nonsense', '--root', str(tmp_path), '--folder', str(tmp_path/'o2')], capture_output=True, text=True); assert done.returncode == 2 and 'take one of main' in done.stderr

def test_the_readme_says_what_was_recorded():
    root = SCRIPT.parents[1]; lines = comparison.recorded(root/'benchmarks'/'results'/'comparison.jsonl'); table,preferred = comparison.headline(lines),comparison.preferred(lines)
    assert table.count('\n') > 5 and preferred.count('\n') > 4 and table in (said := (root/'README.md').read_text()) and preferred in said
    assert all(f.stat().st_size < 10**6 for f in (root/'benchmarks'/'results').rglob('*') if f.is_file())       # a repository that is quick to clone
    assert {f.stem for f in (root/'benchmarks'/'results'/'ranks').iterdir()} == {l['key'] for l in lines if l['kind'] == 'run'}

def test_what_was_recorded_is_read_again(monkeypatch):
    "Means over seeds, options that were not said at their default, differences with an interval a cell"
    monkeypatch.syspath_prepend(str(SCRIPT.parent)); from recorded import MAIN, Recorded, shown
    def run(key, seed, value): return dict(kind='run', key=key, data='d', options=dict(dict(model='llm-cfsr', settings=['hide=0']), **({'seed':seed} if seed else {})), metrics=dict(test=dict(full={g:{'NDCG@10':value} for g in MAIN})))
    def differ(group, **more): return dict(kind='difference', table='main', data='d', system='a', group=group, against='b', **dict(dict(first=.5, other=.4, difference=.1, relative=.25, low=-.05, high=.15, **{'items low':-.1, 'items high':.2, 'seeds low':None, 'seeds high':None, 'p (Holm)':.04}), **more))
    rows = [dict(kind='row', table='main', label='a', data='d', key=k) for k in ('x', 'y')]; r = Recorded([run('x', 0, .25), run('y', 3, .75), *rows, *map(differ, MAIN[::-1])])
    assert r.held == [('main', 'd')] and r.means('main', 'd') == {'a':dict.fromkeys(MAIN, .5)} and [(e.options.seed, e.options.settings, e.options.epochs) for e,_ in r.done('main', 'd')] == [(0, ('hide=0',), Options().epochs), (3, ('hide=0',), Options().epochs)]
    f = r.differences('main', 'd'); assert list(f.index) == [(g, 'b') for g in MAIN] and r.differ('d', 'b', system='a')['group'] == 'overall'
    assert shown(f).iloc[0].to_dict() == {'first':.5, 'other':.4, 'relative':'+25.0\xa0%', 'over users':'−.0500\xa0to\xa0.1500', 'over items':'−.1000\xa0to\xa0.2000', 'p (Holm)':.04}
    several = Recorded([differ(g, **{'seeds low':.01, 'seeds high':.02} if g=='overall' else {}) for g in MAIN]); assert list(shown(several.differences('main', 'd'))['over seeds']) == ['.0100\xa0to\xa0.0200', '', '']

def test_the_preferred_way_is_the_one_of_validation():
    "One that is better on test items only is not taken; systems that were run in one way alone have no row"
    def run(key, valid, test): return dict(kind='run', key=key, metrics=dict(valid=dict(full=dict(overall={'NDCG@10':valid})), test=dict(full={g:{'NDCG@10':test} for g in ('overall', 'tail_item', 'head_item')})))
    def row(table, label, key): return dict(kind='row', table=table, label=label, data='beauty_5core', key=key)
    lines = [run('a', .25, .5), run('b', .5, .25), run('c', .75, .25), run('d', .1, .1), row('main', 'llm-init', 'a'), row('main', 'pop', 'd'), row('steps', 'llm-init, half the step', 'b'), row('balance', 'llm-init, half the step', 'b'), row('steps', 'llm-init, half the step', 'c'), row('prior', 'llm-init, prior', 'd')]
    assert comparison.preferred(lines).splitlines()[2:] == ['| llm-init | 0.2500 | 0.2500 | 0.2500 | 2 | half the step (of 2) |']
    assert comparison.headline(lines).splitlines()[2:] == ['| llm-init | 0.5000 | 0.5000 | 0.5000 | 1 |', '| pop | 0.1000 | 0.1000 | 0.1000 | 1 |']

def test_ways_of_a_system(monkeypatch):
    "A search and a balance are ways of their own, one run that stands in two tables counts once, and a prior is left to its chapter"
    monkeypatch.syspath_prepend(str(SCRIPT.parent)); from recorded import Recorded
    def run(key, valid): return dict(kind='run', key=key, metrics=dict(valid=dict(full=dict(overall={'NDCG@10':valid})), test=dict(full={})))
    def row(table, label, key): return dict(kind='row', table=table, label=label, data='d', key=key)
    r = Recorded([run('a', .2), run('b', .4), run('c', .3), run('d', .9), row('more', 'llm-esr', 'a'), row('more, searched', 'llm-esr', 'b'), row('balance, searched', 'llm-esr, balance', 'c'), row('prior', 'llm-esr, prior', 'd'), row('main', 'llm-esr', 'a'), row('main', 'llm-init', 'd')])
    assert {k:[l['key'] for l in v] for k,v in r.ways('d')['llm-esr'].items()} == {'as it is':['a'], 'searched':['b'], 'balance, searched':['c']}
    best = r.preferred('d'); assert (best['llm-esr'][0], best['llm-esr'][2], best['llm-init'][0]) == ('searched', 3, 'as it is') and r.preferred('other') == {}
