"""Where numba keeps compiled kernels. Imports nothing else of `etlab`: that takes a second."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

WITH_KERNELS = (".", "solvers")  # folders of the package whose modules have kernels that are kept
FOLDER = "NUMBA_CACHE_DIR"


def find_place() -> None:
    """Give numba a temporary folder if there is no other place for what it compiles; else it would raise an error.

    So it is in a container with any user id, say, where neither the package nor the home can be written to. Kernels
    are then compiled again by each run. The folder is private: code in one that others can write to is not to be run.
    """
    if os.environ.get(FOLDER) and _can_write(Path(os.environ[FOLDER])):
        return
    package = Path(__file__).parent
    if all(_can_write(package / name / "__pycache__") for name in WITH_KERNELS) or _can_write(_of_user()):
        return
    try:
        place = tempfile.mkdtemp(prefix="etlab-numba-")
    except OSError:  # nowhere at all: numba says so, once something is to be compiled
        return
    atexit.register(_remove, place, os.getpid())
    os.environ[FOLDER] = place  # for processes that are started from here, too
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = place


def take_kernels(cache: Path) -> None:
    """Inside the sandbox: copy them to where this process may write; numba takes no cache that it cannot write to.

    Only what is imported afterwards, or runs in a process started afterwards, finds them. Nothing if there is no
    ``cache``, the folder that `etlab.course.sandbox.warm` made.
    """
    if cache.is_dir():
        own = Path(os.environ["HOME"], "numba")
        shutil.copytree(cache, own, copy_function=shutil.copyfile)
        os.environ[FOLDER] = str(own)


def _of_user() -> Path:
    """Return the folder in which numba looks last."""
    from platformdirs import user_cache_path

    return user_cache_path("numba", appauthor=False)


def _can_write(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or it can be made itself; nothing is left behind."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _remove(place: str, process: int) -> None:
    if os.getpid() == process:  # and not a child that was forked
        shutil.rmtree(place, ignore_errors=True)
