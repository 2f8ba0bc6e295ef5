"""Records of an evaluation: a small file for each scene of each submission, so that nothing is lost or counted twice.

Results are a folder: ``NAME/TIER/scene_00.json``, beside it a picture of the volume; all that is below NAME can be
read by its owner only. A record is written whole or not at all, and says for which submission and which problem (both
by SHA-256) it holds; one that is damaged, or claims what no evaluation gives, is treated as missing. An evaluator that
was killed goes on where it stopped, and a submission that has changed is evaluated anew. Two evaluators may work on one
folder: locks, which die with their holders, keep them apart.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO

import matplotlib.image
import numpy as np

from etlab.atomic import replacing
from etlab.course.scenes.scoring import Score
from etlab.metrics import blind_score

ZERO = Score(0.0, *[np.nan] * 6)
ERRORS = tuple(field.name for field in fields(Score) if field.name.endswith("_error"))
STATUSES = (
    *("scored", "missing", "refused", "wrong answer", "failed"),
    *("wall time", "processor time", "memory", "processes", "output"),
)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """One scene of one submission, evaluated.

    ``status`` is "scored", or in a word or two what went wrong, ``reason`` more of it; then the score is 0. ``log`` is
    the end of what the program printed.
    """

    submission: str
    tier: str
    scene: str
    submission_sha256: str
    problem_sha256: str
    status: str
    reason: str = ""
    score: Score = ZERO
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    log: str = ""


@dataclass(frozen=True)
class Records:
    """The folder of results."""

    folder: Path

    def path(self, submission: str, tier: str, scene: str) -> Path:
        """Return where the record of a scene is; its picture has the same name and ends in .png."""
        return self.folder / submission / tier / f"{scene}.json"

    def save(self, record: Record, volume: np.ndarray | None = None) -> None:
        """Write a record and, of a volume (nz, ny, nx), its middle slice across the tilt axis as a picture."""
        path = self.path(record.submission, record.tier, record.scene)
        for folder in (path.parent.parent, path.parent):
            private_folder(folder)
        picture = path.with_suffix(".png")
        if volume is None:
            picture.unlink(missing_ok=True)
        else:
            middle = np.clip(volume[:, :, volume.shape[2] // 2], 0, 1)
            with new_private(picture) as file:
                matplotlib.image.imsave(
                    file, middle, cmap="gray", vmin=0, vmax=1, origin="lower", format="png"
                )
        with new_private(path) as file:
            file.write(json.dumps(asdict(record), indent=1).encode())

    def read(self, submission: str, tier: str, scene: str) -> Record | None:
        """Return the record of a scene, None if there is none, it is damaged or it claims what no evaluation gives."""
        path = self.path(submission, tier, scene)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = Record(**content | {"score": Score(**content["score"])})
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return None
        # A folder that was copied under another name would count twice.
        if (record.submission, record.tier, record.scene) != (submission, tier, scene):
            return None
        return record if is_sound(record) else None

    def remove(self, submission: str, tier: str, scene: str) -> None:
        """Forget a scene, if there is anything to forget."""
        path = self.path(submission, tier, scene)
        path.unlink(missing_ok=True)
        path.with_suffix(".png").unlink(missing_ok=True)

    def all(self) -> list[Record]:
        """Return every record, by submission, tier and scene."""
        places = [path.parts[-3:] for path in sorted(self.folder.glob("*/*/scene_*.json"))]
        found = (self.read(name, tier, file.removesuffix(".json")) for name, tier, file in places)
        return [record for record in found if record]

    @contextmanager
    def locked(self, submission: str) -> Iterator[Path]:
        """Keep other evaluators from the submission while this holds; wait for one that is at work.

        Yields an empty folder for temporary files; what an evaluator that was killed left in it is gone.
        """
        folder = self.folder / submission
        private_folder(folder)
        private = folder / ".private"
        with held(folder / ".lock"):
            for left in folder.rglob(".*.part"):  # by one that was killed
                left.unlink()
            shutil.rmtree(private, ignore_errors=True)
            private.mkdir(mode=0o700)
            try:
                yield private
            finally:
                shutil.rmtree(private, ignore_errors=True)

    @contextmanager
    def locked_whole(self) -> Iterator[None]:
        """Keep others from writing what belongs to all submissions while this holds; wait for one that does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / ".lock"):
            yield


def is_sound(record: Record) -> bool:
    """Return whether an evaluation could have made this record: types, ranges, a score that follows from its terms."""
    texts = (record.submission, record.submission_sha256, record.problem_sha256, record.reason, record.log)
    numbers = [getattr(record.score, field.name) for field in fields(Score)]
    if not all(isinstance(one, str) for one in (*texts, record.tier, record.scene, record.status)):
        return False
    if not all(map(_is_number, (*numbers, record.seconds, record.cpu_seconds))):
        return False
    named = all(SHA256.fullmatch(one) for one in (record.submission_sha256, record.problem_sha256))
    timed = 0 <= record.seconds < math.inf and not record.cpu_seconds < 0
    if record.status not in STATUSES or not named or not timed:
        return False
    score = record.score
    if record.status != "scored":
        return score.score == 0 and all(map(math.isnan, numbers[1:]))
    if not (score.psnr_db == score.psnr_db and -1 <= score.ssim <= 1 and score.consistency <= 1):
        return False
    expected = blind_score(score.psnr_db, score.ssim, score.consistency)
    return score.score <= 1 and abs(score.score - expected) < 1e-6  # below 0 where the structure is inverted


def _is_number(value: object) -> bool:
    """Return whether a value is a float, or a whole number that a float holds exactly."""
    return type(value) is float or (type(value) is int and abs(value) < 1 << 53)


def without_errors(score: Score) -> Score:
    """Return a score without the errors of the spec, since several of those would give away the truth."""
    return replace(score, **dict.fromkeys(ERRORS, math.nan))


def private_folder(folder: Path) -> None:
    """Make a folder, if it is not there, that only its owner can enter."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


@contextmanager
def new_private(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that only its owner can read; it gets its name once it is whole."""
    with (
        replacing(path) as part,
        os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        yield file


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock in the file ``path``; wait for whoever holds it."""
    import fcntl  # not on Windows, where nothing can be evaluated anyway

    # no link is followed: who may write into the folder could let us empty any file of ours
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w") as lock:
        os.fchmod(lock.fileno(), 0o600)  # whoever can open it can hold it
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
