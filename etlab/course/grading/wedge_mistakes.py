"""Typical mistakes about the wedge, recognised by what they make of a mask, a ratio or a number of tilts.

Masks are boolean, in the order of ``np.fft.fft2``; angles are in degrees. Each ``name_…`` returns a sentence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etlab.course.grading.likeness import sentence

BORDER = 2.0  # degrees either side of the outermost tilts in which a mask may be anything, soft edges too
SAME = 1e-4  # relative; leaves room for float32
SAME_EVERYWHERE = "It is the same everywhere: are the angles that you compare both in degrees?"


def measured(shape: tuple[int, int], low: float, high: float, per_voxel: bool = True) -> np.ndarray:
    """Return 1 where tilts low … high measure, −1 in the wedge, 0 where no answer is wrong: shape (nz, ny).

    No answer is wrong near the outermost tilts, at frequency zero, and at Nyquist's, which stands for both signs.
    ``per_voxel=False`` counts frequencies in samples.
    """
    f_z, f_y = np.meshgrid(*(np.fft.fftfreq(n, 1 if per_voxel else 1 / n) for n in shape), indexing="ij")
    angle = (np.rad2deg(np.arctan2(f_z, f_y)) + 90) % 180 - 90  # f and −f are one direction
    inside = np.minimum(angle - low, high - angle)
    inside[np.abs(inside) < BORDER] = 0
    inside[0, 0] = 0
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            np.moveaxis(inside, axis, 0)[n // 2] = 0
    return np.sign(inside)


def _one_half(shape: tuple[int, int], low: float, high: float) -> np.ndarray:
    """Negative f_y counts as not measured: its arctan2 is beyond ±90°."""
    inside = measured(shape, low, high)
    negative = np.fft.fftfreq(shape[1]) < 0
    inside[:, negative] = -np.abs(inside[:, negative])
    return inside


# what a mask is under each mistake that has nothing to do with the sign of the tilts; the right one has no name
LAYOUTS: dict[str, Callable[[tuple[int, int], float, float], np.ndarray]] = {
    "": measured,
    "y and z are exchanged: 0° measures the f_y axis, so the wedge lies about f_z, along axis 0": (
        lambda shape, low, high: measured(shape[::-1], low, high).T
    ),
    "true and false are exchanged: the mask is true where something was measured": (
        lambda shape, low, high: -measured(shape, low, high)
    ),
    "the zero frequency stands in the middle: np.fft.fft2 has it at [0, 0], and np.fft.fftfreq gives that order": (
        lambda shape, low, high: np.fft.fftshift(measured(shape, low, high))
    ),
    "frequencies are counted in samples: per voxel they are np.fft.fftfreq(n), and nz is not ny": (
        lambda shape, low, high: measured(shape, low, high, per_voxel=False)
    ),
    "only half of the plane is filled: f and −f are measured together, so each line has two ends": _one_half,
    "half of the range is used: the fan reaches from −α to +α": (
        lambda shape, low, high: measured(shape, low / 2, high / 2)
    ),
    "the negative tilts are forgotten: the fan reaches from −α to +α": (
        lambda shape, low, high: measured(shape, 0, high)
    ),
}


def agrees(mask: np.ndarray, inside: np.ndarray) -> bool:
    """Return whether a mask is true where ``inside`` is 1 and false where it is −1."""
    return not ((mask & (inside < 0)) | (~mask & (inside > 0))).any()


def name_wedge_mistake(mask: np.ndarray, low: float, high: float) -> str:
    """Explain why a mask is not the fan of tilts low … high."""
    if mask.all() or not mask.any():
        return SAME_EVERYWHERE
    for mistake, layout in LAYOUTS.items():
        if agrees(mask, layout(mask.shape, low, high)):
            return sentence(mistake)
    return (
        "Tilt θ measures the line (f_z, f_y) = f·(sin θ, cos θ), and everything between the outermost counts."
    )


def name_lopsided_mistake(mask: np.ndarray, tilts_deg: np.ndarray) -> str:
    """Explain why a mask is not the fan of tilts that are not sorted and not symmetric."""
    if mask.all() or not mask.any():
        return SAME_EVERYWHERE
    low, high = tilts_deg.min(), tilts_deg.max()
    first, last = sorted(tilts_deg[[0, -1]])
    widest = max(-low, high)
    ranges = {
        "the angle has the wrong sign: tilt θ measures f_z = +f·sin θ, f_y = +f·cos θ": (-high, -low),
        "the range is taken for symmetric: use the lowest tilt and the highest": (-widest, widest),
        "the range is taken for symmetric, up to the highest tilt": (-high, high),
        "the first tilt and the last are taken for the outermost ones": (first, last),
    }
    for mistake, of in ranges.items():
        if any(agrees(mask, layout(mask.shape, *of)) for layout in LAYOUTS.values()):
            return sentence(mistake)
    return (
        "The fan lies between the lines of the lowest tilt and of the highest, (f_z, f_y) = f·(sin θ, cos θ)."
    )


def law(max_tilt_deg: float) -> float:
    """Elongation along the beam of a small thing seen by tilts up to ±max_tilt_deg (Radermacher & Hoppe)."""
    return _law(np.deg2rad(max_tilt_deg))


def _law(alpha: float) -> float:
    """Return the law for an angle in radians."""
    overlap = np.sin(alpha) * np.cos(alpha)
    return float(np.sqrt((alpha + overlap) / (alpha - overlap)))


def name_law_mistake(found: float, max_tilt_deg: float) -> str:
    """Explain why ``found`` is not the law's elongation."""
    alpha, right = np.deg2rad(max_tilt_deg), law(max_tilt_deg)
    mistakes = {
        "the ratio is upside down: height over width, so plus stands above minus": 1 / right,
        "the root is forgotten: widths go with the root of a curvature": right**2,
        "degrees are taken for radians: use np.deg2rad": _law(max_tilt_deg),
        "half of the range is used: α is the highest tilt, not the middle of 0 … α": _law(alpha / 2),
        "the whole range 2α is used: α is the highest tilt": _law(2 * alpha),
    }
    for mistake, value in mistakes.items():
        if abs(found / value - 1) < SAME:
            return sentence(mistake)
    return "Compare with √((α + sin α cos α)/(α − sin α cos α)), α in radians."


