"""Checks used by the labs: statements about physics, with a sentence on what to look at when one fails.

A check takes the student's functions and makes a small case of its own: ``seed`` makes the same case again,
``seed=None`` a fresh one, as the hidden tests do. It prints one line, or raises :class:`CheckFailed`. No
check compares with one particular implementation.
"""

from etlab.grading.calling import CheckFailed
from etlab.grading.iteration import (
    check_ramp,
    check_ramp_ends,
    check_sirt_nonnegative,
    check_sirt_run,
    check_sirt_step,
    check_sirt_stop,
    check_sirt_weights,
    check_wbp_scale,
    check_wbp_shares,
    check_wbp_window,
    random_slice,
)
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
from etlab.grading.scheme import (
    check_scheme_budget,
    check_scheme_detail,
    check_scheme_order,
    check_scheme_tilts,
    check_useful_dose,
)
from etlab.grading.wedge import (
    check_law,
    check_lopsided,
    check_number,
    check_offset,
    check_reconstructed,
    check_wedge,
    check_widths,
)

__all__ = [
    "CheckFailed",
    "check_accuracy",
    "check_adjoint",
    "check_centre",
    "check_landing",
    "check_law",
    "check_linearity",
    "check_lopsided",
    "check_mass",
    "check_number",
    "check_offset",
    "check_ramp",
    "check_ramp_ends",
    "check_reconstructed",
    "check_scheme_budget",
    "check_scheme_detail",
    "check_scheme_order",
    "check_scheme_tilts",
    "check_sign",
    "check_sirt_nonnegative",
    "check_sirt_run",
    "check_sirt_step",
    "check_sirt_stop",
    "check_sirt_weights",
    "check_useful_dose",
    "check_wbp_scale",
    "check_wbp_shares",
    "check_wbp_window",
    "check_wedge",
    "check_weights",
    "check_widths",
    "random_slice",
]
