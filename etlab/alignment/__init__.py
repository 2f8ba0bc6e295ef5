"""Alignment of real tilt series: what a stage does between images, found from the images and undone."""

from typing import TYPE_CHECKING

from etlab.lazy import getter

if TYPE_CHECKING:
    from etlab.alignment.alignment import Alignment, without_gauge
    from etlab.alignment.automatic import METHODS, align
    from etlab.alignment.beads import BeadFit, fit_beads, track_beads
    from etlab.alignment.correlate import cross_correlation_shifts
    from etlab.alignment.moments import align_by_moments
    from etlab.alignment.refine import find_tilt_axis, half_set_misfit, refine_by_projection_matching

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

__getattr__ = getter(
    __name__,
    {
        "alignment": ["Alignment", "without_gauge"],
        "automatic": ["METHODS", "align"],
        "beads": ["BeadFit", "fit_beads", "track_beads"],
        "correlate": ["cross_correlation_shifts"],
        "moments": ["align_by_moments"],
        "refine": ["find_tilt_axis", "half_set_misfit", "refine_by_projection_matching"],
    },
)
