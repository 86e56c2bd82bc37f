"`show_doc` as a signature, the docstring and a table of the docments"
from fastcore.docments import DocmentTbl
from nbdev.showdoc import BasicMarkdownRenderer

class TableRenderer(BasicMarkdownRenderer):
    def _repr_markdown_(self):
        s = super()._repr_markdown_()
        try: t = DocmentTbl(self.sym)._repr_markdown_()
        except Exception: return s   # things without a signature have no table
        return s + ('\n\n' + t if t and '|' in t else '')
