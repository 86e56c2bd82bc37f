"What a user may hand in wrongly: one line that names file, line, value and mend, exit code 2, and nothing half written"
import json
import numpy as np, pandas as pd, pytest
from llmcfsr.cli import main
from llmcfsr.core import InputError
from llmcfsr.datasets import from_frames, load_dataset

GOOD = 'ann tea\nann pot\nann cup\nbob pot\nbob cup\nbob tea\n'
TEXT = '{"item_id": "tea", "title": "Tea"}\n{"item_id": "pot", "title": "Pot"}\n{"item_id": "cup", "title": "Cup"}\n'

BAD = {
    'empty file':             ('', TEXT, ('inter.txt', 'empty')),
    'blank lines only':       ('\n \n', TEXT, ('inter.txt', 'empty')),
    'one column':             ('ann\n', TEXT, ('inter.txt line 1', "'ann'", 'columns')),
    'four columns':           ('ann tea 1 5\n', TEXT, ('inter.txt line 1', '4 columns')),
    'mixed columns':          ('ann tea 1\nann pot\n', TEXT, ('inter.txt line 2', "'ann pot'")),
    'time that is no number': ('ann tea 1\nann pot soon\n', TEXT, ('inter.txt line 2', "'soon'", 'not a number')),
    'fraction of a second':   ('ann tea 1\nann pot 2.5\n', TEXT, ('inter.txt line 2', "'2.5'", 'whole number')),
    'names of columns':       ('user_id item_id\n'+GOOD, TEXT, ('inter.txt line 1', "'user_id item_id'", 'names of columns')),
    'UTF-16':                 (GOOD.encode('utf-16'), TEXT, ('inter.txt line 1', 'UTF-8')),
    'NaN in JSON':            (GOOD, TEXT+'{"item_id": "jug", "price": NaN}\n', ('item_attributes.jsonl line 4', 'NaN', 'null')),
    'half a character':       (GOOD, TEXT+r'{"item_id": "jug", "title": "\ud83d"}', ('item_attributes.jsonl line 4', 'half a character')),
    'number beyond reading':  (GOOD, TEXT+'{"item_id": '+'9'*5000+'}', ('item_attributes.jsonl line 4',)),
    'attributes say nothing': (GOOD, TEXT.replace('"Cup"', '" "'), ("'cup'", 'say nothing', '--missing-text empty')),
    'only an identifier':     (GOOD, TEXT.replace('"title": "Cup"', '"asin": "B00"'), ("'cup'", 'say nothing')),
    'time that is not finite':('ann tea 1\nann pot inf\n', TEXT, ('inter.txt line 2', "'inf'")),
    'broken UTF-8':           (b'ann tea\nann p\xc3\n', TEXT, ('inter.txt line 2', '0xc3', 'UTF-8')),
    'broken UTF-8 in text':   (GOOD, TEXT.encode()+b'{"item_id": "x", "title": "\xff"}\n', ('item_attributes.jsonl line 4', '0xff')),
    'truncated JSON line':    (GOOD, TEXT[:-20], ('item_attributes.jsonl line 3', 'not valid JSON')),
    'JSON line not an object':(GOOD, '["tea"]\n', ('item_attributes.jsonl line 1', 'not an object')),
    'no item_id':             (GOOD, '{"asin": "tea"}\n', ('item_attributes.jsonl line 1', 'item_id', "'asin'")),
    'item_id is null':        (GOOD, '{"item_id": null}\n', ('item_attributes.jsonl line 1', 'None')),
    'duplicate item id':      (GOOD, TEXT+'{"item_id": "tea"}\n', ('item_attributes.jsonl line 4', "'tea'", 'line 1')),
    'empty text file':        (GOOD, '', ('item_attributes.jsonl', 'empty')),
    'item without text':      (GOOD, ''.join(TEXT.splitlines(True)[:2]), ("'cup'", '--missing-text empty')),
    'text without interactions': (GOOD, TEXT+'{"item_id": "jug"}\n', ("'jug'", '--unseen-items')),
    'foreign ids in text':    (GOOD, '{"item_id": 1}\n{"item_id": 2}\n', ('are they the same ids',)),
    'a catalogue of one item':('a x\na x\na x\n', None, ("'x'", 'one item')),
    'short users only':       ('a x\na y\nb x\n', None, ('3 interactions', 'nobody can be evaluated')),
}

