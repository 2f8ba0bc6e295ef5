"""Make the students' notebooks, labs/release, from the instructor's, labs/source.

    python tools/release_labs.py            write them
    python tools/release_labs.py --check    write nothing; fail if they are not what the sources give

nbgrader takes out solutions and hidden tests, in a course folder made for the purpose. The same sources give
the same bytes: cells are numbered instead of carrying random ids.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from lab import LABS, Lab, names

from etlab.atomic import replacing


def main(
    check: Annotated[bool, typer.Option(help="Only compare with what is there.")] = False,
) -> None:
    """Make labs/release from labs/source."""
    stale = []
    with course() as api:
        for lab in names():
            finish(api.generate_assignment(lab), f"releasing {lab}")
            made = Path(api.coursedir.root) / "release" / lab
            for new in sorted(path for path in made.rglob("*") if path.is_file()):
                old = LABS / "release" / new.relative_to(made)
                if old.is_file() and old.read_bytes() == new.read_bytes():
                    continue
                stale.append(str(old.relative_to(LABS.parent)))
                if not check:
                    old.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(old) as part:
                        shutil.copyfile(new, part)
    if stale and check:
        sys.exit(f"not what labs/source gives: {', '.join(stale)}; run `make labs`")
    print(f"written: {', '.join(stale)}" if stale else "labs/release is what labs/source gives")


@contextmanager
def course(configure: Callable | None = None, labs: Iterable[str] | None = None) -> Iterator:
    """An `NbGraderAPI` on a temporary course folder that holds the sources of these labs, by default all.

    ``configure`` is given nbgrader's configuration to change it.

    Jupyter's and IPython's own folders are put inside it (for the whole process), so that nothing in the
    user's home is read or written.
    """
    with tempfile.TemporaryDirectory(prefix="etlab-course-") as scratch:
        root = Path(scratch).resolve()
        for home in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            (root / "home" / home).mkdir(parents=True)
            os.environ[home] = str(root / "home" / home)
        warnings.filterwarnings("ignore", module="nbgrader")  # its own quarrels with SQLAlchemy
        for lab in names() if labs is None else labs:
            _write_source(lab, root / "source" / lab)
        yield _api(root, configure)


def finish(result: dict, doing: str) -> None:
    """Stop with nbgrader's log if a step of it failed."""
    if not result["success"]:
        sys.exit(f"nbgrader failed at {doing}:\n{result.get('log', '')}\n{result.get('error', '')}")


def _api(root: Path, configure: Callable | None):
    import nbgrader.api
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    # the version says how to bring a database up to date that is kept; asking for it takes three seconds each time
    nbgrader.api.get_alembic_version = lambda: "none: this database is thrown away"

    config = PyFileConfigLoader("nbgrader_config.py", path=str(LABS)).load_config()
    config.CourseDirectory.root = str(root)
    config.NbGraderAPI.log_level = "ERROR"
    if configure:
        configure(config)
    return NbGraderAPI(config=config)


def _write_source(lab: str, folder: Path) -> None:
    """The instructor's notebook as .ipynb, with its pictures beside it."""
    notebook = Lab(lab).source()
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{lab}-{number:02d}"
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{lab}.ipynb")
    number = "-".join(lab.split("-")[:2])  # lab-1 of lab-1-projector
    for picture in sorted((LABS / "source" / "images").glob(f"{number}-*")):
        (folder / "images").mkdir(exist_ok=True)
        shutil.copyfile(picture, folder / "images" / picture.name)


if __name__ == "__main__":
    typer.run(main)
