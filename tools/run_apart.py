"""Run students' notebooks in the sandbox of the challenge, and take nothing from there but texts and pictures.

A cell that ends its kernel, takes too long, fills the memory or starts processes without end is left out and costs its
points; the others run again without it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import platformdirs
from nbformat import NotebookNode
from nbformat.v4 import new_output

import etlab
from etlab.challenge import sandbox
from etlab.challenge.records import held
from etlab.challenge.results import digest
from etlab.challenge.warm import ONE_THREAD, compile_kernels
from etlab.data import fetch_needle

RUNNER = Path(__file__).resolve().with_name("run_notebook.py")
LIMITS = {"memory_mb": 3072, "processes": 256, "output_mb": 64}
LONGEST = 20_000  # characters of one text that feedback shows
PNG = b"\x89PNG\r\n\x1a\n"
BAD_FILE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
ENDED = {
    "done": "it ended the run",
    "failed": "it ended its kernel, printed without end, left the memory full or ran for longer than {cell_s:g} s",
    "wall time": "the notebook as a whole took longer than {notebook_s:g} s",
    "processor time": "the notebook as a whole took longer than {notebook_s:g} s",
    "memory": "it filled the memory",
    "processes": "it started too many processes",
    "output": "it wrote too much to the disk",
}


@dataclass(frozen=True)
class Apart:
    """Where notebooks run (sandbox, compiled kernels, real data), and how long a cell and a notebook may take."""

    backend: sandbox.Backend
    kernels: Path
    data: Path
    cell_s: int
    notebook_s: int

    def run(self, notebook: NotebookNode) -> None:
        """Fill in the outputs of all code cells; one that was left out, or not reached, has an error that says why."""
        codes = {index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
        outputs: dict[int, list[NotebookNode]] = {}
        lost: set[int] = set()
        until = time.monotonic() + self.notebook_s
        while codes - outputs.keys() and time.monotonic() < until:
            found, culprit, how = self._run_once(notebook, lost, until - time.monotonic())
            outputs = found | outputs  # of a cell that has run before, what it said first
            if culprit is not None:
                lost.add(culprit)
                outputs[culprit] = [
                    _error("Ended", f"This cell was ended: {how}. Those below were run without it.")
                ]
            else:
                never = [_error("NotRun", f"This cell could not be run: {how}.")]
                outputs |= dict.fromkeys(codes - outputs.keys(), never)
        late = _error(
            "NotRun", f"This cell was not reached: the notebook took longer than {self.notebook_s} s."
        )
        for index in codes:
            notebook.cells[index].outputs = outputs.get(index, [late])

    def _run_once(self, notebook, lost, seconds):
        """Outputs by cell, the cell that ended the run (None if it came to its end or never began), how it ended."""
        with tempfile.TemporaryDirectory(prefix="etlab-notebook-") as scratch:
            file, work = Path(scratch, "notebook.ipynb"), Path(scratch, "work")
            os.chmod(scratch, 0o755)  # in the sandbox root is another user
            nbformat.write(_without(notebook, lost), file)
            file.chmod(0o644)
            outcome = sandbox.run(
                ["python", "/run_notebook.py", "/notebook.ipynb", "/answer", str(self.cell_s), "/numba"],
                folder=work,
                visible={
                    "/run_notebook.py": RUNNER,
                    "/notebook.ipynb": file,
                    "/numba": self.kernels,
                    "/data/" + self.data.name: self.data,
                },
                limits=sandbox.Limits(wall_s=seconds, cpu_s=4 * seconds, **LIMITS),
                backend=self.backend,
                environment=ONE_THREAD  # a second one gains little in such small volumes
                | {
                    "ETLAB_CACHE": "/data",
                    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                },
            )
            found = dict(_outputs(work, len(notebook.cells)))
            running = _running(work)
        culprit = running if running in range(len(notebook.cells)) and running not in found else None
        return found, culprit, ENDED[outcome.status].format(cell_s=self.cell_s, notebook_s=self.notebook_s)


def apart(*, unsafe: bool, cell_s: int, notebook_s: int) -> Apart:
    """A place for notebooks to run; the first call compiles the kernels and keeps them in the user's cache folder.

    Raises SandboxError if there is no sandbox here and ``unsafe`` is not set.
    """
    backend = sandbox.find(unsafe=unsafe)
    kernels = platformdirs.user_cache_path("etlab") / "kernels" / f"{backend.name}-{_code()}"
    kernels.parent.mkdir(parents=True, exist_ok=True)
    with held(kernels.parent / ".lock"):
        compile_kernels(kernels, backend)
    return Apart(backend, kernels, fetch_needle(), cell_s, notebook_s)


def _code() -> str:
    """What compiled kernels depend on: the code that numba compiles, and this Python."""
    modules = [path.read_bytes() for path in sorted(Path(etlab.__file__).parent.rglob("*.py"))]
    return digest(sys.version, *(code for code in modules if b"numba" in code))


def _without(notebook, lost):
    """A copy in which these cells are empty, and no output is left."""
    cells = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cells.append(nbformat.v4.new_code_cell("" if index in lost else cell.source))
        else:
            cells.append(nbformat.v4.new_markdown_cell(""))
    return nbformat.v4.new_notebook(cells=cells)


def _running(work):
    """The cell that was running at the end; None if there was none."""
    try:
        return int((work / "running").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _outputs(work: Path, n_cells: int) -> Iterator[tuple[int, list[NotebookNode]]]:
    """What cells left behind, from files that the student's code may have written."""
    for index in range(n_cells):
        path = work / f"outputs-{index}.json"
        if path.is_file():
            try:
                yield index, [kept for output in json.loads(path.read_bytes()) if (kept := _plain(output))]
            except BAD_FILE:
                yield index, [_error("Damaged", "What this cell left behind cannot be read.")]


def _plain(output: dict) -> NotebookNode | None:
    """An output as text and picture only: feedback is opened in a browser, and HTML could do anything there."""
    kind = output["output_type"]
    if kind == "stream":
        name = "stderr" if output["name"] == "stderr" else "stdout"
        return new_output("stream", name=name, text=_short(output["text"]))
    if kind == "error":
        lines = [_short(line) for line in output["traceback"][:100]]
        return _error(_short(output["ename"]), _short(output["evalue"]), lines)
    data = {"text/plain": _short(output["data"].get("text/plain", ""))}
    if "image/png" in output["data"]:
        picture = base64.b64decode(output["data"]["image/png"])
        if picture.startswith(PNG):
            data["image/png"] = base64.b64encode(picture).decode()
    if kind == "execute_result":
        return new_output("execute_result", data=data, execution_count=None)
    return new_output("display_data", data=data)


def _short(text) -> str:
    text = "".join(text) if isinstance(text, list) else text
    if not isinstance(text, str):
        raise TypeError
    return text if len(text) <= LONGEST else text[:LONGEST] + " … (cut off)"


def _error(name, message, traceback=None):
    return new_output("error", ename=name, evalue=message, traceback=traceback or [message])
