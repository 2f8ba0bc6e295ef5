"""Run students' notebooks in the sandbox of the challenge, and judge them from outside.

Of a notebook nothing is taken but texts and pictures. Its checks do not run in it: a process of ours makes them
(`run_checks`), which runs no student's code and calls the student's functions from there (`far_calls`). Points hang
on what that process writes, and on nothing that the sandbox leaves behind.

A cell that ends its kernel, takes too long, fills the memory or starts processes without end is left out and costs its
points; the others run again without it.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import platformdirs
from nbformat import NotebookNode
from nbformat.v4 import new_output

import etlab
from etlab.course import sandbox
from etlab.course.benchmark.fingerprint import digest
from etlab.course.challenge.records import held
from etlab.course.sandbox.warm import ONE_THREAD, compile_kernels
from etlab.data import fetch_needle

TOOLS = Path(__file__).resolve().parent
RUNNER, CALLS, CHECKS = TOOLS / "run_notebook.py", TOOLS / "far_calls.py", TOOLS / "run_checks.py"
LIMITS = {"memory_mb": 3072, "processes": 256, "output_mb": 64}
LONGEST = 20_000  # characters of one text that feedback shows
MOST = 200  # outputs of a cell that it shows
LARGEST = 16 << 20  # bytes of all outputs of a notebook
PRINTED = "printed by the notebook, not by the check:\n"
PNG = b"\x89PNG\r\n\x1a\n"
BAD_FILE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
ENDED = {  # by what the sandbox says, or what the program in it left word of
    "done": "it ended the run",
    "failed": "it ended the program that runs the notebook",
    "kernel": "it ended its kernel",
    "prints": "it printed without end",
    "full": "it left the memory full",
    "time": "it ran for longer than {cell_s:g} s",
    "wall time": "the notebook as a whole took longer than {notebook_s:g} s",
    "processor time": "the notebook as a whole took longer than {notebook_s:g} s",
    "memory": "it filled the memory",
    "processes": "it started too many processes",
    "output": "it wrote too much to the disk",
}
Outputs = dict[int, list[NotebookNode]]  # number of a cell -> its outputs


@dataclass(frozen=True)
class Apart:
    """Where notebooks run (sandbox, compiled kernels, real data) and are checked, and how long it may take."""

    backend: sandbox.Backend
    kernels: Path
    data: Path
    checks: Path
    cell_s: int
    notebook_s: int

    def run(self, notebook: NotebookNode, checks: dict[int, str]) -> Outputs:
        """Return the outputs of all code cells; ``checks`` are those that are judged from outside, with their source.

        A cell that was left out, or not reached, has an error that says why.
        """
        codes = {index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
        outputs: Outputs = {}
        lost: set[int] = set()
        until, done = time.monotonic() + self.notebook_s, False
        while not done and time.monotonic() < until:
            left = {index: checks[index] for index in checks.keys() - outputs.keys()}
            empty = lost | checks.keys() & outputs.keys()  # no check is made twice
            found, culprit, how = self._run_once(notebook, empty, left, until - time.monotonic())
            done = culprit is None
            outputs = found | outputs  # of a cell that has run before, what it said first
            if not done:
                lost.add(culprit)
                why = f"This cell was ended: {how}. Those below were run without it."
                outputs.setdefault(culprit, [_error("Ended", why)])
            elif codes - outputs.keys():
                never = [_error("NotRun", f"This cell could not be run: {how}.")]
                outputs |= dict.fromkeys(codes - outputs.keys(), never)
        late = _error(
            "NotRun", f"This cell was not reached: the notebook took longer than {self.notebook_s} s."
        )
        return {index: outputs.get(index, [late]) for index in codes}

    def _run_once(self, notebook, empty, checks, seconds):
        """Outputs by cell, the cell that ended the run (None if it came to its end or never began), how it ended."""
        with (
            tempfile.TemporaryDirectory(prefix="etlab-notebook-") as scratch,
            self._registered(checks) as (door, verdicts),
        ):
            file, work = Path(scratch, "notebook.ipynb"), Path(scratch, "work")
            nbformat.write(_without(notebook, empty, checks), file)
            file.chmod(0o644)  # in the sandbox root is another user; nobody else gets into the folder
            outcome = self._in_sandbox(file, work, door, seconds)
            found = dict(_outputs(work, len(notebook.cells)))
            for index in checks.keys() & (found.keys() | set(verdicts())):
                found[index] = self._judged(found.get(index, []), verdicts().get(index))
            running, word = _last_words(work)
        ended = not outcome.ok and running in range(len(notebook.cells)) and running not in empty
        how = word if outcome.status == "failed" and word in ENDED else outcome.status
        return found, running if ended else None, self._in_words(how)

    def _in_sandbox(self, file, work, door, seconds):
        places = {
            "/run_notebook.py": RUNNER,
            "/far_calls.py": CALLS,
            "/notebook.ipynb": file,
            "/numba": self.kernels,
            "/checks": door,
        }
        names = [
            "/notebook.ipynb",
            "/answer",
            str(self.cell_s),
            "/numba",
            "/far_calls.py",
            "/checks/socket",
        ]
        return sandbox.run(
            ["python", "/run_notebook.py", *names],
            folder=work,
            visible=places | {"/data/" + self.data.name: self.data},
            limits=sandbox.Limits(wall_s=seconds, cpu_s=4 * seconds, **LIMITS),
            backend=self.backend,
            environment=ONE_THREAD  # a second one gains little in such small volumes
            | {"ETLAB_CACHE": "/data", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        )

    @contextmanager
    def _registered(self, checks):
        """Tell the process that checks of a run; the folder of its door, and a function that reads the verdicts."""
        folder = Path(tempfile.mkdtemp(dir=self.checks))
        door = folder / "open"
        door.mkdir()
        door.chmod(0o755)  # in the sandbox root is another user
        told = {"seconds": self.cell_s, "sources": {str(index): source for index, source in checks.items()}}
        (folder / "checks.json").write_text(json.dumps(told), encoding="utf-8")

        def verdicts():
            return {
                int(path.stem.removeprefix("verdict-")): json.loads(path.read_text(encoding="utf-8"))
                for path in folder.glob("verdict-*.json")
            }

        with socket.socket(socket.AF_UNIX) as control:  # the door is open as long as this is
            control.connect(str(self.checks / "control"))
            control.sendall(folder.name.encode())
            control.recv(len(b"ready"))
            yield door, verdicts

    def _judged(self, outputs, verdict):
        """Return what a check's cell shows: all that the notebook printed, as mere text, then the verdict."""
        texts = "".join(output.text for output in outputs if output.output_type == "stream")
        shown = [new_output("stream", name="stdout", text=PRINTED + _short(texts))] if texts else []
        if verdict is None:
            why = "This check could not be made: the notebook stopped answering it."
            return [*shown, _error("NotChecked", why)]
        if verdict["said"]:
            shown.append(new_output("stream", name="stdout", text=_short(verdict["said"])))
        error = verdict["error"]
        if error and error["name"] == "TimeUp":
            shown.append(
                _error(
                    "Ended",
                    f"This cell was ended: {self._in_words('time')}. Those below were run without it.",
                )
            )
        elif error:
            shown.append(
                _error(error["name"], _short(error["words"]), [_short(line) for line in error["shown"]])
            )
        return shown

    def _in_words(self, how):
        return ENDED[how].format(cell_s=self.cell_s, notebook_s=self.notebook_s)


