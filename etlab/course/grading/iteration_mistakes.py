"""Typical mistakes of weighted back-projection and of SIRT, recognised by what comes out.

Notation as in :mod:`etlab.course.grading.iteration`. Each ``name_…`` returns a sentence.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from etlab.course.grading.likeness import ROUNDING, alike
from etlab.solvers._sirt import inverse

A_FEW_PERCENT = 0.04  # the laws told apart here differ by much more
A_THIRD = 1 / 3  # a filter changes the shape of a wave packet by less, anything else by more

RAMP_FACTORS = {
    2: "It is one at the Nyquist frequency: k is in cycles per pixel and ends at 1/2.",
    2 * np.pi: "That is k in radians per pixel; here it is in cycles, as `np.fft.rfftfreq` gives it.",
}
SCALE_FACTORS = {
    1 / np.pi: "The images are averaged: the half turn they stand for is π, not 1.",
    0.5: "The tilts together stand for half a turn, π; yours for a quarter.",
    2: "The tilts together stand for half a turn, π: from below one sees the same projections again.",
    180 / np.pi: "The steps between the tilts are in degrees: use np.deg2rad.",
}


def name_ramp_mistake(k: np.ndarray, mixture: np.ndarray, remainder: float) -> str:
    """Explain why waves of k cycles per pixel become this ``mixture`` of waves, with a relative ``remainder``."""
    gain = np.diag(mixture)
    if np.abs(mixture).max() < 1e-9:
        return "Nothing of it is left."
    if remainder > A_THIRD or np.all(gain < 0):
        return "Transform each row, multiply by k, transform back: no abs(), no clipping, no shift."
    if np.abs(mixture - np.diag(gain)).max() > A_FEW_PERCENT * np.abs(mixture).max():
        return "You filter across the tilts: images are images[tilt, row], so an image is a row of the array."
    power, log_factor = np.polyfit(np.log(k), np.log(np.maximum(gain, 1e-9)), 1)
    if abs(power) < A_FEW_PERCENT:
        return "All waves get the same factor: the images are not filtered."
    if abs(power - 2) < A_FEW_PERCENT:
        return "The factor grows as k²: the ramp is |k|, so filter once."
    if abs(power - 1) < A_FEW_PERCENT:
        factor = np.exp(log_factor)
        for known, words in RAMP_FACTORS.items():
            if abs(factor / known - 1) < A_FEW_PERCENT:
                return words
        return f"All waves get {factor:.4g} times what they should: the ramp has no factor of its own."
    return "The factor is to be |k| itself up to the Nyquist frequency, without a window."


def name_ends_mistake(excess: np.ndarray, distance: np.ndarray) -> str:
    """Explain why a filtered row without margins has an ``excess`` at a ``distance`` from its only spot."""
    order = np.argsort(np.abs(distance))
    farthest, half_way = np.abs(excess[order[-1]]), np.abs(excess[order[len(order) // 2]])
    if farthest > 3 * half_way:
        return (
            "What leaves the row at one end comes in at the other: pad each row with zeros to twice its length or more "
            "before the transform, and cut afterwards."
        )
    if np.all(excess < 0):
        return (
            "The whole row lies too low: |k| is zero at k = 0, so the sum of each padded row is zero. Transform the "
            "kernel h instead (1/4, −1/(π j)² for odd j, else 0), or pad very much more."
        )
    return "What is not recorded counts as zero, and zeros add nothing to a convolution."


def name_scale_mistake(ratio: float, n_tilts: int) -> str:
    """Explain why a disc seen from all round has ``ratio`` times its density."""
    if abs(ratio) < 1e-9:
        return "Nothing was back-projected."
    added = (
        "The images are added up: each should count by the part of the half turn it stands for, in radians."
    )
    for known, words in (SCALE_FACTORS | {n_tilts / np.pi: added}).items():
        if abs(ratio / known - 1) < A_FEW_PERCENT:
            return words
    return f"That is {ratio:.3g} times as much. The weights of all tilts sum to π, and Aᵀ has no factor."


def name_share_mistake(weights: np.ndarray, tilts_deg: np.ndarray) -> str:
    """Explain why tilts have these weights [rad] and not their shares of the half turn."""
    if np.ptp(weights) < A_FEW_PERCENT * np.abs(weights).max():
        if np.ptp(np.diff(tilts_deg)) < 1e-6:
            return "Equal parts of π are for tilts all round only. The wedge is nobody's: each tilt gets its step."
        return "All tilts get the same: give each half the distance to its neighbour on either side."
    if alike(np.abs(weights), np.abs(np.gradient(np.deg2rad(tilts_deg)))):
        return "Neighbours are those nearest in angle, not those next to it in the array: sort the tilts."
    return "A tilt stands for half the distance to its neighbour on either side, in the order of the angles."


def name_weight_mistake(A: csr_array, name: str, weights: np.ndarray, sums: np.ndarray) -> str:
    """Explain why these are not the inverse ``sums`` of A's rows (R) or columns (C)."""
    if alike(weights, sums):
        return "These are the sums themselves: take 1 / sum."
    if alike(weights, inverse(A.multiply(A).sum(axis=1 if name == "R" else 0))):
        return "These are sums of squares: sum the weights themselves."
    ratio = (weights * sums)[sums > 0]
    if np.ptp(ratio) < ROUNDING * np.abs(ratio).max():
        return f"All are {ratio[0]:.3g} times what they should be."
    return "R comes from the sums of A's rows, one for each ray, C from those of its columns, one for each voxel."


