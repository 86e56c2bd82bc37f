"Everything that settings.ini says about the package is read from it here"
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

c = ConfigParser(delimiters=['=']); c.read(Path(__file__).with_name('settings.ini'), encoding='utf-8'); c = c['DEFAULT']
def lines(key): return [o.strip() for o in c.get(key, '').splitlines() if o.strip()]

setup(version=c['version'], description=c['description'], keywords=c['keywords'].split(),
    install_requires=lines('requirements'),
    extras_require={k.removesuffix('_requirements'): lines(k) for k in c if k.endswith('_requirements')},
    entry_points=dict(console_scripts=lines('console_scripts'), nbdev=[f"{c['lib_path']}={c['lib_path']}._modidx:d"]))
