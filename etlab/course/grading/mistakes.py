"""Typical mistakes of a projector, recognised by what they do to a measured row, mass or inner product.

A slice is ``slice_[z, y]``, its images are ``images[tilt, row]``; y and z are measured from the slice's
centre, rows from the detector's, angles in radians, signs as in :mod:`etlab.geometry`. Each ``name_…``
returns a sentence.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from etlab.course.grading.likeness import sentence

Array: TypeAlias = Any  # a number or an array of numbers
NUMBERED_FROM_0 = "The centre of n samples numbered from 0 is (n − 1)/2."
A_FEW_PERCENT = 0.03  # two laws of the tilt angle differ by more than this, interpolation by less


def landing(y: Array, z: Array, theta: Array) -> Array:
    """Return the row at which the voxel (y, z) lands."""
    return y * np.cos(theta) + z * np.sin(theta)


def mistaken_landings(y: Array, z: Array, theta: Array) -> dict[str, Array]:
    """Return the row at which it lands under each typical mistake; the right one has the empty name."""
    return {
        "": landing(y, z, theta),
        "the angle has the wrong sign: y·cos θ − z·sin θ": landing(y, -z, theta),
        "rows are counted downwards: the whole image is mirrored": -landing(y, z, theta),
        "y and z are exchanged: a slice is slice_[z, y], at 0° the sum runs over axis 0": landing(
            z, y, theta
        ),
        "y and z are exchanged and the angle has the wrong sign": landing(z, -y, theta),
        "degrees are taken for radians: use np.deg2rad": landing(y, z, np.rad2deg(theta)),
    }


def name_point_mistake(miss: float, y: float, z: float, theta: float, n_rows: int) -> str:
    """Explain why a voxel at (y, z) lands ``miss`` rows from where it should."""

    def is_like(other: Array) -> bool:
        return bool(np.isclose(miss, other, atol=1e-6 * n_rows))

    for mistake, s in mistaken_landings(y, z, theta).items():
        if mistake and is_like(s - landing(y, z, theta)):
            return sentence(mistake)
    corner = landing(-0.5, -0.5, theta)  # n/2 for (n − 1)/2 in the slice
    if is_like(corner) or is_like(0.5) or is_like(corner + 0.5):
        wrong = (
            "slice's" if is_like(corner) else "detector's" if is_like(0.5) else "slice's and the detector's"
        )
        return f"The {wrong} centre is off by half a sample. {NUMBERED_FROM_0}"
    return "Measure y and z from the slice's centre (n − 1)/2, then add the detector's centre (n_rows − 1)/2."


def name_centre_mistake(rows: np.ndarray, theta: np.ndarray) -> str:
    """Split the offsets of a blob in the middle into a shift of the detector and one of the slice."""
    basis = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    (detector, y, z), *_ = np.linalg.lstsq(basis, rows)
    if np.abs(basis @ [detector, y, z] - rows).max() > 0.1:
        return "The offset follows no fixed centre: look at the blob's images one after the other."
    found = {"the detector's centre by {:+.1f} rows": detector, "the slice's y centre by {:+.1f} voxels": -y}
    found["the slice's z centre by {:+.1f} voxels"] = -z
    least = min(0.1, max(map(abs, found.values())))
    parts = [text.format(offset) for text, offset in found.items() if abs(offset) >= least]
    return f"It looks like an error of {' and '.join(parts)}. {NUMBERED_FROM_0}"


def name_mass_mistake(share: np.ndarray, theta: np.ndarray) -> str:
    """Explain why images hold ``share`` of the slice's mass."""
    longest = np.maximum(np.abs(np.cos(theta)), np.abs(np.sin(theta)))
    if not share.any():
        return "Nothing was added to the images."
    if np.allclose(share, longest, atol=A_FEW_PERCENT):
        return "It falls as max(|cos θ|, |sin θ|): the length of ray inside one row of voxels is 1/max(…)."
    if np.allclose(share, 1 / longest, atol=A_FEW_PERCENT):
        return "It grows as 1/max(|cos θ|, |sin θ|): that factor is there once too often."
    if np.ptp(share) < A_FEW_PERCENT:
        return "The factor is the same at every tilt: take a sum, not a mean, and do not normalise."
    return "Every voxel gives the whole of its value to the rows around the place where it lands."


def name_adjoint_mistake(
    left: np.ndarray,
    right: np.ndarray,
    opposite: np.ndarray,
    holds_slice: np.ndarray,
    tolerance: np.ndarray,
) -> str:
    """Explain why ⟨A x, y⟩ (left) and ⟨x, Aᵀ y⟩ (right) differ, from several pairs: arrays of one length.

    ``opposite`` is ⟨A x, y⟩ at −θ, ``holds_slice`` tells detectors that see the whole slice, ``tolerance``
    is absolute.
    """
    factor = np.vdot(left, right) / np.vdot(left, left)
    if np.all(np.abs(right - factor * left) < tolerance):
        return (
            f"Your back-projection is {factor:.4g} times the adjoint: the adjoint has no factor of its own."
        )
    if np.all(np.abs(right - opposite) < tolerance):
        return "Your back-projection uses the opposite sign of the tilt angle."
    if np.all((np.abs(right - left) < tolerance)[holds_slice]):
        return (
            "They agree while the detector holds the whole slice, so its edges differ: a row that takes "
            "nothing from a voxel in project gives it nothing in backproject (np.interp, for one, repeats "
            "the last value outside)."
        )
    return (
        "Whatever weight voxel (z, y) gives to a row in project, that row gives back to the voxel in "
        "backproject: same rows, same weights, nothing more (no filter, no division)."
    )
