"""Plain copies of what strangers wrote: files one by one within a budget, and the contents of their zips."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, TypeVar, cast

T = TypeVar("T")

MAX_FILES, MAX_BYTES, MAX_DEPTH = 1000, 256 << 20, 32
BLOCK = 1 << 20  # bytes
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of others zipfile unpacks any number of bytes at once
OUR_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class HandInError(ValueError):
    """A submission that is not even looked into. The message says why, in a line."""


@dataclass
class Copy:
    """Files and folders copied into ``target``, until they are too many or too large, whatever their headers claim."""

    target: Path
    files: int = 0
    n_bytes: int = 0

    def folder(self, inside: Path) -> None:
        """Make a folder that is not there yet, and those above it."""
        for one in (*reversed(inside.parents), inside):
            if not (self.target / one).is_dir():
                self._count(one)
                self._made(one, (self.target / one).mkdir)
                (self.target / one).chmod(0o755)

    def file(self, file: IO[bytes], inside: Path, mode: int) -> None:
        """Copy an open file, which is not there yet; of ``mode`` only counts whether its owner may execute it."""
        self.folder(inside.parent)
        self._count(inside)
        path = self.target / inside
        with self._made(inside, lambda: path.open("xb")) as out:
            while block := file.read(BLOCK):
                self.n_bytes += len(block)
                if self.n_bytes > MAX_BYTES:
                    raise HandInError(f"got more than {MAX_BYTES >> 20} MiB, unpacked")
                out.write(block)
        path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)

    def _count(self, inside: Path) -> None:
        """Count a file or folder. Raises HandInError for too many, or too deep a one."""
        self.files += 1
        if self.files > MAX_FILES:
            raise HandInError(f"got more than {MAX_FILES} files and folders")
        if len(inside.parts) > MAX_DEPTH:
            raise HandInError(f"got more than {MAX_DEPTH} folders within each other")

    def _made(self, inside: Path, make: Callable[[], T]) -> T:
        """Make a file or folder. Raises HandInError if that fails for its name."""
        try:
            return make()
        except FileExistsError as error:
            raise HandInError(f"{shown(inside)}: got two things of this name") from error
        except OSError as error:
            if error.errno in OUR_TROUBLE:
                raise
            raise HandInError(f"{shown(inside)}: expected a name that a file can have") from error


def unpack(file: BinaryIO, copy: Copy) -> None:
    """Copy what is in a zip. Raises HandInError for one that is damaged or encrypted, or holds anything but files."""
    try:
        with zipfile.ZipFile(cast(BinaryIO, _Sipped(file))) as archive:
            if len(archive.infolist()) > MAX_FILES:
                raise HandInError(f"got {len(archive.infolist())} files, expected at most {MAX_FILES}")
            for entry in archive.infolist():
                _unpack_one(archive, entry, copy)
    except (HandInError, MemoryError, OSError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, struct.error, UnicodeDecodeError and others
        raise HandInError(f"cannot be read as a zip: {shown(error, 200)}") from error


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, copy: Copy) -> None:
    """Copy one entry of a zip."""
    name = entry.filename.replace("\\", "/")
    path, mode = PurePosixPath(name), entry.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise HandInError(f"{shown(name)}: expected a path inside the zip, got one that leads out")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise HandInError(f"{shown(name)}: expected files and folders, got a link or device")
    if name.endswith("/"):
        copy.folder(Path(path))
    elif entry.compress_type not in PACKED:
        raise HandInError(f"{shown(name)}: expected a file packed by 'deflate', as zips are, or not at all")
    elif entry.flag_bits & 1:
        raise HandInError(f"{shown(name)}: expected files without a password")
    else:
        with archive.open(entry) as file:
            copy.file(file, Path(path), mode)


class _Sipped:
    """A file that is never read in large pieces: zipfile would read a table of contents of any size into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, n: int = -1) -> bytes:
        """Return the next ``n`` bytes."""
        if n > BLOCK:
            raise HandInError(f"got a zip with a table of contents for far more than {MAX_FILES} files")
        return self._file.read(n if n >= 0 else BLOCK)


def open_plain(name: str | os.PathLike, folder: int | None = None) -> BinaryIO:
    """Open a regular file, by its name in an open folder; no link is followed, and no pipe is waited for."""
    descriptor = None
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            file, descriptor = os.fdopen(descriptor, "rb"), None
            return file
        raise HandInError(f"{shown(Path(name).name)}: expected files and folders, got something else")
    except OSError as error:
        if error.errno in OUR_TROUBLE:
            raise
        raise HandInError(
            f"{shown(Path(name).name)}: expected files and folders that can be read, got a link or something else"
        ) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def shown(text: object, at_most: int = 80) -> str:
    """Return what a stranger wrote, so that a terminal and a board can show it: no control characters, and not much."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:at_most])
