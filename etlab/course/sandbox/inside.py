"""What of this machine a program sees: the Python that runs us, its libraries, and the package `etlab`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import etlab
from etlab.course.sandbox.limits import MB, Job, SandboxError

PACKAGE = Path(etlab.__file__).resolve().parent
PACKAGE_INSIDE = "/opt/etlab/etlab"
ENTER = "course/sandbox/enter.py"  # in the package
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Of /etc only what the loader and the clock need; numerical libraries ask /sys how many processors there are.
DETAILS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys/devices/system/cpu")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "USER": "nobody",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(Path(PACKAGE_INSIDE).parent),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",  # or a program that is killed takes its last words with it
    "HDF5_USE_FILE_LOCKING": "FALSE",  # nobody else writes what is in there
}


def python_folders() -> list[Path]:
    """Return the folders of this Python and its packages. Raises SandboxError if they hold the user's files, too."""
    given = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    folders = list(dict.fromkeys([*given, *(folder.resolve() for folder in given)]))
    for folder in folders:
        if Path.home().resolve().is_relative_to(folder) or folder == folder.parent:
            raise SandboxError(
                f"this Python lies in {folder}, which holds the home folder: the program would see it all. "
                "Use a virtual environment in a folder of its own."
            )
    return [folder for folder in folders if not any(folder.is_relative_to(part) for part in SYSTEM)]


def exposed(path: Path) -> bool:
    """Return whether a program in the sandbox could read a file or folder of this machine, were it not in ``visible``.

    Parameters
    ----------
    path
        Any file or folder, which need not exist.

    Returns
    -------
    bool
        True for what lies in the folders of this Python, of the system's programs and of the package.

    Raises
    ------
    SandboxError
        If this Python cannot be shown without the user's files.

    Examples
    --------
    >>> exposed(Path("/usr/bin/env")), exposed(Path("/srv/key.txt"))
    (True, False)
    """
    path = Path(path).resolve()
    shown = [Path(part).resolve() for part in (*SYSTEM, *DETAILS, PACKAGE)] + python_folders()
    return any(path.is_relative_to(part) for part in shown)


def rlimits(job: Job, **more: int) -> dict[str, int]:
    """Return the limits of each process, above those of all together, so that the watch reports these first."""
    limits = job.limits
    return {
        "RLIMIT_CORE": 1,  # byte: unlike 0 it also keeps the kernel from handing the core to a program of the host
        "RLIMIT_NOFILE": 256,
        "RLIMIT_MSGQUEUE": 0,
        # Not RLIMIT_AS: numba and onnxruntime reserve far more addresses than they ever fill.
        "RLIMIT_DATA": (2 * limits.memory_mb + 1024) * MB,
        "RLIMIT_CPU": 2 * int(limits.cpu_s) + 1,
        **more,
    }


def check_readable(visible: Mapping[str, Path]) -> None:
    """Raise SandboxError for a file shown to the program that other users may not read."""
    for path in visible.values():
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            needed = 0o5 if one.is_dir() else 0o4
            if not one.is_symlink() and one.stat().st_mode & needed != needed:
                raise SandboxError(
                    f"{one} is not readable by other users, and as root the program runs as one: "
                    f"chmod -R a+rX {path}"
                )


def variables(job: Job) -> dict[str, str]:
    """Return the whole environment of the program."""
    return {**ENVIRONMENT, **job.environment}
