"""What a wrong row, spec or answer of lab 6 looks like, in a sentence that says what to look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etlab.course.grading.challenge_cases import RANGES, WIDTHS
from etlab.course.scenes import Problem, Score, Truth
from etlab.course.scenes.problem import SPEC
from etlab.forward import Mismatch

UNDERFITTED, OVERFITTED = 0.03, 0.006  # of the images, less or more than the course's own row explains
SAME, SIGN = 0.02, 0.15  # of a range, within which two numbers are the same, or the same but for the sign
SYMBOLS = {"tilt_angle": ("δ", "°"), "tilt_axis": ("φ", "°"), "defocus_gradient": ("g", " nm/µm")}
RESTS_ON = {
    "tilt_angle": "δ rests on the flat film, and so on the beads that lie on it: were the declared fiducials used?",
    "tilt_axis": "φ is an angle in the images, from +x towards +row.",
    "defocus_gradient": "g rests on how wide the beads are in every row: were the declared fiducials used?",
}


def explained(problem: Problem, x_hat: np.ndarray, spec: Mismatch, *, scaled: bool = False) -> float:
    """Return 1 − ‖y − H x‖/‖y‖ (negative if a volume explains less than nothing); ``scaled``: of the best c·x."""
    images = problem.operator(spec)(np.asarray(x_hat, np.float32))
    if scaled and images.any():
        images = images * (np.vdot(images, problem.y) / np.vdot(images, images))
    return float(1 - np.linalg.norm(problem.y - images) / np.linalg.norm(problem.y))


def name_row_mistake(
    row: str, x_hat: np.ndarray, own: np.ndarray, problem: Problem, mismatch: Mismatch
) -> str:
    """Explain why a row's volume may be worse than ``own``, that of the course's ``row`` with the same microscope."""
    if is_images(x_hat, problem):
        return "These are the images, cut to the shape of a volume. Reconstruct from them."
    if row == "WBP-ET":
        size = np.vdot(own, x_hat) / np.vdot(own, own)
        return (
            f"Its densities are {size:.2f} times those of WBP-ET. Without the ramp a slice is a haze, and without the "
            "share that each tilt has of the half circle it has a factor."
        )
    more = explained(problem, x_hat, mismatch) - explained(problem, own, mismatch)
    if more < -UNDERFITTED:
        return "It explains less of the images: too few iterations, or too much regularisation."
    if more > OVERFITTED:
        return "It explains more of the images, and so their noise: too many iterations, or too little regularisation."
    return "It explains the images about as well, so look at a slice for what it invents."


def is_images(x_hat: np.ndarray, problem: Problem) -> bool:
    """Return whether the largest values of a volume, and not just one or two, are those of pixels."""
    largest = np.unique(x_hat.astype(np.float32))[-20:]
    return len(largest) == 20 and bool(np.isin(largest, problem.y).all())


def in_words(spec: Mismatch) -> str:
    """Return a spec with its symbols and units."""
    return ", ".join(
        f"{symbol} = {getattr(spec, name):+.2f}{unit}" for name, (symbol, unit) in SYMBOLS.items()
    )


def name_spec_mistake(found: Mismatch, true: Mismatch, off: list[str], tolerance: Mapping[str, float]) -> str:
    """Return what is wrong with a spec whose numbers ``off`` are farther from the truth than their ``tolerance``."""
    lines = []
    for name in off:
        symbol, unit = SYMBOLS[name]
        lines.append(
            f"{symbol} is {getattr(true, name):+.2f}{unit}, yours {getattr(found, name):+.2f}{unit}, within "
            f"{tolerance[name] * WIDTHS[name]:.2f}{unit} would do"
        )
    return "; ".join(lines) + ". " + _spec_cause(found, true, off)


def _spec_cause(found: Mismatch, true: Mismatch, off: list[str]) -> str:
    """Return why a spec may be wrong."""
    middle = Mismatch(**{name: sum(RANGES[name]) / 2 for name in SPEC})
    if _same(found, middle):
        return (
            "This is the middle of each range, which is what one guesses who knows nothing. Ask the images."
        )
    if _same(found, Mismatch()):
        return "This is the microscope of the log file. Ask the images what is wrong with it."
    turned = [name for name in off if _close(name, getattr(found, name), -getattr(true, name))]
    if turned:
        return f"The size is right and the sign is wrong: {', '.join(SYMBOLS[name][0] for name in turned)}."
    return " ".join(RESTS_ON[name] for name in off)


def _same(found: Mismatch, other: Mismatch) -> bool:
    """Return whether two specs are the same."""
    return all(_close(name, getattr(found, name), getattr(other, name), SAME) for name in SPEC)


def _close(name: str, one: float, other: float, share: float = SIGN) -> bool:
    """Return whether two numbers of a spec are within a share of its range."""
    return abs(one - other) < share * WIDTHS[name]


def name_score_mistake(score: Score, x_hat: np.ndarray, problem: Problem, truth: Truth) -> str:
    """Return what is wrong with an answer whose score is too low."""
    if is_images(x_hat, problem):
        return "x_hat holds images. It should be a volume that was reconstructed from them."
    of_truth = explained(problem, truth.x_true, truth.mismatch)
    parts = f"PSNR {score.psnr_db:.1f} dB, SSIM {score.ssim:.2f}, consistency {score.consistency:.2f}: "
    if score.consistency < of_truth - UNDERFITTED:
        return (
            parts
            + f"the truth explains {of_truth:.2f} of the images, so this volume or its spec cannot be right."
        )
    if score.consistency > of_truth + OVERFITTED:
        return (
            parts
            + f"the truth explains {of_truth:.2f} of the images, so this volume has learned their noise."
        )
    return parts + "it explains its images well enough, so what it lacks is what they do not tell: a prior."
