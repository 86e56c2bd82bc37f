"How new items are measured: a run is whole in its file, and is not made again"
import importlib.util, json, sys
from pathlib import Path
SCRIPT = Path(__file__).resolve().parents[1]/'benchmarks'/'cold.py'
spec = importlib.util.spec_from_file_location('cold', SCRIPT); cold = importlib.util.module_from_spec(spec); spec.loader.exec_module(cold)

def test_a_run_is_made_once_and_goes_on_from_its_folder(tmp_path, monkeypatch, capsys):
    def go(out, *more): monkeypatch.setattr(sys, 'argv', ['cold.py', '--data', 'planted', '--encoder', 'tfidf', '--epochs', '2', '--dim', '8', '--few', '--checkpoints', str(tmp_path/'kept'), '--out', str(tmp_path/out), *more]); cold.main(); return capsys.readouterr().out
    go('a'); rows = [json.loads(l) for l in (tmp_path/'a').read_text().splitlines()]; assert {r['rule'] for r in rows} == {*cold.FEW, 'before'}-{'as trained'} and all(r['epochs'] == r['epochs_run'] == 2 for r in rows)
    size = (tmp_path/'a').stat().st_size; assert 'in the file already' in go('a') and (tmp_path/'a').stat().st_size == size
    def again_trained(*a, **k): raise AssertionError('trained once more')
    with monkeypatch.context() as m: m.setattr('llmcfsr.recommender.Recommender.fit', again_trained); go('b')
    again = [json.loads(l) for l in (tmp_path/'b').read_text().splitlines()]; same = lambda rows: [{k:v for k,v in r.items() if k != 'add_seconds'} for r in rows]; assert same(again) == same(rows)
    found = {(r['rule'], r['part']):r for r in rows}; assert found['add_items', 'test']['all HR@10'] == found['ridge 0.01 root', 'test']['all HR@10'] and found['pop', 'test']['all HR@10'] == 0 and found['zeros', 'warm']['new_in_lists'] < found['add_items', 'warm']['new_in_lists']
    go('a', '--cold', 'kept'); assert len((tmp_path/'a').read_text().splitlines()) > len(rows)
