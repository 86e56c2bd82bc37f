"How a page shows its definitions: a table of the docments, then the code itself"
import ast
from execnb.shell import CaptureShell
from fastcore.docments import DocmentTbl
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, exec_show_docs, rm_export
from nbdev.showdoc import BasicMarkdownRenderer

class TableRenderer(BasicMarkdownRenderer):
    "Name, docstring, and one row a parameter; a signature where no parameter is described"
    def _repr_markdown_(self):
        where = NbdevLookup().code(self.fn)
        link = f'[source]({where}){{.source-link target="_blank"}}\n\n' if where else ''
        try: table = DocmentTbl(self.sym)._repr_markdown_()
        except Exception: table = ''   # some things have no signature
        head = f"{link}{'#'*self.title_level} {self.nm}\n\n{self.docs or ''}\n\n"
        return head + (table or (f'```python\n{self.dm}\n```' if self.isfunc else ''))

def defines(cell):
    "Whether the code says something of its own, rather than import it"
    return any(not isinstance(o, (ast.Import, ast.ImportFrom)) for o in cell.parsed_() or [])

def defined(cell):
    "The names that the code defines, in order"
    return [n for o in cell.parsed_() for n in ([o.name] if hasattr(o, 'name') else [t.id for t in getattr(o, 'targets', []) if isinstance(t, ast.Name)])]

class ShowSource(Processor):
    "Exported code stands below its reference, folded, or open where its docstring names an equation; hidden cells go"
    def begin(self):
        kept, docs, waiting = [], [], []   # definitions of one cell stand in the order of the code, then the code
        for cell in self.nb.cells:
            if getattr(cell, 'has_sd', False): docs.insert(0, cell); continue
            kept += docs+waiting; docs, waiting = [], []
            d = set(getattr(cell, 'directives_', None) or {})
            if cell.cell_type!='code' or not d & {'export', 'exports', 'exporti', 'hide', 'default_exp'}: kept.append(cell)
            elif d & {'export', 'exports'} and 'hide' not in d and defines(cell):
                cell.outputs = []
                names = '' if any(hasattr(o, 'name') and o.name[0]!='_' for o in cell.parsed_()) else f": {', '.join(defined(cell))}"
                cell.source = f'#| code-fold: {"show" if "@eq-" in cell.source else "true"}\n#| code-summary: "Code{names}"\n{cell.source}'
                waiting.append(cell)
        self.nb.cells = kept + docs + waiting

class ShowFromLibrary(exec_show_docs):
    "Only `show_doc` runs, on what the library exports: no cell of the notebook is executed again"
    def begin(self):
        self.k = CaptureShell()
        lib, name = get_config().lib_path.name, next((c.directives_['default_exp'][0] for c in self.nb.cells if 'default_exp' in c.directives_), None)
        load = f'import {lib}.{name} as it; globals().update(vars(it))' if name else ''
        self.k.run_cell(f'{load}\nfrom nbdev.showdoc import show_doc')
        if self.k.exc: raise RuntimeError(f'{lib}.{name} cannot be imported: {self.k.exc}') from self.k.exc
    def __call__(self, cell):
        if getattr(cell, 'has_sd', False) or cell.source.startswith('show_doc('): self.k.cell(cell)
        if self.k.exc: raise RuntimeError(f'no documentation for {cell.source}') from self.k.exc

class Filter(FilterDefaults):
    "nbdev's stages, with exported code shown rather than removed"
    def base_procs(self):
        ours = {exec_show_docs: ShowFromLibrary, rm_export: ShowSource}
        return [ours.get(p, p) for p in super().base_procs()]
