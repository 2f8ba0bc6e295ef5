"""Runs the program of somebody who may mean harm, within limits and out of sight of everything else.

`find` says what there is to run it with, `run` runs it, and `exposed` whether a file of this machine would be seen.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from etlab.course.sandbox import leftovers
from etlab.course.sandbox.bubblewrap import find_bubblewrap
from etlab.course.sandbox.engines import IMAGE, find_engines
from etlab.course.sandbox.inside import exposed
from etlab.course.sandbox.limits import MB, Job, Limits, Outcome, SandboxError
from etlab.course.sandbox.plain import Unsafe
from etlab.course.sandbox.started import Backend
from etlab.course.sandbox.supervision import supervise

__all__ = ["Backend", "Limits", "Outcome", "SandboxError", "Unsafe", "exposed", "find", "run"]

DEFAULT = Limits()
NOTHING: Mapping[str, str] = MappingProxyType({})
TRIAL = Limits(wall_s=20, memory_mb=256, processes=8)


def find(*, unsafe: bool = False) -> Backend:
    """Bubblewrap if it works here, else a container engine that has the image, else with ``unsafe`` no sandbox at all.

    Raises SandboxError saying what to install if there is nothing.
    """
    if os.name != "posix":
        raise SandboxError(
            "programs of others can be run on Linux, and with Docker or Podman on macOS, not here"
        )
    reasons = []
    for backend in itertools.chain(find_bubblewrap(), find_engines()):
        if (reason := _trial(backend)) is None:
            return backend
        reasons.append(f"{backend.name} does not work here ({reason})")
    if unsafe:
        return Unsafe()
    raise SandboxError(
        f"{'; '.join(reasons) or 'nothing here can run a program safely'}. Install bubblewrap 0.8 or newer (Debian, "
        f"Ubuntu: apt install bubblewrap), or Docker or Podman and build the image {IMAGE} from the Containerfile. "
        "With --unsafe programs run as you, and can read, change and send whatever you can."
    )


def run(
    command: list[str],
    *,
    folder: Path,
    visible: Mapping[str, Path],
    limits: Limits = DEFAULT,
    backend: Backend,
    environment: Mapping[str, str] = NOTHING,
) -> Outcome:
    """Run a program and say what became of it; when this returns or raises nothing of it is running.

    Inside, "python" is a Python with `etlab` and all that it needs; the current folder is ``/answer``, which is empty
    and the only one besides ``/tmp`` that can be written; ``visible`` (path inside: path here) can be read. ``folder``,
    new or empty, receives the files left in ``/answer`` in their folders; links, pipes and the like are dropped. It
    stays empty where they are more than ``limits`` allow. As root, files in ``visible`` must be readable by all users.

    Raises ValueError for a folder that is not empty and for paths that cannot be shown, SandboxError if the sandbox
    does not start.
    """
    job = Job(list(command), {part: Path(here) for part, here in visible.items()}, environment, limits)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"folder: {folder} is not empty")
    with backend.start(job) as started:
        outcome = supervise(started, limits)
        if outcome.status == "output":
            return outcome
        try:
            leftovers.take(started.work, folder, limits.output_mb * MB)
        except leftovers.TooMuch:
            return replace(outcome, status="output", returncode=None)
    return outcome


def _trial(backend):
    """Why a backend cannot run anything here, None if it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = run(
                ["python", "-c", ""], folder=Path(folder), visible={}, limits=TRIAL, backend=backend
            )
        except SandboxError as error:
            return str(error)
    return None if outcome.ok else outcome.log.strip() or outcome.status
