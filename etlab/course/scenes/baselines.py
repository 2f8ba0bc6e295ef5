"""The rows of the blind board as a student would hand them in: ``solve(problem) -> (x_hat, corrected_spec)``.

Each is a row of the standard board with one of three ideas of the microscope:

    uncalibrated   the nominal operator, as if nothing were wrong
    calibrated     the mismatch that `etlab.calibration` finds: the published rows "+ gradient"
    oracle         the true mismatch, which nobody has: the ceiling of what calibration can give

Total variation and DiffET compare with the images as they are and take the operator with its mismatch. The other rows
back-project, or stop long before they agree with the images (SIRT), and want evenly sharp images: for them the gradient
is taken out first (`etlab.refocus`). Which row wants which was settled on the public tier.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from etlab.calibration import CalibrationWarning, calibrate
from etlab.course.scenes.problem import Problem
from etlab.forward import Mismatch
from etlab.refocus import refocused
from etlab.solvers.methods import METHODS

Solve = Callable[[Problem], tuple[np.ndarray, Mismatch]]

ROWS = (
    "WBP-ET",
    "SIRT-ET",
    "CS-ET",
    "DnCNN-ET",
    "IsoNet",
    "TransET",
    "SwinET",
    "PhysET",
    "DiffET",
)  # published ones
AS_RECORDED = ("CS-ET", "DiffET")  # rows that take the images as they are
VARIANTS = ("uncalibrated", "calibrated", "oracle")


def calibrated(method: str) -> Solve:
    """Return a row "+ gradient": it calibrates first. Raises ValueError for an unknown method."""
    checked_method(method)

    def solve(problem: Problem) -> tuple[np.ndarray, Mismatch]:
        mismatch = found_mismatch(problem)
        return reconstruct(method, problem, mismatch), mismatch

    return solve


def uncalibrated(method: str) -> Solve:
    """Return the same row with the nominal operator. Raises ValueError for an unknown method."""
    checked_method(method)
    return lambda problem: (reconstruct(method, problem, Mismatch()), Mismatch())


def found_mismatch(problem: Problem) -> Mismatch:
    """Return the mismatch by `calibrate`; what the images do not tell is the middle of its range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return calibrate(
            problem.y, problem.geometry, problem.spec_ranges, problem.optics, fiducials=problem.fiducials
        ).mismatch


def reconstruct(method: str, problem: Problem, mismatch: Mismatch) -> np.ndarray:
    """Return the volume (nz, ny, nx) by a row of the standard board with this mismatch."""
    operator, images = problem.operator(mismatch), problem.y
    if method not in AS_RECORDED:
        operator, images = refocused(operator, images)
    return METHODS[method](operator, images)


def checked_method(method: str) -> str:
    """Return ``method``. Raises ValueError if it is no row of the board."""
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    return method
