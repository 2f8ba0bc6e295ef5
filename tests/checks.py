"""What a check of the labs says."""

import contextlib
import io

from etlab import grading


def check(name, *functions, seed=0) -> str:
    """Message of ``grading.check_NAME``, or nothing if it holds."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(grading, f"check_{name}")(*functions, seed=seed)
    except grading.CheckFailed as failure:
        return str(failure)
    return ""
