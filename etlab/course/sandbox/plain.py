"""Run programs without a sandbox, if you trust their authors: limits, but nothing hidden and nothing forbidden.

A program that means harm reads and changes whatever the user can, and can outlive its run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from etlab.course.sandbox import inside, leftovers
from etlab.course.sandbox.limits import MB, WORK, Job
from etlab.course.sandbox.started import Backend, Started, end, spawn, wait_until_ready


@dataclass(frozen=True)
class Unsafe(Backend):
    """A plain process of this user, which protects nothing. Paths inside are replaced by those of this machine.

    Parameters
    ----------
    name
        As it is shown.

    Examples
    --------
    >>> Unsafe().name
    'none'
    """

    name: str = "none"

    @contextlib.contextmanager
    def start(self, job: Job) -> Iterator[Started]:
        """See `Backend.start`."""
        with contextlib.ExitStack() as stack:
            work = scratch(stack)
            here = {WORK: work, "/tmp": scratch(stack)} | dict(job.visible)
            names = {name: translated(value, here) for name, value in inside.variables(job).items()}
            names["PYTHONPATH"] = str(inside.PACKAGE.parent)
            process = spawn(command(job, here), env=names, cwd=work)
            stack.callback(end, process)
            started = Group(process, work, stack)
            wait_until_ready(process)
            yield started


class Group(Started):
    """A process group that works in a folder on the disk."""

    own = 1  # enter.py stays beside the program

    def __init__(self, process: subprocess.Popen, work: Path, stack: contextlib.ExitStack) -> None:
        self.process, self._folder = process, work
        self.work = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, self.work)
        stack.callback(self.kill)

    def written(self) -> tuple[int, int]:
        """See `Started.written`."""
        return leftovers.size(self._folder)

    def kept_in_memory(self) -> int:
        """Return 0: its files are on the disk."""
        return 0

    def kill(self) -> None:
        """See `Started.kill`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def scratch(stack: contextlib.ExitStack) -> Path:
    """Make a folder on the disk that is deleted when the stack is left."""
    folder = Path(tempfile.mkdtemp(prefix="etlab-")).resolve()
    stack.callback(leftovers.remove, folder)
    return folder


def command(job: Job, here: Mapping[str, Path]) -> list[str]:
    """Return the command that sets limits, stays beside the program and ends with this process."""
    rlimits = inside.rlimits(job, RLIMIT_FSIZE=job.limits.output_mb * MB)
    settings = {"rlimits": rlimits, "uid": None, "stay": True}
    program, *rest = (translated(part, here) for part in job.command)
    enter = [sys.executable, "-I", "-S", str(inside.PACKAGE / inside.ENTER), json.dumps(settings)]
    return [*enter, sys.executable if program == "python" else program, *rest]


def translated(text: str, here: Mapping[str, Path]) -> str:
    """Return ``text`` with paths inside replaced where a path can begin and end: as in ``--out=/answer/volume.h5``."""
    parts = "|".join(re.escape(part) for part in sorted(here, key=len, reverse=True))
    return re.sub(rf"(?<![^=:,])({parts})(?![^/:,])", lambda found: str(here[found[1]]), text)
