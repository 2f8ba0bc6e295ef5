"""Records of an evaluation: a small file for each scene of each submission, so that nothing is lost or counted twice.

Results are a folder: ``NAME/TIER/scene_00.json``, beside it a picture of the volume. A record is written whole or not
at all, and says for which submission and which problem (both by SHA-256) it holds; a damaged one is as good as none. An
evaluator that was killed goes on where it stopped, and a submission that has changed is evaluated anew. Two evaluators
may work on one folder: locks, which die with their holders, keep them apart.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.image
import numpy as np

from etlab.challenge.scoring import Score

ZERO = Score(0.0, *[np.nan] * 6)


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
        """Where the record of a scene is; its picture has the same name and ends in .png."""
        return self.folder / submission / tier / f"{scene}.json"

    def save(self, record: Record, volume: np.ndarray | None = None) -> None:
        """Write a record and, of a volume (nz, ny, nx), its middle slice across the tilt axis as a picture."""
        path = self.path(record.submission, record.tier, record.scene)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = path.with_suffix(".png")
        if volume is None:
            picture.unlink(missing_ok=True)
        else:
            middle = np.clip(volume[:, :, volume.shape[2] // 2], 0, 1)
            partial = picture.with_suffix(".part")
            matplotlib.image.imsave(
                partial, middle, cmap="gray", vmin=0, vmax=1, origin="lower", format="png"
            )
            partial.replace(picture)
        partial = path.with_suffix(".part.json")
        partial.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        partial.replace(path)

    def read(self, submission: str, tier: str, scene: str) -> Record | None:
        """The record of a scene, None if there is none or it is damaged."""
        path = self.path(submission, tier, scene)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = Record(**content | {"score": Score(**content["score"])})
        except (OSError, KeyError, TypeError, ValueError):
            return None
        # A folder that was copied under another name would count twice.
        return record if (record.submission, record.tier, record.scene) == (submission, tier, scene) else None

    def remove(self, submission: str, tier: str, scene: str) -> None:
        """Forget a scene, if there is anything to forget."""
        path = self.path(submission, tier, scene)
        path.unlink(missing_ok=True)
        path.with_suffix(".png").unlink(missing_ok=True)

    def all(self) -> list[Record]:
        """Every record there is, by submission, tier and scene."""
        places = [path.parts[-3:] for path in sorted(self.folder.glob("*/*/scene_*.json"))]
        found = (self.read(name, tier, file.removesuffix(".json")) for name, tier, file in places)
        return [record for record in found if record]

    @contextmanager
    def locked(self, submission: str) -> Iterator[Path]:
        """While this holds, no other evaluator works on the submission; waits for one that does.

        Yields an empty folder for temporary files; what an evaluator that was killed left in it is gone.
        """
        folder = self.folder / submission
        folder.mkdir(parents=True, exist_ok=True)
        private = folder / ".private"
        with held(folder / ".lock"):
            shutil.rmtree(private, ignore_errors=True)
            private.mkdir(mode=0o700)
            try:
                yield private
            finally:
                shutil.rmtree(private, ignore_errors=True)

    @contextmanager
    def locked_whole(self) -> Iterator[None]:
        """While this holds, nobody else writes what belongs to all submissions; waits for one that does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / ".lock"):
            yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock in the file ``path``; waits for whoever holds it."""
    import fcntl  # not on Windows, where nothing can be evaluated anyway

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
