"""Take over what a program left behind: plain files with the folders that they are in; all else is dropped.

Its names, links, pipes, permissions and sizes are hostile. Nothing of it may be running any more, so nothing changes
between a look and the next step.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from etlab.course.sandbox.limits import MAX_FILES

MAX_DEPTH = 16
# names that the disk here does not take
UNUSABLE = (errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


class TooMuch(Exception):
    """More was left than is allowed."""


def take(source: int, folder: Path, limit: int) -> None:
    """Copy what lies in the open folder ``source`` into ``folder``, with ordinary permissions.

    Raises TooMuch, and leaves nothing in ``folder``, if it is more than ``limit`` bytes, holes in files included.
    """
    try:
        _Copy(limit).all_of(source, folder)
    except TooMuch:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


class _Copy:
    """A copy that counts bytes and files."""

    def __init__(self, limit: int) -> None:
        self.bytes, self.files = limit, MAX_FILES

    def all_of(self, source: int, folder: Path, depth: int = 0) -> None:
        """Copy the contents of the open folder ``source``."""
        if depth > MAX_DEPTH:
            raise TooMuch
        with os.scandir(source) as entries:
            for entry in entries:
                self._one(source, entry, folder / entry.name, depth)

    def _one(self, source: int, entry: os.DirEntry, to: Path, depth: int) -> None:
        """Copy a file or folder, and drop anything else."""
        found = entry.stat(follow_symlinks=False)
        self.files -= 1
        self.bytes -= found.st_size if stat.S_ISREG(found.st_mode) else 0
        if self.files < 0 or self.bytes < 0:
            raise TooMuch
        if stat.S_ISDIR(found.st_mode):
            os.chmod(entry.name, 0o700, dir_fd=source)
            with _opened(entry.name, source) as inner:
                self.all_of(inner, to, depth + 1)
        elif stat.S_ISREG(found.st_mode):
            os.chmod(entry.name, 0o600, dir_fd=source)
            with _opened(entry.name, source) as inner, open(inner, "rb", closefd=False) as file:
                _write(file, to)


def _write(file: BinaryIO, to: Path) -> None:
    """Copy an open file, unless its name cannot be used here."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with open(to, "xb") as copy:
            shutil.copyfileobj(file, copy)
    except OSError as error:
        if error.errno not in UNUSABLE:
            raise


@contextlib.contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    """Open what lies in an open folder, without following a link."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def size(folder: Path) -> tuple[int, int]:
    """Return the bytes on the disk and the number of files below ``folder``; it stops counting at too many."""
    used = files = 0
    waiting = [folder]
    while waiting and files <= MAX_FILES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):  # it may be gone by now
                    used += 512 * entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
    return used, files


def remove(folder: Path) -> None:
    """Delete a folder and all that is in it, however its permissions were set and however deep it goes."""
    # Python's own rmtree stops at folders without permissions and at a depth of about a thousand.
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, str(folder)], stderr=subprocess.DEVNULL, check=False)
