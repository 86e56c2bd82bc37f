"How a page shows its definitions: a table of the docments, then the code itself"
import ast
from fastcore.docments import DocmentTbl
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, rm_export
from nbdev.showdoc import BasicMarkdownRenderer

class TableRenderer(BasicMarkdownRenderer):
    "Name, docstring, and one row a parameter; a signature where no parameter is described"
    def _repr_markdown_(self):
        where = NbdevLookup().code(self.fn)
        link = f'[source]({where}){{.source-link target="_blank"}}\n\n' if where else ''
        try: table = DocmentTbl(self.sym)._repr_markdown_()
        except Exception: table = ''   # some things have no signature
        head = f"{link}{'#'*self.title_level} {self.nm}\n\n{self.docs or ''}\n\n"
        return head + (table or f'```python\n{self.dm}\n```')

def defines(cell):
    "Whether the code says something of its own, rather than import it"
    return any(not isinstance(o, (ast.Import, ast.ImportFrom)) for o in cell.parsed_() or [])

class ShowSource(Processor):
    "Exported code stands below its reference, folded, or open where its docstring names an equation; hidden cells go"
    def begin(self):
        kept, waiting = [], []
        for cell in self.nb.cells:
            d = set(getattr(cell, 'directives_', None) or {})
            if not getattr(cell, 'has_sd', False): kept += waiting; waiting = []
            if cell.cell_type!='code' or not d & {'export', 'exports', 'exporti', 'hide', 'default_exp'}: kept.append(cell)
            elif d & {'export', 'exports'} and 'hide' not in d and defines(cell):
                cell.outputs = []
                cell.source = f'#| code-fold: {"show" if "@eq-" in cell.source else "true"}\n#| code-summary: "Code"\n{cell.source}'
                waiting.append(cell)
        self.nb.cells = kept + waiting

class Filter(FilterDefaults):
    "nbdev's stages, with exported code shown rather than removed"
    def base_procs(self): return [p for p in super().base_procs() if p is not rm_export] + [ShowSource]
