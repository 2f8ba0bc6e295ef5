"""Copy MathJax from the installed ``sphinx-mathjax-offline`` into ``vendored/``.

With it there, pages ask no other host for it. Only the bundle that the site loads and its fonts are copied.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = "tex-mml-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def main() -> None:
    """Copy beside the target, then rename, so that an interrupted copy is never taken for a whole one."""
    # The package's folder has hyphens in its name, so it is located by its files rather than imported.
    source = Path(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax"))
    target = ROOT / "vendored" / "mathjax"
    partial = target.with_name("mathjax.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source / FONTS, partial / FONTS)
    shutil.copy2(source / BUNDLE, partial / BUNDLE)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


if __name__ == "__main__":
    main()
