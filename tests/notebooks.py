"""The pages of the book as notebooks, each read once: as written, and as executed when the site was built."""

import functools
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def source(page: Path) -> nbformat.NotebookNode:
    """Read a page as it is written; not to be changed, because all tests have the same."""
    return jupytext.read(page)


@functools.cache
def executed(book_html: Path, page: Path) -> nbformat.NotebookNode | None:
    """Read a page with the outputs of its cells, None if it was not executed."""
    path = book_html.parent / "jupyter_execute" / page.relative_to(ROOT).with_suffix(".ipynb")
    if not path.is_file():
        return None
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))  # as it was written here: nothing to validate
