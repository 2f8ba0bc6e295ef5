"""What a student hands in: a folder or a zip, copied as plain files before anything looks at it.

    solve.py    with a function ``solve(problem) -> (x_hat, corrected_spec)``, problem an `etlab.course.scenes.Problem`
    solve       or a program: ``solve problem.h5 answer.h5``
    public.h5   or dev.h5, answers already made, for want of code: submissions as `etlab.course.challenge.submission`
    says

The copy holds nothing but regular files and folders, of a bounded size: no links, no devices, no path that leads out.
Its name is that of the folder or zip, its identity the SHA-256 of all its names and contents.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from etlab.course.challenge.unpack import OUR_TROUBLE, Copy, HandInError, open_plain, shown, unpack
from etlab.course.scenes.published import published

__all__ = ["HandIn", "HandInError", "copied", "submission_name"]

NAME = re.compile(r"(?=.{1,60}$)[A-Za-z0-9][A-Za-z0-9._+-]*( [A-Za-z0-9._+-]+)*")
OURS = ("baseline", "leaderboard")  # the course's rows, and the board's files in the folder of results


@dataclass(frozen=True)
class HandIn:
    """A submission, copied: its ``name``, the ``folder`` of the copy, and the SHA-256 of all that is in it."""

    name: str
    folder: Path
    sha256: str

    @property
    def program(self) -> Path | None:
        """Return ``solve.py`` or ``solve``, if there is one."""
        return next((one for one in (self.folder / "solve.py", self.folder / "solve") if one.is_file()), None)

    def answers(self, tier: str) -> Path | None:
        """Return the file of answers to a tier, if there is one; to the hidden tier there is none."""
        path = self.folder / f"{tier}.h5"
        return path if tier != "hidden" and path.is_file() else None


def copied(source: str | os.PathLike, target: Path, name: str) -> HandIn:
    """Copy a folder or zip into the new folder ``target``; ``name`` is that on the board.

    Raises HandInError for links and other things that are not files, paths that lead out or are more than 32 folders
    deep, more than 1000 files and folders or 256 MiB, and whatever is neither folder nor zip; then ``target`` is gone.
    """
    source = Path(source)
    target.mkdir(parents=True)
    target.chmod(0o755)  # whatever the umask: in the sandbox root is another user
    try:
        if source.is_symlink():
            raise HandInError("expected a folder or a zip, got a link")
        if source.is_dir():
            _copy_folder(source, Copy(target))
        else:
            with open_plain(source) as file:
                unpack(file, Copy(target))
        handed_in = HandIn(name, target, _digest(target))
        if not handed_in.program and not any(handed_in.answers(tier) for tier in ("public", "dev")):
            raise HandInError(_nothing_found(target))
    except BaseException as error:
        shutil.rmtree(target)
        if isinstance(error, OSError) and error.errno not in OUR_TROUBLE:
            raise HandInError(f"cannot be read: {error.strerror or 'damaged'}") from error
        raise
    return handed_in


def submission_name(source: Path) -> str:
    """Return the name of a folder or zip. Raises HandInError for one that no board should show."""
    name = Path(os.path.abspath(source)).name
    name = name[:-4] if name.lower().endswith(".zip") else name
    for taken in OURS:
        if name.lower().startswith(taken):
            raise HandInError(f"name: got one that begins with {taken!r}, as only those of the course do")
    if not NAME.fullmatch(name):
        raise HandInError(
            "name: expected up to 60 letters (a-z), digits, single spaces between them and . _ + -, beginning with one "
            "of the first two"
        )
    if _alike(name) in _names_of_rows():
        raise HandInError(f"name: got {name!r}, as a row of the course is called; choose another name")
    return name


@cache
def _names_of_rows() -> set[str]:
    """Return what the course's own rows are called on a board, with the calibration and without."""
    rows = {
        str(row["method"]).removesuffix(" + gradient")
        for table in ("blind", "standard")
        for row in published(table)
    }
    return {_alike(one) for row in rows for one in (row, f"{row} + gradient")}


def _alike(name: str) -> str:
    """Return the same for names that a reader of a board would mistake for each other."""
    return "".join(one for one in name.casefold() if one.isalnum())


def _copy_folder(source: Path, copy: Copy) -> None:
    """Copy regular files and folders; what changes while it is copied is copied as it was found.

    Everything is opened from the open folder that it was found in, so that no folder can become a link meanwhile.
    """
    for folder, folders, names, descriptor in os.fwalk(source, onerror=_raised):
        inside = Path(folder).relative_to(source)
        for name in folders:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise HandInError(f"{shown(name)}: expected files and folders, got a link")
            copy.folder(inside / name)
        for name in names:
            with open_plain(name, descriptor) as file:
                copy.file(file, inside / name, os.fstat(file.fileno()).st_mode)


def _raised(error: OSError) -> None:
    """Raise the error of walking through a folder."""
    raise error


def _nothing_found(target: Path) -> str:
    """Return what was expected in a folder that holds no submission."""
    expected = "expected solve.py, solve, public.h5 or dev.h5 at its top"
    inside = [one.name for one in sorted(target.iterdir()) if one.is_dir() and (one / "solve.py").is_file()]
    if inside:
        return f"{expected}, found solve.py in the folder {shown(inside[0])!r}: hand in what is in it"
    return f"{expected}, found none of them"


def _digest(folder: Path) -> str:
    """Return the SHA-256 of all files in a folder, with their names and whether they can be executed."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        mode = path.stat().st_mode
        whole.update(
            repr((path.relative_to(folder).as_posix(), stat.S_IFMT(mode), mode & stat.S_IXUSR)).encode()
        )
        if path.is_file():
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
