"The tools around the notebooks: the README follows the index, and the checks of the site do catch what they are for."
import sys
from pathlib import Path
import pytest
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import build_docs, make_readme

def test_readme():
    "README.md is what the index says"
    assert (ROOT/'README.md').read_text(encoding='utf-8')==make_readme.readme(get_config(path=ROOT)), 'run python tools/make_readme.py'

def site(folder, **pages):
    for name, body in pages.items(): (folder/f'{name}.html').write_text(f'<html><body>{body}</body></html>')
    return folder

def test_a_sound_site_passes(tmp_path, capsys):
    build_docs.check_site(site(tmp_path, a='<a href="b.html#x">x</a> <a href="https://example.org">out</a>', b='<p id="x"><a href="#x">here</a>'))
    assert 'none broken' in capsys.readouterr().out

@pytest.mark.parametrize('body,fault', [
    ('<a href="c.html">x</a>', 'no file c.html'), ('<a href="b.html#y">x</a>', 'no anchor b.html#y'), ('<img src="https://example.org/x.png">', 'loads https'),
    ('<link rel="stylesheet" href="//example.org/x.css">', 'loads //'), ('see ?@eq-lost', 'unresolved ?@eq-lost')])
def test_a_broken_site_does_not(tmp_path, body, fault):
    with pytest.raises(SystemExit) as e: build_docs.check_site(site(tmp_path, a=body, b='<p id="x">'))
    assert fault in str(e.value)

def page(folder, name, *cells):
    import json
    p = folder/name; p.write_text(json.dumps(dict(cells=[dict(cell_type='markdown', source=s) for s in ('---\ntitle: T\n---', *cells)])))
    return build_docs.Page(p)

def test_references_are_numbered(tmp_path):
    "Equations by page, citations by name, code untouched"
    a = page(tmp_path, '01_a.ipynb', '$$x$$ {#eq-one}\n\n$$y$$ {#eq-two}', 'By @eq-two, `@eq-two` and [@k].')
    b = page(tmp_path, '02_b.ipynb', 'Back to @eq-one.')
    for p in (a, b): p.label()
    for p in (a, b): p.resolve([a, b], dict(k=dict(who='Doe', year='2020', full='Doe (2020). *T*.')))
    assert r'\tag{2}' in a.nb['cells'][1]['source']
    assert a.nb['cells'][2]['source']=='By [Equation 2](#eq-two), `@eq-two` and ([Doe, 2020](#ref-k)).'
    assert b.nb['cells'][1]['source']=='Back to [Equation 1 of T](a.ipynb#eq-one).'

@pytest.mark.parametrize('text,fault', [('see @eq-lost', 'nothing is labelled eq-lost'), ('see [@nobody]', "has no ['nobody']")])
def test_a_reference_without_target_fails(tmp_path, text, fault):
    p = page(tmp_path, '01_a.ipynb', text); p.label()
    with pytest.raises(SystemExit) as e: p.resolve([p], {})
    assert fault in str(e.value)