@contextmanager
def apart(*, unsafe: bool, cell_s: int, notebook_s: int) -> Iterator[Apart]:
    """A place for notebooks to run; the first call compiles the kernels and keeps them in the user's cache folder.

    Raises SandboxError if there is no sandbox here and ``unsafe`` is not set.
    """
    backend = sandbox.find(unsafe=unsafe)
    kernels = compiled(backend)
    with _checking() as checks:
        yield Apart(backend, kernels, fetch_needle(), checks, cell_s, notebook_s)


def compiled(backend: sandbox.Backend) -> Path:
    """Return the folder of the user's cache that holds the compiled kernels; they are compiled if it is not there."""
    kernels = platformdirs.user_cache_path("etlab") / "kernels" / f"{backend.name}-{_code()}"
    kernels.parent.mkdir(parents=True, exist_ok=True)
    with held(kernels.parent / ".lock"):
        compile_kernels(kernels, backend)
    return kernels


@contextmanager
def _checking() -> Iterator[Path]:
    """The folder of a process that makes checks as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="etlab-checks-") as scratch:
        folder = Path(scratch)  # for its owner alone: what is shown in the sandbox is mounted there
        process = subprocess.Popen(
            [sys.executable, CHECKS, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
        )
        with process:
            if process.stdout.readline() != b"ready\n":
                raise sandbox.SandboxError("the process that makes the checks did not start")
            yield folder
            process.stdin.close()


def _code() -> str:
    """Return what compiled kernels depend on: this Python, and files with kernels, by their place and time."""
    modules = {path: path.read_bytes() for path in sorted(Path(etlab.__file__).parent.rglob("*.py"))}
    kernels = {path: code for path, code in modules.items() if b"numba" in code}
    return digest(sys.version, *(f"{path} {path.stat().st_mtime_ns}" for path in kernels), *kernels.values())


def _without(notebook, empty, checks):
    """Return a copy in which these cells are empty and checks have no source; no output is left."""
    cells = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            cells.append(nbformat.v4.new_markdown_cell(""))
        elif index in checks:
            cells.append(nbformat.v4.new_code_cell("", metadata={"check": True}))
        else:
            cells.append(nbformat.v4.new_code_cell("" if index in empty else cell.source))
    return nbformat.v4.new_notebook(cells=cells)


def _last_words(work: Path) -> tuple[int | None, str]:
    """Return the cell that was running at the end, None if there was none, and a word on how it ended."""
    try:
        running = int((work / "running").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        running = None
    try:
        return running, (work / "ended").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return running, ""


def _outputs(work: Path, n_cells: int) -> Iterator[tuple[int, list[NotebookNode]]]:
    """Return what cells left behind, from files that the student's code may have written."""
    left = LARGEST
    for index in range(n_cells):
        path = work / f"outputs-{index}.json"
        if path.is_file():
            left -= path.stat().st_size
            try:
                yield index, _read(path) if left >= 0 else [_error("Damaged", "The notebook left too much.")]
            except BAD_FILE:
                yield index, [_error("Damaged", "What this cell left behind cannot be read.")]


def _read(path: Path) -> list[NotebookNode]:
    outputs = json.loads(path.read_bytes())
    more = [new_output("stream", name="stdout", text="… (cut off)")] * (len(outputs) > MOST)
    return [kept for output in outputs[:MOST] if (kept := _plain(output))] + more


def _plain(output: dict) -> NotebookNode | None:
    """Return an output as text and picture only: feedback is opened in a browser, and HTML could do anything there."""
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
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written
    return text if len(text) <= LONGEST else text[:LONGEST] + " … (cut off)"


def _error(name, message, traceback=None):
    return new_output("error", ename=name, evalue=message, traceback=traceback or [message])
