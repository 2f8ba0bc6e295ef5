"""Run a notebook inside the sandbox, cell by cell.

    python run_notebook.py NOTEBOOK OUT SECONDS NUMBA CALLS SOCKET

A cell's outputs are left in ``OUT/outputs-N.json`` as soon as it has run, its number in ``OUT/running`` before. A cell
that takes longer than SECONDS ends this program, as does one that prints without end, leaves the memory full or takes
its kernel with it: it leaves a word on that in ``OUT/ended``, and `run_apart` goes on without it.

In place of a check the kernel runs CALLS (`far_calls.py`): it serves the student's functions to the process that
listens at SOCKET and makes the check.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

from etlab.atomic import replacing
from etlab.compiled import take_kernels

KEPT = 1 << 20  # bytes of outputs of one cell: feedback is to be read
FLOOD = 64 * KEPT  # bytes after which a cell is taken to print without end
DATA = 2 << 30  # bytes a process may fill; then it gets a MemoryError, before the sandbox ends them all
FULL = DATA // 2  # bytes that no cell may leave behind in its kernel: the next would not have enough
SERVE = "__import__('runpy').run_path({calls!r})['answer'](get_ipython().user_ns, {socket!r}, {hello!r})"


class Ended(SystemExit):
    """A cell that this program does not survive, with a word that says how."""


class Client(NotebookClient):
    """One that keeps the first outputs of a cell and drops the flood, but never an error."""

    def process_message(self, msg, cell, cell_index):
        """See `NotebookClient.process_message`."""
        if msg["msg_type"] in ("stream", "display_data", "execute_result", "update_display_data"):
            self.filled += len(json.dumps(msg["content"]))
            if self.filled > FLOOD:
                raise Ended("prints")
            if self.filled > KEPT:
                return None
        return super().process_message(msg, cell, cell_index)


def main(notebook: str, out: str, seconds: str, numba: str, calls: str, socket: str) -> None:
    """Run all cells of the notebook."""
    take_kernels(Path(numba))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA, hard))
    cells = nbformat.read(notebook, as_version=4)
    for index, cell in enumerate(cells.cells):
        if cell.metadata.get("check"):
            cell.source = SERVE.format(calls=calls, socket=socket, hello=str(index))
    os.chdir("/tmp")  # where the sockets of the kernel are, too
    try:
        run(client(cells, int(seconds)), Path(out))
    except (Ended, CellTimeoutError, DeadKernelError, TimeoutError) as error:
        word = (
            error.args[0]
            if isinstance(error, Ended)
            else "kernel"
            if isinstance(error, DeadKernelError)
            else "time"
        )
        Path(out, "ended").write_text(word, encoding="utf-8")
        sys.exit(word)


def client(cells: nbformat.NotebookNode, seconds: int) -> Client:
    """Return what runs the cells; the time of a check is kept by whoever makes it."""
    # files in /tmp: the sandbox has no network to speak of
    sockets = Config(KernelManager={"transport": "ipc"})
    return Client(
        cells,
        kernel_name="python3",
        config=sockets,
        timeout_func=lambda cell: None if cell.metadata.get("check") else seconds,
        iopub_timeout=seconds,
        raise_on_iopub_timeout=True,  # what one cell printed is not to keep the next one waiting
        allow_errors=True,
        on_cell_executed=_with_its_error,
    )


def run(client: Client, out: Path) -> None:
    """Run one cell after the other. Raises Ended, or what nbclient raises, at one that must not go on."""
    with client.setup_kernel():
        for index, cell in enumerate(client.nb.cells):
            (out / "running").write_text(str(index), encoding="utf-8")
            client.filled = 0
            client.execute_cell(cell, index)
            if held_by(client.km.provisioner.pid) > FULL:
                raise Ended("full")
            with replacing(out / f"outputs-{index}.json") as part:
                part.write_text(json.dumps(cell.get("outputs", [])), encoding="utf-8")


def held_by(pid: int) -> int:
    """Bytes of data that a process holds; 0 where the system does not say (macOS)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmData:\s*(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0  # of a process that has ended


def _with_its_error(*, cell, cell_index, execute_reply):
    """An error that the code kept from being shown is an error nevertheless."""
    reply = execute_reply["content"]
    if reply["status"] == "error" and not any(output.output_type == "error" for output in cell.outputs):
        keys = ("ename", "evalue", "traceback")
        cell.outputs.append(nbformat.v4.new_output("error", **{key: reply[key] for key in keys}))


if __name__ == "__main__":
    main(*sys.argv[1:])
