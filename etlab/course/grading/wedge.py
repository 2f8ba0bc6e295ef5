"""Checks of the missing wedge: what was measured, how much longer things come out for it, how many tilts it takes.

Slices are ``slice_[z, y]``, tilts in degrees, signs as in :mod:`etlab.geometry`: tilt θ measures the line
(f_z, f_y) = f·(sin θ, cos θ). Elongation is height along z over width along y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etlab.course.grading.calling import CheckFailed, call, case
from etlab.course.grading.wedge_mistakes import (
    LAYOUTS,
    SAME,
    agrees,
    law,
    measured,
    name_law_mistake,
    name_lopsided_mistake,
    name_number_mistake,
    name_ratio_mistake,
    name_wedge_mistake,
    readings,
)
from etlab.geometry import TiltGeometry
from etlab.phantoms import gaussians
from etlab.projector import Projector
from etlab.solvers import wbp

RATIO_TOLERANCE = 0.15  # relative; counting whole pixels of a blob of this size is up to 13 % off
LAW_BAND = (0.88, 1.25)  # of the law; widths and fits have 0.94 to 1.20, moments of everything 0.6 to 0.8
OFFSET_TOLERANCE = 0.1  # relative; a route that takes the background off does not notice it at all


def check_wedge(measured_mask: Callable, *, seed: int | None = 0) -> None:
    """Check that ``measured_mask(shape, tilts_deg)`` is true in a symmetric fan, in the order of ``np.fft.fft2``."""
    with case(seed, "what ±α measures is a fan about the f_y axis, and the wedge lies about f_z") as rng:
        for shape in ((48, 64), (63, 45)):
            reach = float(rng.uniform(35, 70))
            tilts = np.linspace(-reach, reach, 41)
            mask = call(measured_mask, shape, tilts, shape=shape) > 0.5
            if not agrees(mask, measured(shape, -reach, reach)):
                raise CheckFailed(
                    f"Tilts up to ±{reach:.1f}° measure {reach / 90:.0%} of all directions of a {shape[0]}×{shape[1]} "
                    f"slice; your mask is true at {mask.mean():.0%} of its frequencies. "
                    + name_wedge_mistake(mask, -reach, reach)
                )


def check_lopsided(measured_mask: Callable, *, seed: int | None = 0) -> None:
    """Check that ``measured_mask(shape, tilts_deg)`` is right for an asymmetric range, its tilts in any order."""
    with case(seed, "a lopsided range measures the side that its tilts lie on, in whatever order") as rng:
        for side in (-1, 1):
            low, high = np.sort(side * np.array([-rng.uniform(10, 20), rng.uniform(50, 65)]))
            tilts = np.linspace(low, high, 41)
            order = rng.permutation(np.delete(np.arange(41), [8, 30]))
            tilts = tilts[[8, *order, 30]]  # neither the first nor the last is an outermost one
            mask = call(measured_mask, (56, 56), tilts, shape=(56, 56)) > 0.5
            # which axis is which and where the zero frequency stands is charged by check_wedge
            if not any(agrees(mask, layout(mask.shape, low, high)) for layout in LAYOUTS.values()):
                raise CheckFailed(
                    f"Tilts between {low:.1f}° and {high:.1f}°, not sorted, measure another fan than your mask has. "
                    + name_lopsided_mistake(mask, tilts)
                )


def check_law(elongation: Callable, *, seed: int | None = 0) -> None:
    """Check that ``elongation(max_tilt_deg)`` is √((α + sin α cos α)/(α − sin α cos α))."""
    with case(seed, "the elongation follows the law, and is 1 when nothing is missing") as rng:
        for reach in [*rng.uniform(20, 85, 6), 90.0]:
            found = float(call(elongation, float(reach), shape=()))
            if abs(found / law(reach) - 1) > SAME:
                raise CheckFailed(
                    f"At ±{reach:.1f}° the law gives {law(reach):.4f}, yours {found:.4f}. "
                    + name_law_mistake(found, reach)
                )


def check_widths(measure_elongation: Callable, *, seed: int | None = 0) -> None:
    """Check that ``measure_elongation(slice_)`` finds height / width of bright blobs, wherever and however large."""
    with case(
        seed, "the ratio of height to width is found, wherever the blob lies and whatever its size"
    ) as rng:
        for profile in (_bell, _sharper_bell):
            for tall in (True, False):
                slice_, ratio = _blob(rng, profile, tall)
                found = _ratio(measure_elongation, slice_)
                if abs(found / ratio - 1) > RATIO_TOLERANCE:
                    raise CheckFailed(
                        f"A blob that is {ratio:.2f} times as high (z) as wide (y) in a "
                        f"{slice_.shape[0]}×{slice_.shape[1]} slice: yours says {found:.2f}. "
                        + name_ratio_mistake(found, ratio, RATIO_TOLERANCE)
                    )


def check_offset(measure_elongation: Callable, *, seed: int | None = 0) -> None:
    """Check that a constant added to the slice changes nothing, while turning it by 90° does.

    ``measure_elongation(slice_)`` gives the height over the width of what is in a slice (nz, ny).
    """
    with case(seed, "a level background, bright or dark, changes nothing") as rng:
        for level in (2, -2):
            slice_, _ = _blob(rng, _bell, tall=level > 0)
            alone, turned = (_ratio(measure_elongation, s) for s in (slice_, slice_.T))
            if abs(np.log(alone / turned)) < OFFSET_TOLERANCE:
                raise CheckFailed(
                    f"A blob and the same blob turned by 90° both have {alone:.2f}: is the slice looked at?"
                )
            lifted = _ratio(measure_elongation, slice_ + level * slice_.max())
            if abs(lifted / alone - 1) > OFFSET_TOLERANCE:
                raise CheckFailed(
                    f"Adding {level:+g} times the blob's height to every voxel changes your answer from {alone:.2f} to "
                    f"{lifted:.2f}. Take the background off first (most voxels hold nothing else: np.median), so that "
                    "half of the maximum is half of what stands above it."
                )


def check_reconstructed(measure_elongation: Callable, *, seed: int | None = 0) -> None:
    """Check that on weighted back-projections of a small Gaussian the measured elongation follows the law.

    ``measure_elongation(slice_)`` gives the height over the width of what is in a slice (nz, ny).
    """
    with case(seed, "measured on reconstructions, it follows the law for small things") as rng:
        for reach in (rng.uniform(36, 42), rng.uniform(60, 68)):
            found = _ratio(measure_elongation, _reconstructed_blob(rng, reach))
            # ratios upside down or squared are charged by check_widths
            share = min(np.array(readings(found)) / law(reach), key=lambda share: abs(np.log(share)))
            if not LAW_BAND[0] <= share <= LAW_BAND[1]:
                raise CheckFailed(
                    f"A Gaussian reconstructed from ±{reach:.0f}° should be some {law(reach):.2f} times as high as "
                    f"wide; yours says {found:.2f}. Look at the slice: the wedge leaves dark sides and long tails, "
                    "whose second moment has no limit. Use what is above half of the maximum, or the profiles "
                    "through the peak."
                )


def check_number(number_of_tilts: Callable, *, seed: int | None = 0) -> None:
    """Check that ``number_of_tilts(diameter_nm, resolution_nm, max_tilt_deg)`` is the least for Crowther's step d/D."""
    with case(seed, "no fewer tilts than Crowther's step asks for, and no more") as rng:
        for _ in range(5):
            reach, resolution = float(rng.uniform(45, 75)), float(rng.uniform(0.5, 4))
            steps = int(rng.integers(12, 60)) + rng.uniform(
                0.2, 0.45
            )  # not near a whole number, below a half
            diameter = resolution * steps / (2 * np.deg2rad(reach))
            expected = int(np.ceil(steps)) + 1
            found = float(call(number_of_tilts, diameter, resolution, reach, shape=()))
            if found != expected:
                widest = np.rad2deg(resolution / diameter)
                spacing = f", which is a step of {2 * reach / (found - 1):.2f}°" if found > 1 else ""
                raise CheckFailed(
                    f"D = {diameter:.1f} nm and d = {resolution:.2f} nm allow steps of {widest:.2f}°, so "
                    f"−{reach:.1f}° … +{reach:.1f}° takes {expected} tilts; yours are {found:g}{spacing}. "
                    + name_number_mistake(found, steps, reach)
                )


