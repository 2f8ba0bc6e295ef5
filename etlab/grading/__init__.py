"""Checks used by the labs: statements about physics, with a sentence on what to look at when one fails.

A check takes the student's functions and makes a small case of its own: ``seed`` makes the same case again,
``seed=None`` a fresh one, as the hidden tests do. It prints one line, or raises :class:`CheckFailed`. No
check compares with one particular implementation.
"""

from etlab.grading.calling import CheckFailed
from etlab.grading.projector import (
    check_accuracy,
    check_adjoint,
    check_centre,
    check_landing,
    check_linearity,
    check_mass,
    check_sign,
    check_weights,
)

__all__ = [
    "CheckFailed",
    "check_accuracy",
    "check_adjoint",
    "check_centre",
    "check_landing",
    "check_linearity",
    "check_mass",
    "check_sign",
    "check_weights",
]