def readings(found: float) -> list[float]:
    """Height over width, if that is what ``found`` is, if it is upside down, if it is squared, and both."""
    return [found, 1 / found, np.sqrt(found), 1 / np.sqrt(found)]


def name_ratio_mistake(found: float, ratio: float, tolerance: float) -> str:
    """Explain why a blob of this ratio is measured as ``found``."""
    wrong = [
        "it is the other way round: height (z, axis 0) over width (y, axis 1)",
        "it is a ratio of variances: widths are their roots",
        "it is a ratio of variances, and the other way round",
    ]
    for mistake, value in zip(wrong, readings(found)[1:], strict=True):
        if abs(value / ratio - 1) < tolerance:
            return f"So {mistake}."
    return (
        "Measure both widths through the blob's own peak, which need not be in the middle of the slice, and to a "
        "fraction of a voxel."
    )


def name_number_mistake(found: float, steps: float, max_tilt_deg: float) -> str:
    """Explain why ``found`` is not the number of tilts of a range of ``steps`` steps, which is no whole number."""
    if found != round(found):
        return (
            "A number of images is whole, and a step may be smaller than Crowther's but not larger: np.ceil."
        )
    if found == np.ceil(steps):
        return "One is missing: n steps need n + 1 tilts, and a fraction of a step counts as one (np.ceil)."
    mistakes = {
        "half of the range is used: from −α to +α it is 2α wide": steps / 2,
        "tilts all round are counted: πD/d is for the half circle, here the range is 2α": (
            steps * 90 / max_tilt_deg
        ),
        "degrees are taken for radians: d/D is an angle in radians": np.rad2deg(steps),
    }
    for mistake, wrong in mistakes.items():
        if found in (np.floor(wrong), np.ceil(wrong), np.ceil(wrong) + 1):
            return sentence(mistake)
    if found < steps / 2:
        return "The step is d/D in radians, a small angle; the number is the range divided by it."
    return "The range 2α is divided into steps of at most d/D radians."
