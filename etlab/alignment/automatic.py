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
    """Align a tilt series: ``align(images, tilts_deg).apply(images)``.

    Parameters
    ----------
    images
        Raw images (n_tilts, n_rows, nx), floating, brighter where there is more mass.
    tilts_deg
        Tilts in degrees, (n_tilts,), in the order of the images.
    method
        "centre of mass", for an isolated specimen, a needle or a particle: shifts and tilt axis by moments, the axis
        by search if noise leaves it uncertain, then projection matching (see `align_by_moments`). "correlation", for
        any specimen: cross-correlation of neighbours, then the tilt axis and projection matching in turn (see
        `cross_correlation_shifts`, `find_tilt_axis`, `refine_by_projection_matching`). "fiducials", for bright beads:
        tracks and one bundle fit, which is not refined further (see `track_beads`, `fit_beads`).
    thickness
        Thickness in pixels of a flat specimen that reaches beyond the field, for "correlation": its images are
        stretched, and it is reconstructed as a slab.
    bead_radius
        Radius of the beads in pixels, for "fiducials".
    tilt_axis_deg
        Direction in degrees at which the search for the tilt axis begins. Default: where the images show it. The fit
        of beads needs no start.
    n_rounds
        Largest number of rounds of each projection matching; 0 leaves it out.
    callback
        Called with the `Alignment` after each step.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Alignment
        Shifts and tilt axis. A warning tells if the images still show another direction than was found.

    Raises
    ------
    TypeError
        For images that are not floating.
    ValueError
        For images or options that make no sense, or too few tilts: projection matching and the search need 6, moments
        4, the rest 3.

    Examples
    --------
    >>> from etlab import TiltGeometry, linear_tilts
    >>> from etlab.acquisition import drift, shifted
    >>> from etlab.phantoms import gaussians
    >>> geometry = TiltGeometry(linear_tilts(60, 10), (32, 32, 32))
    >>> tilts = geometry.tilts_deg
    >>> _, still = gaussians(geometry, [(0, 1, -9), (1, -1, 0), (-1, 0, 9)], [3, 3, 3], [1, 1, 1])
    >>> moved = drift(np.arange(13), rng=0, step_px=0.5)
    >>> images = shifted(still, moved)
    >>> found = align(images, tilts, n_rounds=0)
    >>> from etlab.alignment import without_gauge
    >>> left = without_gauge(found.shifts + moved, tilts)
    >>> bool(abs(left).max() < 0.05)  # pixels
    True
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
