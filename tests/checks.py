"""What a check of the labs says, and the scenes of lab 6 made once."""

import contextlib
import io
from collections.abc import Iterator

import pytest

from etlab import grading
from etlab.challenge import baselines
from etlab.grading import challenge_cases


def check(name, *functions, seed=0) -> str:
    """Message of ``grading.check_NAME``, or nothing if it holds."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(grading, f"check_{name}")(*functions, seed=seed)
    except grading.CheckFailed as failure:
        return str(failure)
    return ""


@contextlib.contextmanager
def scenes_made_once() -> Iterator[None]:
    """Many functions meet the same scenes, and each is compared with the same rows: draw and reconstruct them once."""
    made = {}

    def scene(rng, *arguments, **options):
        key = repr((rng.bit_generator.state, arguments, options))
        if key not in made:
            made[key] = challenge_cases.scene(rng, *arguments, **options), rng.bit_generator.state
        result, rng.bit_generator.state = made[key]
        return result

    def reconstruct(row, problem, mismatch):
        key = row, problem.y.tobytes(), repr(mismatch)
        if key not in made:
            made[key] = baselines.reconstruct(row, problem, mismatch)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etlab.grading.challenge.scene", scene)
        patch.setattr("etlab.grading.challenge.reconstruct", reconstruct)
        yield
