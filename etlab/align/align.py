"""One call for a whole series: a first alignment by one of three methods, then what that method still needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from etlab.align.alignment import Alignment, alignable_series
from etlab.align.beads import fit_beads, track_beads
from etlab.align.correlate import cross_correlation_shifts
from etlab.align.moments import align_by_moments
from etlab.align.refine import find_tilt_axis, refine_by_projection_matching

METHODS = ("centre of mass", "correlation", "fiducials")
UNCERTAIN = 0.2  # degrees: a search by half-set misfit is about that good
MAX_TURNS = 3  # of axis search and projection matching


def align(
    images: np.ndarray,
    tilts_deg: np.ndarray,
    *,
    method: str = "centre of mass",
    thickness: float | None = None,
    bead_radius: float | None = None,
    n_rounds: int = 10,
    callback: Callable[[Alignment], object] | None = None,
    progress: bool = False,
) -> Alignment:
    """Align a tilt series (n_tilts, n_rows, nx): ``align(images, tilts_deg).apply(images)``.

    * ``"centre of mass"``: for an isolated specimen, a needle or a particle. Shifts and tilt axis by moments, the
      axis by search if noise leaves it uncertain, then projection matching. (``etlab.align.moments``)
    * ``"correlation"``: for any specimen. Cross-correlation of neighbours, then the tilt axis and projection matching
      in turn. A flat specimen that reaches beyond the field is stretched, and is reconstructed as a slab, if its
      ``thickness`` in pixels is given. (``etlab.align.correlate``, ``etlab.align.refine``)
    * ``"fiducials"``: for bright beads of ``bead_radius`` pixels. Tracks and one bundle fit; its shifts and axis are
      not refined further. (``etlab.align.beads``)

    ``n_rounds`` limits each projection matching; 0 leaves it out. Projection matching and the search need 6 tilts,
    moments 4, the rest 3. ``callback(alignment)`` is called after each step.
    Raises TypeError or ValueError for images or options that make no sense, saying what was expected.
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    if thickness is not None and (method != "correlation" or not thickness > 0):
        raise ValueError(
            f"thickness: got {thickness} with method={method!r}; expected a number of pixels, with "
            '"correlation" only'
        )
    if n_rounds < 0:
        raise ValueError(f"n_rounds: got {n_rounds}, expected 0 or more")
    if (method == "fiducials") != (bead_radius is not None):
        raise ValueError(
            f"bead_radius: got {bead_radius} with method={method!r}; expected the beads' radius in pixels with "
            '"fiducials", and with nothing else'
        )
    images = alignable_series(images, tilts_deg)
    tell = callback or (lambda alignment: None)
    matching = {"thickness": thickness, "n_rounds": n_rounds, "callback": callback, "progress": progress}
    if method == "fiducials":
        found = fit_beads(track_beads(images, tilts_deg, bead_radius), tilts_deg, images.shape[1:]).alignment
        tell(found)
        return found
    if method == "centre of mass":
        found = align_by_moments(images, tilts_deg)
        tell(found)
        if n_rounds and found.tilt_axis_std > UNCERTAIN:
            found = find_tilt_axis(images, found)
            tell(found)
        return refine_by_projection_matching(images, found, **matching) if n_rounds else found
    shifts = cross_correlation_shifts(images, tilts_deg, stretch=thickness is not None)
    found = Alignment(np.asarray(tilts_deg, float), shifts, 0.0, 0.0, np.full(len(images), np.nan))
    for _ in range(MAX_TURNS):
        found = find_tilt_axis(images, found, thickness=thickness)
        tell(found)
        if not n_rounds:
            break
        found = refine_by_projection_matching(images, replace(found, misfits=()), **matching)
        if len(found.misfits) == 2:  # nothing was gained: the shifts stay, and so will the axis
            break
    return found
