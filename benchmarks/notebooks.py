"""What every chapter and lab costs who runs it as a notebook: processor time, and the largest memory of its kernel.

    .venv/bin/python benchmarks/notebooks.py [--write] [NAME ...]

Labs are run with their solutions. ``--write`` keeps the table in ``appendices/notebooks.json``, which the page on run
times shows. Binder gives a reader 2 GB in all; JupyterLab itself takes some 0.2 of them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from tqdm import tqdm

from etlab.course.benchmark.study import provenance

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "appendices" / "notebooks.json"
USED = """
import resource
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    used = resource.getrusage(who)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def main() -> None:
    """Measure the notebooks named, or all."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument(
        "names", nargs="*", metavar="NAME", help="such as 02-radon-projection; default: all"
    )
    arguments.add_argument(
        "--write", action="store_true", help=f"keep the table in {TABLE.relative_to(ROOT)}"
    )
    options = arguments.parse_args()
    found = {
        path.stem: path
        for folder in ("chapters", "labs/source")
        for path in sorted((ROOT / folder).glob("*.md"))
    }
    if unknown := set(options.names) - found.keys():
        arguments.error(f"NAME: got {', '.join(unknown)}, expected one of {', '.join(found)}")
    if options.write and options.names:
        arguments.error("--write keeps the table of all notebooks: name none")
    rows = {name: measure(found[name]) for name in tqdm(options.names or found, unit="notebook")}
    for name, row in rows.items():
        print(f"{name:30} {row['cpu_seconds']:7.1f} s {row['peak_mb']:7.0f} MB")
    if options.write:
        part = TABLE.with_suffix(".part")
        part.write_text(json.dumps({"provenance": provenance("notebooks"), "rows": rows}, indent=1) + "\n")
        os.replace(part, TABLE)


def measure(path: Path) -> dict[str, float]:
    """Processor time and peak memory, in megabytes, of a kernel that runs all cells, its helpers included."""
    notebook = jupytext.read(path)
    notebook.cells.append(new_code_cell(USED))
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    used = [tuple(map(float, line.split())) for line in notebook.cells[-1].outputs[0].text.splitlines()]
    seconds, megabytes = map(sum, zip(*used, strict=True))
    return {"cpu_seconds": round(seconds, 1), "peak_mb": round(megabytes)}


if __name__ == "__main__":
    main()
