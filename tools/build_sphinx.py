"""Build the site on plain Sphinx, without Jupyter Book: what the course would move to if Jupyter Book 1 ended.

    python build_sphinx.py PYTHON

The pages must have been executed (`make book`): their results are taken from its cache. PYTHON is that of an
environment with the packages of requirements-sphinx.txt.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build" / "sphinx"


def configuration() -> str:
    """Return what Jupyter Book would tell Sphinx, as a conf.py that needs no Jupyter Book."""
    made = ROOT / "conf.py"
    program = "from jupyter_book.cli.main import main; main()"
    try:
        subprocess.run(
            [sys.executable, "-c", program, "config", "sphinx", "."],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        text = made.read_text(encoding="utf-8")
    finally:
        made.unlink(missing_ok=True)
    text = re.sub(r"'jupyter_book',\s*", "", text, count=1)
    # paths in it are relative to conf.py, which does not lie beside the pages
    places = {
        "nb_execution_cache_path": str(ROOT / "_build" / ".jupyter_cache"),
        "bibtex_bibfiles": [str(ROOT / "references.bib")],
        "html_static_path": [str(ROOT / "assets"), str(ROOT / "vendored")],
        "html_logo": str(ROOT / "assets" / "logo.svg"),
        "html_favicon": str(ROOT / "assets" / "favicon.png"),
    }
    return text + "".join(f"\n{name} = {value!r}" for name, value in places.items()) + "\n"


def main(python: str) -> int:
    """Build; return the exit status of Sphinx, which takes warnings for errors."""
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "conf.py").write_text(configuration(), encoding="utf-8")
    options = ["-W", "-n", "--keep-going", "-q", "-E", "-c", str(BUILD), "-d", str(BUILD / "doctrees")]
    command = [python, "-m", "sphinx", *options, ".", str(BUILD / "html")]
    places = os.pathsep.join([str(ROOT), str(ROOT / "extensions")])
    status = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": places}).returncode
    if status == 0:
        print(f"The site is built on plain Sphinx: {(BUILD / 'html' / 'index.html').as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
