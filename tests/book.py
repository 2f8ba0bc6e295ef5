"""The pages of the built site, for tests that open them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pages() -> list[str]:
    """The pages that the table of contents names."""
    import yaml  # here, because conftest.py imports this file, also where there is no book

    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *files]


def wait_until_set(page) -> None:
    """Wait until MathJax, where the page loads it, has set the page, all fonts are there and nothing is left to do."""
    page.evaluate(
        """async () => {
            await window.MathJax?.startup?.promise;
            await document.fonts.ready;
            await new Promise((done) => requestIdleCallback(done, {timeout: 2000}));
        }"""
    )
