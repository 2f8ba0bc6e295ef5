"""Attempts at the hidden tier: each time a submission is run on it is logged, and limited.

Every score says something about the hidden scenes, so whoever may try without end learns what is in them.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from etlab.course.challenge.records import new_private
from etlab.course.challenge.unpack import HandInError

FILE = "attempts.json"  # in the submission's folder of results
DEFAULT = 10
KEYS = ("submission_sha256", "date", "ended")


def log(folder: Path) -> list[dict[str, str]]:
    """Return the attempts of a submission, oldest first: ``submission_sha256``, ``date`` and whether it has "ended".

    Raises ValueError if the file is damaged: an attempt that is forgotten would be given away.
    """
    path = folder / FILE
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return [
            {key: str(one.get(key, "")) if key == "ended" else str(one[key]) for key in KEYS} for one in noted
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged; correct it, or delete it to count from zero") from error


def begin(folder: Path, sha256: str, limit: int) -> int:
    """Log that this version is run on the hidden tier, before it is; return which attempt it is.

    Only one that was killed in the middle goes on without another attempt. A version that comes again after its end
    is run anew, and may answer otherwise, by chance or by the clock.

    Whoever calls this holds the submission's lock. Raises HandInError if it would be one more than ``limit``.
    """
    noted = log(folder)
    if noted and noted[-1]["submission_sha256"] == sha256 and not noted[-1]["ended"]:
        return len(noted)
    if len(noted) >= limit:
        raise HandInError(
            f"attempts: got version {len(noted) + 1}, expected at most {limit} on the hidden tier; what was recorded "
            "before stays. Use --attempts to allow more."
        )
    _write(folder, [*noted, {"submission_sha256": sha256, "date": _now(), "ended": ""}])
    return len(noted) + 1


def end(folder: Path) -> None:
    """Log that the last attempt has come to its end, if there is one."""
    if noted := log(folder):
        _write(folder, [*noted[:-1], noted[-1] | {"ended": noted[-1]["ended"] or _now()}])


def _write(folder, noted):
    with new_private(folder / FILE) as file:
        file.write(json.dumps(noted, indent=1).encode())


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat()