def name_step_mistake(
    A: csr_array, R: np.ndarray, C: np.ndarray, moved: np.ndarray, wanted: float, *, cut: float | None = None
) -> str:
    """Explain why a uniform slice is ``moved`` by other than the ``wanted`` amount everywhere.

    ``cut`` is the largest density that came out, if twice the densities led to the same slice.
    """
    if cut:
        return (
            f"Densities of twice these values lead to the same slice: it is cut off at {cut:.4g}. A density has no "
            "upper bound, whatever is drawn in a picture: set to zero what would be negative, and nothing else."
        )
    if not moved.any():
        return "The slice has not changed. Corrections may be negative: it is the slice that is clipped."
    even = np.full(A.shape[1], wanted)
    difference = A @ even
    patterns = {
        "": even,
        "R is missing: divide each difference by what its ray meets, before back-projecting.": C
        * (A.T @ difference),
        "C is missing: divide what a voxel gets by what its rays count for.": A.T @ (R * difference),
        "Both weights are missing. Without them a step length has to be found first.": A.T @ difference,
    }
    for words, pattern in patterns.items():
        factor = np.vdot(moved, pattern) / np.vdot(pattern, pattern)
        if not alike(moved, factor * pattern):
            continue
        if factor < 0:
            return "It moves away from the images: correct by y − A x, not by A x − y."
        return words or f"It moves {factor:.3g} times as far as it should: the step of SIRT is one."
    return (
        "x + C · Aᵀ(R · (y − A x)): the difference of each ray is divided by what the ray meets (R), back-projected "
        "with Aᵀ as it is, without a filter, and what a voxel gets is divided by what its rays count for (C)."
    )


def name_run_mistake(x: np.ndarray, slices: list[np.ndarray]) -> str:
    """Explain why x is not the last but one of the ``slices`` after 0, 1, 2, … steps."""
    for n_steps, other in enumerate(slices):
        if alike(x, other):
            return f"It is that after {n_steps}."
    return "Begin with zeros, take R and C from `weights`, and hand what one `step` returns to the next."


def name_residual_mistake(found: np.ndarray, norms: np.ndarray, y: np.ndarray) -> str:
    """Explain why these are not ``norms[1:]``, the residuals after 1, 2, … steps; ``norms[0]`` is that of zeros."""
    if alike(found, norms[:-1]):
        return "Each of yours belongs to the slice *before* its step: compute it after the step."
    if alike(found, norms[1:] ** 2):
        return "Yours is its square: take the root."
    if alike(found, norms[1:] / np.linalg.norm(y)):
        return (
            "Yours is divided by ‖y‖: to be compared with the noise it has to be in the units of the images."
        )
    return "Take the norm of y − A x with the slice that the step returned: not weighted, not a mean."


def name_stop_mistake(stops: list[int], n_iter: int, ratio: float) -> str:
    """Explain why runs of ``n_iter`` iterations are stopped badly where the residual is ``ratio`` times the noise."""
    if min(stops) == n_iter:
        return (
            "The residual falls for ever, so it is least at the last iteration: stop when it comes down to the "
            "noise, whose norm is about √(Σ images / dose)."
        )
    how = "too early" if ratio > 1 else "too late, when noise is being explained"
    return f"There the residual is {ratio:.2f} times the noise, √(Σ images / dose): you stop {how}."


def name_window_mistake(k: np.ndarray, yours: np.ndarray, best: np.ndarray) -> str:
    """Return whether a window lets through more or less than the best one."""
    if np.sum(k * yours**2) > np.sum(k * best**2):
        return "Yours lets through more, and that is mostly noise: at such a dose it should end earlier."
    return "Yours lets through less and blurs what was well measured: at such a dose it should end later."