def _ratio(measure_elongation: Callable, slice_: np.ndarray) -> float:
    found = float(call(measure_elongation, slice_, shape=()))
    if found <= 0:
        raise CheckFailed(f"A height over a width is positive; yours is {found:.2f}.")
    return found


def _bell(r: np.ndarray) -> np.ndarray:
    return np.exp(-(r**2) / 2)


def _sharper_bell(r: np.ndarray) -> np.ndarray:
    """Longer tails than a Gaussian's."""
    return 1 / np.cosh(1.2 * r)


def _blob(rng: np.random.Generator, profile: Callable, tall: bool) -> tuple[np.ndarray, float]:
    """Return a slice with one blob between its voxels, off the middle; and its height over its width."""
    shape = rng.integers(74, 90, 2)
    z, y = np.indices(tuple(shape)) - np.reshape((shape - 1) / 2 + rng.uniform(-9, 9, 2), (2, 1, 1))
    short, stretch = rng.uniform(4, 5.5), rng.uniform(1.35, 2.2)
    height, width = (short * stretch, short) if tall else (short, short * stretch)
    return rng.uniform(0.3, 3) * profile(np.hypot(z / height, y / width)), height / width


def _reconstructed_blob(rng: np.random.Generator, reach: float) -> np.ndarray:
    """Weighted back-projection of the exact images of a round Gaussian off the axis."""
    tilts = np.linspace(-reach, reach, round(2 * reach / 1.5) + 1)
    geometry = TiltGeometry(tilts, (*rng.integers(90, 104, 2), 1))
    centre = np.array([[*rng.uniform(-12, 12, 2), 0]])
    _, images = gaussians(geometry, centre, rng.uniform(4, 5, 1), rng.uniform(0.5, 2, 1))
    return wbp(Projector(geometry), images)[:, :, 0].astype(np.float64)
