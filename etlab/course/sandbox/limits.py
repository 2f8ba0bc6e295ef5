"""What a program is given, how it ended, and the error of a sandbox that cannot run one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

MB = 1024 * 1024
MAX_FILES = 10_000  # that may be left behind, folders included: each costs memory, too
WORK = "/answer"
OURS = ("/opt", "/proc", "/dev", "/tmp", "/usr", "/etc", WORK)  # nobody else's files are shown below these


class SandboxError(RuntimeError):
    """No program can be run safely here, or this one was never started."""


@dataclass(frozen=True)
class Limits:
    """What all processes of one run may use together.

    Parameters
    ----------
    wall_s
        Seconds by the clock.
    cpu_s
        Seconds of the processor.
    memory_mb
        Memory in MiB, temporary files and shared memory included.
    processes
        Processes and their threads.
    output_mb
        MiB that may be left in the folder.
    log_kb
        KiB that are kept of what is printed, the last ones.

    Raises
    ------
    ValueError
        Unless all are positive and finite.

    Examples
    --------
    >>> Limits(wall_s=10).memory_mb
    4096
    """

    wall_s: float = 600.0
    cpu_s: float = 1200.0
    memory_mb: int = 4096
    processes: int = 64
    output_mb: int = 64
    log_kb: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = not field.name.endswith("_s")
            right = isinstance(value, int) if whole else isinstance(value, int | float)
            if not right or isinstance(value, bool) or not 0 < value < math.inf:
                kind = "a positive whole number" if whole else "a positive finite number"
                raise ValueError(f"{field.name}: got {value!r}, expected {kind}")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    status
        "done", "failed" (it ended by itself with another exit code than 0), or the limit that ended it: "wall time",
        "processor time", "memory", "processes" or "output".
    returncode
        None where a limit ended it.
    log
        The end of what the program printed.
    seconds
        By the clock.
    cpu_seconds
        Of the processor, all processes together.

    Examples
    --------
    >>> Outcome("memory", None, "", 2.5, 2.0).ok
    False
    """

    status: str
    returncode: int | None
    log: str
    seconds: float
    cpu_seconds: float

    @property
    def ok(self) -> bool:
        """Return whether the program exited with status 0."""
        return self.status == "done"


@dataclass(frozen=True)
class Job:
    """One program to run: its command, the files shown to it (path inside: path here), its variables and limits.

    Raises ValueError for an empty command, for a path inside that is not absolute or hides the sandbox's own, and for
    a file that is not there.
    """

    command: list[str]
    visible: Mapping[str, Path]
    environment: Mapping[str, str]
    limits: Limits

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("command: got an empty list, expected a program and its arguments")
        for inside, here in self.visible.items():
            path = PurePosixPath(inside)
            taken = any(path.is_relative_to(own) for own in OURS)
            if str(path) != inside or not path.is_absolute() or ".." in path.parts or inside == "/" or taken:
                raise ValueError(f"visible: got {inside!r}, expected an absolute path such as '/submission'")
            if not here.exists():
                raise ValueError(f"visible: {here} does not exist")
