"""What a check of the labs says, and scenes that are made once or of few tilts."""

import contextlib
import functools
import hashlib
import importlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from etlab.course import grading
from etlab.course.challenge import tiers
from etlab.course.grading import challenge_cases
from etlab.course.grading.alignment_cases import NeedleCase
from etlab.course.scenes import PRESETS, baselines
from etlab.course.scenes.draw import draw
from etlab.geometry import TiltGeometry, linear_tilts

# recording, calibrating and scoring take half or a fifth of the time
HALF_THE_TILTS = replace(PRESETS["small"], tilts_deg=linear_tilts(70, 4))
A_FIFTH_OF_THE_TILTS = replace(PRESETS["small"], tilts_deg=linear_tilts(70, 10))

# what many answers to the tasks of lab 5 are given or compared with
ALIGNMENT = [f"alignment.{name}" for name in ("needle_case", "register", "_tilt_axis", "_disagreement")]


def check(name, *functions, seed=0) -> str:
    """Message of ``grading.check_NAME``, or nothing if it holds."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(grading, f"check_{name}")(*functions, seed=seed)
    except grading.CheckFailed as failure:
        return str(failure)
    return ""


def remembered(function: Callable) -> Callable:
    """Many routes and mistakes meet the same case: what this function answers to it is worked out once.

    Arrays, numbers, random numbers and needles tell cases apart. Operators and functions do not: a case has but one
    of each.
    """
    known = {}

    @functools.wraps(function)
    def answer(*arguments, **options):
        rngs = [one for one in arguments if isinstance(one, np.random.Generator)]
        key = (*map(_told_apart, arguments), repr(options))
        if key not in known:
            known[key] = function(*arguments, **options), [rng.bit_generator.state for rng in rngs]
        result, states = known[key]
        for rng, state in zip(rngs, states, strict=True):
            rng.bit_generator.state = state
        return result.copy() if isinstance(result, np.ndarray) else result

    return answer


def _told_apart(argument):
    if isinstance(argument, np.ndarray):
        return argument.dtype.str, argument.shape, hashlib.sha256(np.ascontiguousarray(argument)).digest()
    if isinstance(argument, NeedleCase):
        return _told_apart(argument.images)
    if isinstance(argument, np.random.Generator):
        return repr(argument.bit_generator.state)
    if isinstance(argument, TiltGeometry):
        return repr(argument)
    return argument if isinstance(argument, int | float | str) else None


@contextlib.contextmanager
def worked_out_once(*names: str) -> Iterator[None]:
    """Remember what these functions of ``etlab.course.grading``, such as "variation.solved", answer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            module, function = (f"etlab.course.grading.{name}").rsplit(".", 1)
            patch.setattr(
                f"etlab.course.grading.{name}", remembered(getattr(importlib.import_module(module), function))
            )
        yield


@contextlib.contextmanager
def few_tilts() -> Iterator[None]:
    """Draw the scenes of tiers at a fifth of the tilts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers, "draw", lambda tier, i, preset, key: draw(tier, i, A_FIFTH_OF_THE_TILTS, key))
        yield


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
        patch.setattr("etlab.course.grading.challenge.scene", scene)
        patch.setattr("etlab.course.grading.challenge.reconstruct", reconstruct)
        yield
