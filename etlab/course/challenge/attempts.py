"""Attempts at the hidden tier: each time another version of a submission is run on it is logged, and limited.

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


def log(folder: Path) -> list[dict[str, str]]:
    """Return the attempts of a submission, oldest first: ``submission_sha256`` and ``date``.

    Raises ValueError if the file is damaged: an attempt that is forgotten would be given away.
    """
    path = folder / FILE
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return [{key: str(one[key]) for key in ("submission_sha256", "date")} for one in noted]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged; correct it, or delete it to count from zero") from error


def note(folder: Path, sha256: str, limit: int) -> int:
    """Log that this version is run on the hidden tier; returns which attempt it is, that logged last keeps its number.

    One that comes again after another is run anew, and by chance may answer otherwise, so it is another attempt.

    Whoever calls this holds the submission's lock. Raises HandInError if it would be one more than ``limit``.
    """
    noted = log(folder)
    if noted and noted[-1]["submission_sha256"] == sha256:
        return len(noted)
    if len(noted) >= limit:
        raise HandInError(
            f"attempts: got version {len(noted) + 1}, expected at most {limit} on the hidden tier; what was recorded "
            "before stays. Use --attempts to allow more."
        )
    noted.append({"submission_sha256": sha256, "date": datetime.datetime.now(datetime.UTC).isoformat()})
    with new_private(folder / FILE) as file:
        file.write(json.dumps(noted, indent=1).encode())
    return len(noted)
