"""One call for a whole series: a first alignment by one of three methods, then what that method still needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from etlab.alignment.alignment import Alignment, alignable_series
from etlab.alignment.beads import fit_beads, track_beads
from etlab.alignment.correlate import cross_correlation_shifts
from etlab.alignment.direction import direction_seen, start_of_search
from etlab.alignment.moments import align_by_moments
from etlab.alignment.refine import find_tilt_axis, refine_by_projection_matching

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
    tilt_axis_deg: float | None = None,
    n_rounds: int = 10,
    callback: Callable[[Alignment], object] | None = None,
    progress: bool = False,
) -> Alignment:
    """Align a tilt series (n_tilts, n_rows, nx): ``align(images, tilts_deg).apply(images)``.

    * ``"centre of mass"``: for an isolated specimen, a needle or a particle. Shifts and tilt axis by moments, the
      axis by search if noise leaves it uncertain, then projection matching. (``etlab.alignment.moments``)
    * ``"correlation"``: for any specimen. Cross-correlation of neighbours, then the tilt axis and projection matching
      in turn. A flat specimen that reaches beyond the field is stretched, and is reconstructed as a slab, if its
      ``thickness`` in pixels is given. (``etlab.alignment.correlate``, ``etlab.alignment.refine``)
    * ``"fiducials"``: for bright beads of ``bead_radius`` pixels. Tracks and one bundle fit; its shifts and axis are
      not refined further. (``etlab.alignment.beads``)

    The search for the direction of the tilt axis begins at ``tilt_axis_deg``, by default where the images show it; the
    fit of beads needs no start. Warns if the images still show another direction than was found.

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
    found = _aligned(images, tilts_deg, method, bead_radius, tilt_axis_deg, matching, tell)
    seen = direction_seen(images, found.tilts_deg, found.tilt_axis_deg)
    if seen.differs:
        warnings.warn(
            f"the tilt axis was found at {found.tilt_axis_deg:.1f}°, but what all images share lies at about "
            f"{seen.degrees:.0f}°: one of them is wrong; pass tilt_axis_deg={seen.degrees:.0f} to begin there",
            stacklevel=2,
        )
    return found


def _aligned(images, tilts_deg, method, bead_radius, tilt_axis_deg, matching, tell):
    """Align by one of the methods, whose options have been checked."""
    n_rounds, thickness = matching["n_rounds"], matching["thickness"]
    if method == "fiducials":
        found = fit_beads(track_beads(images, tilts_deg, bead_radius), tilts_deg, images.shape[1:]).alignment
        tell(found)
        return found
    if method == "centre of mass":
        found = align_by_moments(images, tilts_deg, tilt_axis_deg=tilt_axis_deg)
        tell(found)
        if n_rounds and found.tilt_axis_std > UNCERTAIN:
            found = find_tilt_axis(images, found)
            tell(found)
        return refine_by_projection_matching(images, found, **matching) if n_rounds else found
    found = _correlated(images, tilts_deg, start_of_search(images, tilts_deg, tilt_axis_deg), thickness)
    for _ in range(MAX_TURNS):
        found = find_tilt_axis(images, found, thickness=thickness)
        tell(found)
        if not n_rounds:
            break
        found = refine_by_projection_matching(images, replace(found, misfits=()), **matching)
        if len(found.misfits) == 2:  # nothing was gained: the shifts stay, and so will the axis
            break
    return found


def _correlated(images, tilts_deg, axis_deg, thickness):
    """Register neighbours to each other, after turning the images if the tilt axis leans far."""
    n_tilts = len(images)
    begun = Alignment(
        np.asarray(tilts_deg, float), np.zeros((n_tilts, 2)), axis_deg, 0.0, np.full(n_tilts, np.nan)
    )
    turned = begun.apply(images) if axis_deg else images
    shifts = cross_correlation_shifts(turned, tilts_deg, stretch=thickness is not None)
    return replace(begun, shifts=begun.moved(shifts))
