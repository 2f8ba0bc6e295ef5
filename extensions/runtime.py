"""The role ``{runtime}``: what a page costs to run, from its last execution.

``{runtime}`this page` `` becomes "this page runs in 12 s". The time is known only once the page has been
executed, so the role leaves a placeholder, which is filled in when the page is written; executions taken from
the cache keep the time they took.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole


class RuntimePlaceholder(nodes.Inline, nodes.TextElement):
    """Stands where the time will be; its text is the subject of the sentence."""


class RuntimeRole(SphinxRole):
    """Leave a placeholder."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the placeholder and no messages."""
        return [RuntimePlaceholder(self.rawtext, self.text)], []


def in_words(seconds: float) -> str:
    """A duration as a reader would say it."""
    if seconds < 1:
        return "less than a second"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the placeholders of a page by its run time."""
    page = getattr(app.env, "nb_metadata", {}).get(docname, {})
    seconds = (page.get("exec_data") or {}).get("runtime")
    cost = "is not executed" if seconds is None else f"runs in {in_words(seconds)}"
    for placeholder in list(doctree.findall(RuntimePlaceholder)):
        placeholder.replace_self(nodes.Text(f"{placeholder.astext()} {cost}"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role with Sphinx."""
    app.add_node(RuntimePlaceholder)
    app.add_role("runtime", RuntimeRole())
    app.connect("doctree-resolved", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
