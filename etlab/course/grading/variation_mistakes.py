"""Typical mistakes with total variation, recognised by what they do to a field, an inner product or a slice.

Each ``name_…`` returns a sentence. Symbols and pieces as in :mod:`etlab.course.grading.least_variation`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from etlab.course.grading import likeness
from etlab.course.grading.least_variation import SliceProjector, balanced_lam, cost, lengths, solved

ALIKE = 1e-3  # relative; an answer this near to that of a mistake is that mistake
CONVERGED = 800  # iterations until a slice can be told from that of a mistaken problem
alike = partial(likeness.alike, within=ALIKE)


def name_slope_mistake(found: np.ndarray, slope: np.ndarray) -> str:
    """Explain why a plane of this slope (along z, along y) has the gradient ``found`` in the middle of the slice."""
    if alike(found, slope[::-1]):
        return "The components are exchanged: z, the first axis of a slice, comes first."
    if alike(found, -slope):
        return "The sign is opposite: the next voxel less this one."
    if alike(found, np.abs(slope)):
        return "A gradient has a sign: leave out the abs()."
    return "Take the next voxel less this one, without any factor."


def name_adjoint_mistake(
    left: np.ndarray, right: np.ndarray, exchanged: np.ndarray, inner: list[np.ndarray]
) -> str:
    """Explain why ⟨∇x, p⟩ (left) and ⟨x, ∇ᵀp⟩ (right) differ, from several pairs: arrays of one length.

    ``exchanged`` is right for p with its components exchanged, ``inner`` the pair of products (left, right) for
    fields that are zero at the border.
    """
    if alike(right, -left):
        return "This is the divergence. The adjoint of the gradient is *minus* the divergence: turn the sign."
    factor = np.vdot(left, right) / np.vdot(left, left)
    if alike(right, factor * left):
        return f"Your ∇ᵀ is {factor:.4g} times the adjoint: the adjoint has no factor of its own."
    if alike(exchanged, left):
        return "The components are exchanged: p[0] belongs to z, the first axis of a slice, and p[1] to y."
    if alike(inner[1], inner[0]):
        return (
            "They agree for fields that are zero at the border, so the border is wrong: where a difference is "
            "zero whatever the slice (the last row, the last column), its p must reach no voxel; where it is "
            "not, both of its voxels."
        )
    if alike(inner[1], -np.asarray(inner[0])):
        return "The sign is opposite (it should be minus the divergence), and the border is wrong, too."
    return (
        "A difference takes +1 times the next voxel and −1 times this one. So p of this place gives +p to the "
        "next voxel and −p to this one, along z for p[0] and along y for p[1]."
    )


def name_ball_mistake(field: np.ndarray, found: np.ndarray, bound: float) -> str:
    """Explain why ``found`` is not the field shortened to ``bound``."""
    length = lengths(field)
    if alike(found, np.clip(field, -bound, bound)):
        return (
            "Each component is clipped by itself: that is a square, in whose corners a vector is √2·bound long, "
            "and edges along z and y become cheaper than slanting ones. Shorten the vector."
        )
    if alike(found, field / np.maximum(1, length)):
        return "The vectors are shortened to 1, whatever the bound is."
    if alike(found, field * bound / np.where(length > 0, length, 1)):
        return "Vectors that are short enough are made longer: leave them as they are."
    if alike(found, field / max(1, np.linalg.norm(field) / bound)):
        return "Each voxel has a vector of its own: take the length along axis 0, not of the whole field."
    if np.any(lengths(found) > (1 + ALIKE) * bound):
        return f"The longest vector has length {lengths(found).max():.4g} still."
    return "Vectors within the bound stay as they are, longer ones keep their direction and get length bound."


def name_resolvent_mistake(q: np.ndarray, y: np.ndarray, sigma: float, found: np.ndarray) -> str:
    """Explain why ``found`` is not (q − σ·y)/(1 + σ)."""
    mistakes = {
        "The division is missing that ½‖r‖² brings.": q - sigma * y,
        "σ multiplies the whole of F*, y as well.": (q - y) / (1 + sigma),
        "The sign of y is wrong: this answer belongs to F, the dual variable needs the one for F*.": (
            q + sigma * y
        )
        / (1 + sigma),
    }
    for mistake, answer in mistakes.items():
        if alike(found, answer):
            return mistake
    return "Set the derivative of ½‖r − q‖² + σ·(½‖r‖² + ⟨r, y⟩) with respect to r to zero."


def name_eigenvalue_mistake(found: float, exact: float) -> str:
    """Explain why a largest eigenvalue came out wrong."""
    if abs(found - np.sqrt(exact)) <= 0.05 * np.sqrt(exact):
        return "This is its square root: what stretches x by ‖K‖ stretches it by ‖K‖² in KᵀK. No root here."
    if found <= 0:
        return "A slice of ones has no gradient, and what is zero stays zero: start from random numbers."
    if found > exact:
        return (
            "It is too large: divide by the norm of x before each application, and return the last norm only."
        )
    return "It is too small: the power method comes from below. Start from random numbers and iterate longer."


def name_minimum_mistake(A: SliceProjector, y: np.ndarray, lam: float, found: np.ndarray) -> str:
    """Explain why ``found`` is not the slice of least cost.

    A minimum balances its two terms, ⟨A x, y − A x⟩ = λ·TV(x), which tells for which λ a slice is one.
    """
    if cost(A, y, lam, found) > cost(A, y, lam, np.zeros_like(found)) / 2:
        return (
            "An empty slice is not much worse, or is better: the iteration runs away, or goes the wrong way. Steps "
            "have to obey τ·(σ_q·‖A‖² + σ_p·‖∇‖²) ≤ 1 with the *squares* of the norms, and Aᵀq + ∇ᵀp is subtracted."
        )
    other = balanced_lam(A, y, found)
    problems = {
        f"It is the minimum for λ = {other:.3g}, not for the {lam:.3g} that was asked for: p is to be "
        "shortened to lam.": solved(A, y, abs(other), CONVERGED),
        "It is the minimum for another variation, |∂x/∂z| + |∂x/∂y|: shorten the vector, do not clip its "
        "components.": solved(A, y, lam, CONVERGED, lambda p, bound: np.clip(p, -bound, bound)),
    }
    miss = {problem: float(np.linalg.norm(found - x)) for problem, x in problems.items()}
    nearest = likeness.nearest(miss)
    if miss[nearest] < 0.5 * np.linalg.norm(found - solved(A, y, lam, CONVERGED)):
        return nearest
    return (
        "It has not arrived. Does the cost still fall with ten times the iterations? Then it is slow: look at "
        "the steps, and at the look ahead, 2·new − old. If the cost stays where it is, it arrives somewhere "
        "else: look at signs, and at λ."
    )


def name_share_mistake(
    found: float, share: float, planted: np.ndarray, alone: np.ndarray, witness: np.ndarray
) -> str:
    """Explain why a witness does not keep the share ``found``.

    ``planted`` is the reconstruction of the images with those of the witness added, ``alone`` that of the witness's
    images by themselves.
    """

    def part(slice_: np.ndarray) -> float:
        return np.vdot(slice_, witness) / np.vdot(witness, witness)

    mistakes = {
        "It is a share: 1 for all of the contrast, not 100.": 100 * share,
        "It is a share: divide by the contrast that was planted.": share * np.max(np.abs(witness)),
        "A void has negative contrast, before and after: the share is positive.": -share,
        "Subtract what stands there without the witness.": part(planted),
        "This is what is left of the witness alone, in empty space and without noise. Plant it in the images that "
        "were measured.": part(alone),
    }
    if abs(found - 1) < 0.02:
        return "All of it? The witness must go through the microscope: add its *images* A(witness) to y."
    for mistake, value in mistakes.items():
        if abs(found - value) < 0.03:
            return mistake
    return (
        "Reconstruct twice, from y and from y + A(witness). The share is what the second has more than the first "
        "inside the witness, as a mean, divided by the contrast planted."
    )
