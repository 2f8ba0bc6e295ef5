"""One ES module per showpiece, run by anywidget beside a kernel and by ``static.js`` in a page without one.

A showpiece is a subclass of `StaticWidget` that names its module and declares its data as traits:

    class Pendulum(StaticWidget):
        module = "pendulum.js"            # export default { render({ model, el }) }
        length = traitlets.Float().tag(sync=True)

Modules may ``import { … } from "./maths.js"``. Pages opened from a file cannot load a module by its address,
so Python writes the imported files and the module into one text (`bundle`), without any build step.
"""

from __future__ import annotations

import html
import re
from typing import Any

import anywidget
import traitlets

from etlab.course.widgets.page import embedded_json, is_static, source

_IMPORT = re.compile(r"""^import\s*\{[^}]*\}\s*from\s*["']\./([\w.]+)["'];\n""", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=function|const|class)", re.MULTILINE)


def bundle(module: str) -> str:
    """Return the text of an ES module of this package with its ``./`` imports put in front, each once, in one scope."""
    order: list[str] = []

    def visit(name: str) -> None:
        for imported in _IMPORT.findall(source(name)):
            visit(imported)
        if name not in order:
            order.append(name)

    visit(module)
    texts = [_IMPORT.sub("", source(name)) for name in order]
    return "\n".join([_EXPORT.sub("", text) for text in texts[:-1]] + texts[-1:])


class StaticWidget(anywidget.AnyWidget):
    """Widget whose module draws and computes in the browser, with or without a kernel.

    Parameters
    ----------
    alt
        What is seen, for readers who do not see it; also shown where JavaScript is off.
    caption
        Text under the figure.

    Examples
    --------
    >>> from etlab.course.widgets import VariationExplorer
    >>> isinstance(VariationExplorer(alt="a line of densities"), StaticWidget)
    True
    """

    module: str
    alt = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read the subclass's module and the shared style sheet."""
        if "module" in vars(cls):  # not in the class that traitlets makes of it for each instance
            cls._esm = bundle(cls.module)
            cls._css = source("widgets.css")
        super().__init_subclass__(**kwargs)

    def open(self) -> None:
        """Connect to the kernel's front end; in a static page there is none, and nothing to embed twice."""
        if not is_static():
            super().open()

    def state(self) -> dict:
        """Return the synchronised traits that this showpiece declares, by name."""
        inherited = set(anywidget.AnyWidget.class_trait_names(sync=True)) | {"_anywidget_id", "_esm", "_css"}
        return {name: getattr(self, name) for name in self.trait_names(sync=True) if name not in inherited}

    def static_html(self) -> str:
        """Return the whole figure as HTML that needs nothing from elsewhere."""
        content = embedded_json({"module": self._esm, "state": self.state()})
        return (
            f'<div data-etlab-figure="{type(self).__name__}">'
            f"<style>{source('widgets.css')}</style>"
            f"<noscript><p>{html.escape(self.alt)}</p></noscript>"
            f'<script type="application/json">{content}</script>'
            f"<script>{source('static.js')}</script></div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return what a notebook shows: the figure as HTML in a static page."""
        if is_static():
            return {"text/plain": self.alt, "text/html": self.static_html()}
        return super()._repr_mimebundle_(**kwargs)
