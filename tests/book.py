"""The pages of the built site, for tests that open them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pages() -> list[str]:
    """The pages that the table of contents names."""
    import yaml  # here, because conftest.py imports this file, also where there is no book

    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *files]


def wait_for_maths(page) -> None:
    """Wait until MathJax, where the page loads it, has set the page."""
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true) ?? true")
