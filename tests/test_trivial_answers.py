"""Answers that look at nothing, such as constants and huge numbers, hold in no check of the labs."""

import numpy as np
import pytest

from etlab.course import grading
from etlab.course.grading.calling import CheckFailed
from etlab.course.scenes.problem import SPEC


def images(slice_, tilts, n_rows):
    return len(tilts), n_rows


def scheme(max_tilt, n_tilts, *_):
    return 2, n_tilts


SHAPES = {  # of the answer of the function that a check is given last, by its arguments
    "accuracy": images,
    "centre": images,
    "linearity": images,
    "mass": images,
    "sign": images,
    "ramp": np.shape,
    "ramp_ends": np.shape,
    "wbp_scale": lambda A, *_: A.shape[1],
    "wbp_shares": lambda A, *_: A.shape[1],
    "sirt_step": lambda A, *_: A.shape[1],
    "sirt_nonnegative": lambda A, *_: A.shape[1],
    "scheme_budget": scheme,
    "scheme_tilts": scheme,
    "scheme_order": scheme,
    "scheme_detail": scheme,
}


def fails(check, function, words=None):
    with pytest.raises(CheckFailed, match=words):
        getattr(grading, f"check_{check}")(function)


@pytest.mark.parametrize("value", [0.0, 1.0, 9e99])
@pytest.mark.parametrize("check", SHAPES)
def test_a_constant_holds_in_no_check(check, value):
    fails(check, lambda *arguments: np.full(SHAPES[check](*arguments), value))


@pytest.mark.parametrize("check", ["centre", "linearity"])
def test_the_mass_spread_evenly_is_no_image(check):
    fails(check, lambda s, tilts, n: np.full((len(tilts), n), s.sum() / n), "slices are the same")


def test_random_densities_are_no_step_of_sirt():
    def step(A, x, *_):
        return np.random.default_rng(0).random(x.shape)

    fails("sirt_nonnegative", step, "Other images")


def test_a_scheme_without_low_tilts_has_no_good_order():
    fails("scheme_order", lambda *_: (np.linspace(40, 60, 9), np.ones(9)), "inner third")


@pytest.mark.parametrize("value", [1e20, 1e38])
def test_volumes_whose_images_overflow_explain_nothing(value):
    def volume(problem, *_):
        return np.full(problem.geometry.volume_shape, value)

    def solve(problem):
        return volume(problem), {name: problem.spec_ranges[name][1] for name in SPEC}

    fails("wbp_row", volume, "expected densities")
    fails("solve_spec", solve, "expected densities")
