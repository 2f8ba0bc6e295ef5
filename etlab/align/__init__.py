"""Alignment of real tilt series: what a stage does between images, found from the images and undone."""

from etlab.align.align import METHODS, align
from etlab.align.alignment import Alignment, without_gauge
from etlab.align.beads import BeadFit, fit_beads, track_beads
from etlab.align.correlate import cross_correlation_shifts
from etlab.align.moments import align_by_moments
from etlab.align.refine import find_tilt_axis, half_set_misfit, refine_by_projection_matching

__all__ = [
    "METHODS",
    "Alignment",
    "BeadFit",
    "align",
    "align_by_moments",
    "cross_correlation_shifts",
    "find_tilt_axis",
    "fit_beads",
    "half_set_misfit",
    "refine_by_projection_matching",
    "track_beads",
    "without_gauge",
]
