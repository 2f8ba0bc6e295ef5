"""The folder that keeps finished slabs until all are there: complete, verified, and of one set of settings.

``OUT.slabs``, beside the volume OUT, contains a folder named after a fingerprint of everything that decides the result:
the images, the settings, the code. A slab is a file of float32 [z, y, x], with a JSON file that holds its facts and its
SHA-256. Both appear whole or not at all. So a run that was killed resumes; other settings begin in a folder of their
own; a damaged slab is treated as missing.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from etlab.atomic import replacing
from etlab.pipeline.plan import Slab

# files of etlab that decide a volume
CODE = ("*.py", "alignment/*.py", "io/*.py", "pipeline/*.py", "solvers/**/*.py")
LIBRARIES = ("numpy", "scipy", "numba")
HOST = f"{socket.gethostname()}-"  # workers of a cluster may try the same slab at once


class SlabError(RuntimeError):
    """A volume cannot be reconstructed, or not now. The message says why and what to do, in one line.

    Examples
    --------
    >>> raise SlabError("another run is at work on it; wait for it, or write to another name")
    Traceback (most recent call last):
    ...
    etlab.pipeline.folder.SlabError: another run is at work on it; wait for it, or write to another name
    """


@dataclass(frozen=True)
class Facts:
    """What was measured of a finished slab.

    ``residuals`` are the solver's, one per iteration, relative to ``norm``, that of the images; ``peak_bytes`` is the
    most memory that the process had held until then.
    """

    norm: float = 0.0
    residuals: tuple[float, ...] = ()
    peak_bytes: float = 0.0


@dataclass(frozen=True)
class SlabFolder:
    """Slabs (nz, ny, …) of one volume and one set of settings, in a folder that all workers must see."""

    path: Path
    fingerprint: str
    shape: tuple[int, int]

    @classmethod
    def beside(cls, out: str | os.PathLike, settings: dict, shape: tuple[int, int]) -> SlabFolder:
        """Return the folder for a file ``out`` and ``settings``, without making it."""
        whole = fingerprint(settings)
        return cls(Path(f"{Path(out).absolute()}.slabs") / whole[:16], whole, shape)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make and lock the folder. Raises SlabError if another run holds the lock for the same ``out``."""
        self.path.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent / "lock"):
            shutil.rmtree(self._finished, ignore_errors=True)
            for part in self.path.glob("*.part"):  # of runs that were killed
                part.unlink(missing_ok=True)
            try:
                yield
            finally:
                if self.path.is_dir() and not any(self.path.glob("*.f32")):
                    self.remove()

    def width(self, proposed: int | None = None) -> int | None:
        """Return the width of the slabs in the folder; if there is none yet, record the ``proposed`` one."""
        note = self.path / "width.json"
        with suppress(OSError, ValueError):
            return int(json.loads(note.read_text(encoding="utf-8")))
        if proposed is not None:
            with replacing(note, host=HOST) as part:
                part.write_text(json.dumps(proposed), encoding="utf-8")
        return proposed

    def save(self, slab: Slab, volume: np.ndarray, facts: Facts) -> None:
        """Write a slab [z, y, x] and its facts. Raises OSError, as for a full disk, and then leaves no file."""
        whole = hashlib.sha256()
        with replacing(self._data(slab), host=HOST) as part, part.open("wb") as file:
            for plane in volume:
                values = np.ascontiguousarray(plane, "<f4")
                whole.update(values.data)
                file.write(values.data)
        about = {"fingerprint": self.fingerprint, "sha256": whole.hexdigest(), "facts": asdict(facts)}
        with replacing(self._about(slab), host=HOST) as part:
            part.write_text(json.dumps(about), encoding="utf-8")

    def facts(self, slab: Slab) -> Facts | None:
        """Return the facts of a slab that exists, is undamaged and has these settings; else None."""
        try:
            about = json.loads(self._about(slab).read_text(encoding="utf-8"))
            if about["fingerprint"] != self.fingerprint or about["sha256"] != file_digest(self._data(slab)):
                return None
            return Facts(**about["facts"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read(self, slab: Slab, z0: int, z1: int) -> np.ndarray:
        """Return planes z0 … z1 − 1 of a finished slab, [z, y, x]."""
        ny, wide = self.shape[1], slab.x1 - slab.x0
        plane = ny * wide
        values = np.fromfile(self._data(slab), "<f4", count=(z1 - z0) * plane, offset=4 * z0 * plane)
        return values.reshape(z1 - z0, ny, wide)

    def others(self) -> list[Path]:
        """Return the folders of the same file with other settings."""
        known = (self.path, self._finished)
        return [one for one in self.path.parent.iterdir() if one.is_dir() and one not in known]

    def remove(self) -> None:
        """Remove the folder in one step, and its parent unless that holds slabs with other settings."""
        # a run that is killed while removing leaves no half folder to go on with
        self.path.replace(self._finished)
        shutil.rmtree(self._finished)
        if not self.others():
            shutil.rmtree(self.path.parent)

    @property
    def _finished(self) -> Path:
        return self.path.parent / "finished"

    def _data(self, slab: Slab) -> Path:
        return self.path / f"{slab.name}.f32"

    def _about(self, slab: Slab) -> Path:
        return self.path / f"{slab.name}.json"


def fingerprint(settings: dict) -> str:
    """Return the SHA-256 of settings (as JSON) and code, in hexadecimal digits."""
    text = json.dumps([settings, code_digest()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest() -> str:
    """Return the SHA-256 of the Python files that decide a volume, and of the versions of their libraries."""
    package = Path(str(files("etlab")))
    whole = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in package.glob(pattern)):
        whole.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    whole.update(" ".join(map(version, LIBRARIES)).encode())
    return whole.hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file; of a folder, that of all its files and their names."""
    path = Path(path)
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inside = sorted(one for one in path.rglob("*") if one.is_file())
    listing = "".join(f"{one.relative_to(path).as_posix()} {file_digest(one)}\n" for one in inside)
    return hashlib.sha256(listing.encode()).hexdigest()


def remove_unfinished(out: Path) -> None:
    """Remove temporary files of ``out`` that killed runs left: they hold no lock, so nobody writes them any more."""
    for part in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its process; if the file system cannot lock, warn and continue."""
    with path.open("a+") as lock:
        try:
            alone = _lock(lock.fileno())
            if alone and os.fstat(lock.fileno()).st_ino != path.stat().st_ino:
                raise FileNotFoundError(f"{path}: removed by a run that has just ended")
        except (BlockingIOError, FileNotFoundError) as error:
            lock.seek(0)
            raise SlabError(
                f"{path.parent}: another run is at work on it ({lock.read().strip() or 'just ending'}); wait for "
                "it, or write to another name"
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


def _lock(descriptor: int) -> bool:
    """Lock an open file; return whether the system can. Raises BlockingIOError if another process holds the lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:  # as on some shared file systems
        warnings.warn(
            f"files cannot be locked here ({error.strerror}): make sure that no other run writes to the same output",
            UserWarning,
            stacklevel=2,
        )
        return False
    return True
