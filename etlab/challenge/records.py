"""Records of an evaluation: a small file for each scene of each submission, so that nothing is lost or counted twice.

Results are a folder: ``NAME/TIER/scene_00.json``, beside it a picture of the volume. A record is written whole or not
at all, and says for which submission and which problem (both by SHA-256) it holds. An evaluator that was killed goes on
where it stopped, and a submission that has changed is evaluated anew. Two evaluators may work on one folder: a lock on
each submission, which dies with its holder, keeps them apart.
"""

from __future__ import annotations

import json
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
        """The record of a scene, None if there is none."""
        path = self.path(submission, tier, scene)
        return _read(path) if path.is_file() else None

    def all(self) -> list[Record]:
        """Every record there is, by submission, tier and scene."""
        return [
            _read(path) for path in sorted(self.folder.glob("*/*/scene_*.json")) if ".part" not in path.name
        ]

    @contextmanager
    def locked(self, submission: str) -> Iterator[None]:
        """While this holds, no other evaluator works on the submission; waits for one that does."""
        import fcntl  # not on Windows, where nothing can be evaluated anyway

        folder = self.folder / submission
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Record(**content | {"score": Score(**content["score"])})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the record of an evaluation, got something else ({error})"
        ) from error
