"""Run programs that may be malicious, within limits and out of sight of everything else.

`find` returns what can run them here, `run` runs one, and `exposed` tells whether it could see a file of this machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from etlab.course.sandbox import leftovers
from etlab.course.sandbox.bubblewrap import find_bubblewrap
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
    """Return bubblewrap if it works here, otherwise, with ``unsafe``, no sandbox at all.

    Parameters
    ----------
    unsafe
        Whether programs may run as this user where there is no sandbox.

    Returns
    -------
    Backend
        What `run` takes.

    Raises
    ------
    SandboxError
        If there is nothing; its text says what to install.

    Examples
    --------
    >>> import os
    >>> find(unsafe=True).name in {"bubblewrap", "none"} if os.name == "posix" else True
    True
    """
    if os.name != "posix":
        raise SandboxError("other people's programs can be run on Linux, not here")
    obstacle: str | None = "nothing here can run a program safely"
    if backend := find_bubblewrap():
        if (obstacle := _trial(backend)) is None:
            return backend
        obstacle = f"{backend.name} does not work here ({obstacle})"
    if unsafe:
        return Unsafe()
    raise SandboxError(
        f"{obstacle}. Install bubblewrap 0.8 or newer (Debian, Ubuntu: apt install bubblewrap). "
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
    """Run a program and return how it ended; when this returns or raises, nothing of it is running.

    Inside, the current folder is ``/answer``, which is empty and the only one besides ``/tmp`` that can be written.

    Parameters
    ----------
    command
        Program and arguments. "python" is a Python with `etlab` and all that it needs.
    folder
        New or empty; receives the files left in ``/answer``, in their folders. Links, pipes and the like are dropped.
        It stays empty where they are more than ``limits`` allow.
    visible
        Files and folders that can be read, path inside: path here. If you are root, all users must be able to read
        them.
    limits
        What the program may use.
    backend
        What `find` returns.
    environment
        Variables besides the sandbox's own.

    Returns
    -------
    Outcome
        How the program ended, and the end of what it printed.

    Raises
    ------
    ValueError
        For a folder that is not empty and for paths that cannot be shown.
    SandboxError
        If the sandbox does not start.

    Examples
    --------
    >>> import os
    >>> if os.name == "posix":
    ...     with tempfile.TemporaryDirectory() as work:
    ...         command = ["python", "-I", "-S", "-c", "print(6 * 7)"]
    ...         outcome = run(command, folder=Path(work), visible={}, backend=Unsafe())
    ...     assert outcome.ok and outcome.log.strip() == "42"
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


def _trial(backend: Backend) -> str | None:
    """Return why a backend cannot run anything here, None if it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = run(
                ["python", "-c", ""], folder=Path(folder), visible={}, limits=TRIAL, backend=backend
            )
        except SandboxError as error:
            return str(error)
    return None if outcome.ok else outcome.log.strip() or outcome.status
