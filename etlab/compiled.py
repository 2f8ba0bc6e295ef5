"""Compiled kernels for a process in the sandbox to begin with. Imports nothing else of `etlab`: that takes a second."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def take_kernels(cache: Path) -> None:
    """Inside the sandbox: copy them to where this process may write; numba takes no cache that it cannot write to.

    Only what is imported afterwards, or runs in a process started afterwards, finds them. Nothing if there is no
    ``cache``, the folder that `etlab.challenge.warm` made.
    """
    if cache.is_dir():
        own = Path(os.environ["HOME"], "numba")
        shutil.copytree(cache, own, copy_function=shutil.copyfile)
        os.environ["NUMBA_CACHE_DIR"] = str(own)
