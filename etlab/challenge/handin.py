"""What a student hands in: a folder or a zip, copied as plain files before anything looks at it.

    solve.py    with a function ``solve(problem) -> (x_hat, corrected_spec)``, problem an `etlab.challenge.Problem`
    solve       or a program: ``solve problem.h5 answer.h5``
    public.h5   or dev.h5, answers already made, for want of code: submissions as `etlab.challenge.submission` says

The copy holds nothing but regular files and folders, of a bounded size: no links, no devices, no path that leads out.
Its name is that of the folder or zip, its identity the SHA-256 of all its names and contents.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

MAX_FILES, MAX_BYTES = 1000, 256 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,59}")
BLOCK = 1 << 20


class HandInError(ValueError):
    """A submission that is not even looked into. The message says why, in a line."""


@dataclass(frozen=True)
class HandIn:
    """A submission, copied: its ``name``, the ``folder`` of the copy, and the SHA-256 of all that is in it."""

    name: str
    folder: Path
    sha256: str

    @property
    def program(self) -> Path | None:
        """``solve.py`` or ``solve``, if there is one."""
        return next((one for one in (self.folder / "solve.py", self.folder / "solve") if one.is_file()), None)

    def answers(self, tier: str) -> Path | None:
        """The answers to a tier that were handed in as a file, if there are any; to the hidden tier there are none."""
        path = self.folder / f"{tier}.h5"
        return path if tier != "hidden" and path.is_file() else None


def copied(source: str | os.PathLike, target: Path, name: str) -> HandIn:
    """Copy a folder or zip into the new folder ``target``; ``name`` is that on the board.

    Raises HandInError for links and other things that are not files, paths that lead
    out, more than 1000 files or 256 MiB, and whatever is neither folder nor zip.
    """
    source = Path(source)
    target.mkdir(parents=True)
    try:
        if source.is_symlink():
            raise HandInError("expected a folder or a zip, got a link")
        if source.is_dir():
            _copy_folder(source, target)
        elif source.is_file():
            _unpack(source, target)
        else:
            raise HandInError("expected a folder or a zip, found neither")
        handed_in = HandIn(name, target, _digest(target))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        shutil.rmtree(target)
        raise HandInError(f"cannot be read: {str(error)[:200]}") from error
    except HandInError:
        shutil.rmtree(target)
        raise
    if not handed_in.program and not any(handed_in.answers(tier) for tier in ("public", "dev")):
        shutil.rmtree(target)
        raise HandInError("expected solve.py, solve, public.h5 or dev.h5 at its top, found none of them")
    return handed_in


def submission_name(source: Path) -> str:
    """The name of a submission, that of its folder or zip. Raises HandInError for one that no board should show."""
    name = source.name.removesuffix(".zip")
    if name.lower().startswith("baseline"):
        raise HandInError("name: got one that begins with 'baseline', as only those of the course do")
    if not NAME.fullmatch(name):
        raise HandInError(
            "name: expected up to 60 letters (a-z), digits, spaces and . _ + -, beginning with one of the first two"
        )
    return name


def _copy_folder(source, target):
    """Regular files and folders; what changes while it is copied is copied as it was found."""
    budget = _Budget()
    for folder, folders, names in os.walk(source, followlinks=False):
        inside = target / Path(folder).relative_to(source)
        for name in folders:
            if Path(folder, name).is_symlink():
                raise HandInError(f"{name}: expected files and folders, got a link")
            (inside / name).mkdir()
        for name in names:
            descriptor = _opened_plain(Path(folder, name))
            with os.fdopen(descriptor, "rb") as file:
                budget.copy(file, inside / name, os.fstat(file.fileno()).st_mode & stat.S_IXUSR)


def _unpack(source, target):
    budget = _Budget()
    with zipfile.ZipFile(source) as archive:
        if len(archive.infolist()) > MAX_FILES:
            raise HandInError(f"got {len(archive.infolist())} files, expected at most {MAX_FILES}")
        for entry in archive.infolist():
            parts = Path(entry.filename.replace("\\", "/")).parts
            if not parts or Path(*parts).is_absolute() or ".." in parts or ":" in entry.filename:
                raise HandInError(
                    f"{entry.filename[:80]!r}: expected a path inside the zip, got one that leads out"
                )
            mode = entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise HandInError(
                    f"{entry.filename[:80]!r}: expected files and folders, got a link or device"
                )
            path = target.joinpath(*parts)
            if entry.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as file:
                budget.copy(file, path, mode & stat.S_IXUSR)


class _Budget:
    """Copies files until there are too many or they are too large, whatever their headers claim."""

    def __init__(self):
        self.files, self.bytes = 0, 0

    def copy(self, file, path, executable):
        self.files += 1
        if self.files > MAX_FILES:
            raise HandInError(f"got more than {MAX_FILES} files")
        with path.open("xb") as out:
            while block := file.read(BLOCK):
                self.bytes += len(block)
                if self.bytes > MAX_BYTES:
                    raise HandInError(f"got more than {MAX_BYTES >> 20} MiB, unpacked")
                out.write(block)
        path.chmod(0o755 if executable else 0o644)


def _opened_plain(path):
    """A descriptor of a regular file; a link is not followed, and a pipe that nobody writes to does not block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise HandInError(
            f"{path.name}: expected files and folders that can be read, got a link or something else"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HandInError(f"{path.name}: expected files and folders, got something else")
    return descriptor


def _digest(folder):
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(
                repr((path.relative_to(folder).as_posix(), path.stat().st_mode & stat.S_IXUSR)).encode()
            )
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