def folder(tmp_path, inter, text):
    for name,content in (('inter.txt', inter), ('item_attributes.jsonl', text)):
        if content is not None: (tmp_path/name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path

@pytest.mark.parametrize('case', BAD)
def test_bad_folder(case, tmp_path, capsys):
    inter,text,said = BAD[case]; (tmp_path/'shop').mkdir(); data = folder(tmp_path/'shop', inter, text)
    assert main(['fit', str(data), '--model', 'pop', '--out', str(tmp_path/'run')]) == 2
    out,err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and 'Traceback' not in err
    for s in said: assert s in err, (s, err)
    assert not (tmp_path/'run').exists()

@pytest.mark.parametrize('flags,items', [(['--missing-text', 'empty'], 3), ([], None)])
def test_missing_text_by_choice(flags, items, tmp_path, capsys):
    data = folder(tmp_path, GOOD, ''.join(TEXT.splitlines(True)[:2]))
    code = main(['data', str(data), '--json', *flags]); out,err = capsys.readouterr()
    assert (code == 0 and json.loads(out)['items'] == items) if items else code == 2

@pytest.mark.parametrize('choice,items', [('drop', 3), ('keep', 4)])
def test_unseen_items_by_choice(choice, items, tmp_path):
    d = load_dataset(folder(tmp_path, GOOD, TEXT+'{"item_id": "jug", "title": "Jug"}\n'), unseen_items=choice)
    assert d.interactions.n_items == items == d.catalog.n_items

def test_short_users_train_and_are_not_ranked(tmp_path):
    from llmcfsr.datasets import describe_dataset
    d = describe_dataset(load_dataset(folder(tmp_path, GOOD+'eve tea\neve pot\n', TEXT)))
    assert d['users'] == 3 and d['users_below_3'] == 1 and d['evaluated_users'] == 2

ODD = ['007', 'nan', 'NA', 'null', 'None', 'café/5', '#1', '"quoted"', "o'clock", 'a,b', 'ünï', '日本', '-1', '1e5', 'inf', '\\n', '{x}', '🍵']
def test_odd_ids_survive(tmp_path):
    data = folder(tmp_path, ''.join(f'{u} {i}\n' for u in ODD for i in ODD[:4]), None); d = load_dataset(data)
    assert list(d.interactions.users) == ODD and list(d.interactions.items[1:]) == ODD[:4]

@pytest.mark.parametrize('frame,said', [
    (dict(user=[1], item=['x'], timestamp=[3]), "time='timestamp'"), (dict(user=[1], item=['x'], time=[pd.NaT]), 'row 0'), (dict(user=[1], item=['x'], time=pd.to_datetime(['nat'])), "'NaT' is not a number"), (dict(user=[1, 1], item=['x', 'y'], time=[1, 1.5]), 'row 1'),
    (dict(user=[1], thing=[2]), "no column 'item'"), (dict(user=[], item=[]), 'empty'), (dict(user=[1, None], item=[1, 2]), 'row 1'), (dict(user=[1, 2], item=['x', ' ']), 'row 1'), (dict(user=[1], item=['x'], time=['noon']), "'noon'")])
def test_bad_frames(frame, said):
    with pytest.raises(InputError, match=said): from_frames(pd.DataFrame(frame))

def test_bad_item_frames():
    taken = pd.DataFrame(dict(user=[1, 1, 1], item=[1., 2., 3.]))                    # floats that are whole are the ids 1, 2, 3
    assert from_frames(taken, pd.DataFrame(dict(item_id=[3, 2, 1], title=['c', 'b', 'a']))).catalog.attrs[1:] == ({'title':'a'}, {'title':'b'}, {'title':'c'})
    for items,said in ((dict(item_id=[1, 2, None], title=list('abc')), 'row 2 of the frame of items'), (dict(item_id=[1, 2, 2], title=list('abc')), "row 2 .* '2' was described"), (dict(id=[1]), "no column 'item_id'"), (dict(item_id=[1, 2, 3], title=['a', 'b', None]), "'3', which has attributes that say nothing")):
        with pytest.raises(InputError, match=said): from_frames(taken, pd.DataFrame(items))

def test_missing_places(capsys, tmp_path):
    (tmp_path/'inter.txt').write_text(GOOD)
    for data,said in (('./nowhere', 'planted'), ('plantet', 'planted'), (str(tmp_path/'none'), 'not a folder'), (str(tmp_path/'inter.txt'), 'give the folder')):
        assert main(['data', data]) == 2
        assert said in capsys.readouterr().err

def test_text_model_without_text(tmp_path, capsys):
    assert main(['fit', str(folder(tmp_path, GOOD+'eve jug\neve tea\n', None)), '--model', 'llm-cfsr', '--out', str(tmp_path/'run')]) == 2
    assert 'item_attributes.jsonl' in capsys.readouterr().err

def test_tables_on_the_command_line(tmp_path, capsys):
    "Columns are named by role, rows left out are counted, and a known name takes no such options"
    (tmp_path/'shop.csv').write_text('uid,sku,stars\n'+''.join(f'{u},{i},{5-(i=="w")}\n' for u in 'abcd' for i in 'xyzw'))
    assert main(['data', str(tmp_path/'shop.csv'), '--columns', 'user=uid,item=sku,rating=stars', '--min-rating', '5', '--core', '3', '--json']) == 0
    d = json.loads(capsys.readouterr().out); assert (d['users'], d['items'], d['interactions'], d['rows read']) == (4, 3, 12, 16)
    for argv,said in ((['data', str(tmp_path/'shop.csv'), '--columns', 'user'], 'ROLE=NAME'), (['data', 'planted', '--core', '3'], "leave out 'core'"), (['data', str(tmp_path/'shop.csv'), '--columns', 'user=who,item=sku'], "'who'")):
        assert main(argv) == 2; err = capsys.readouterr().err; assert said in err and err.count('\n') == 1

@pytest.mark.parametrize('time,said', [('-3', 'before 1970'), ('99999999999', 'no range in one unit'), ('4', '')])
def test_odd_times_are_told_and_read(time, said, tmp_path, capsys):
    "Only the order of times is used, so a clock that was wrong loses no data"
    data = folder(tmp_path, f'ann tea 1\nann pot 2\nann cup {time}\nbob pot 1\nbob cup 2\nbob tea 3\n', TEXT)
    assert main(['data', str(data), '--json']) == 0; out,err = capsys.readouterr()
    assert json.loads(out)['interactions'] == 6 and (said in err and err.count('\n') == 1 if said else err == '')

def test_ids_that_differ_in_blanks():
    with pytest.raises(InputError, match="'tea' and 'tea '"): from_frames(pd.DataFrame(dict(user=['a']*4, item=['tea', 'tea ', 'pot', 'cup'])))
