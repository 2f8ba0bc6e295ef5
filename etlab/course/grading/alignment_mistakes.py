"""Typical mistakes of an alignment, recognised by the shifts they give.

A shift (rows, columns) says how far an image's content is moved, up and to the right, to lie on the reference. The
right answer has the empty name; the others are sentences that end "This is what one gets when …".
"""

from __future__ import annotations

import numpy as np

from etlab.alignment import without_gauge
from etlab.course.grading.likeness import nearest, sentence

SAME = 1.5  # pixels: an answer this near to that of a mistake is that mistake


def mistaken_shifts(shift: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return what each mistake makes of the shift that lays an image of this shape on its reference."""
    return {
        "": shift,
        "the sign is reversed: this moves the reference on to the image": -shift,
        "rows and columns are exchanged: a shift is (rows, columns), in the order of the array's axes": shift[
            ::-1
        ],
        "rows and columns are exchanged and the sign is reversed": -shift[::-1],
        "a peak beyond the middle of the array is not taken as a negative shift: subtract n there": np.mod(
            shift, shape
        ),
        "the sign is reversed, and a peak beyond the middle is not taken as a negative shift": np.mod(
            -shift, shape
        ),
    }


def mistaken_moves(shift: np.ndarray) -> dict[str, np.ndarray]:
    """Return by how much each mistake moves an image that should be moved by ``shift``."""
    return {
        "": shift,
        "it is moved the opposite way: scipy.ndimage.shift moves content by +shift, an index goes by −shift": -shift,
        "rows and columns are exchanged": shift[::-1],
        "rows and columns are exchanged and the sign is reversed": -shift[::-1],
        "it is moved by whole pixels only: interpolate": np.rint(shift),
        "it is moved by whole pixels only, the fraction being cut off: interpolate": np.trunc(shift),
        "it is not moved at all": 0 * shift,
    }


def likeliest(found: np.ndarray, cases: dict[str, np.ndarray]) -> tuple[str, float]:
    """Return the case that ``found`` is nearest to, and how far from it the worst component is."""
    miss = {name: float(np.abs(found - case).max()) for name, case in cases.items()}
    name = nearest(miss)
    return name, miss[name]


def name_precision_mistake(found: np.ndarray, right: np.ndarray) -> str:
    """Explain why shifts ``found`` (n, 2), of the right sign, are off by more than they should be."""
    whole, fraction = np.rint(found), found - np.rint(found)
    if np.abs(fraction).max() < 1e-6:
        return (
            "These are whole pixels. Put a parabola through the peak and its two neighbours, along the rows and along "
            "the columns: its vertex lies at the fraction."
        )
    if np.median(np.abs(whole - fraction - right)) < 0.15:
        return (
            "The whole pixels are right and the fraction has the wrong sign: the vertex lies on the side of the "
            "larger neighbour."
        )
    if np.abs(found - right).max() > 0.5:
        return (
            "That is far from the peak: noise has won. Do not divide by the amplitudes of the Fourier transform "
            "(normalization=None in scikit-image), which makes every frequency count alike, those of mere noise too."
        )
    return (
        "Look at the cross-correlation around its peak, and at what fades the images: a window that is fixed to the "
        "field draws every shift towards zero."
    )


def name_chain_mistake(found: np.ndarray, right: np.ndarray, tilts_deg: np.ndarray) -> str:
    """Explain why shifts of a whole series, (n_tilts, 2), are wrong: by what would mend them."""
    added = np.cumsum(found, axis=0)
    mended = {
        "the steps between neighbours are returned as they are: an image must follow its neighbour, and the neighbour "
        "its own; add the steps up (np.cumsum)": added,
        "each step is counted from the wrong one of the two images: the sum has the wrong sign": -found,
        "the steps are not added up, and have the wrong sign": -added,
        "rows and columns are exchanged": found[:, ::-1],
    }
    for name, shifts in mended.items():
        if rms(shifts - right, tilts_deg) < SAME / 2:
            return sentence(name)
    return (
        "Compare each image with its neighbour, which it resembles, and add up from image to image. Compared with the "
        "first, images far from it are matched to something that they are not."
    )


def name_centre_mistake(
    found: np.ndarray, rows: np.ndarray, columns: np.ndarray, tilts_deg: np.ndarray
) -> str:
    """Explain why row shifts by the centre of mass are wrong; ``rows`` and ``columns`` are right for either axis."""
    cases = {
        "the sign is reversed: a centre that is too high must be moved down": -rows,
        "the centre of mass is taken along the columns: rows are axis 1 of images[tilt, row, x]": columns,
        "the centre of mass along the columns is taken, with the wrong sign": -columns,
    }
    for name, case in cases.items():
        if across(found - case, tilts_deg, offset=True) < SAME / 3:
            return sentence(name)
    if across(found - rows, tilts_deg, offset=True) < SAME / 10:
        return (
            "The jumps are right, but every image is moved too far by the same amount. That puts the axis beside the "
            "middle of the detector, which is row (n − 1)/2."
        )
    return "Move each image so that its centre of mass, Σ row·value / Σ value, comes to row (n − 1)/2."


def rms(shifts: np.ndarray, tilts_deg: np.ndarray, *, axis_deg: float = 0.0) -> float:
    """Return the RMS length, in pixels, of what neither a displaced specimen nor a higher axis explains."""
    left = without_gauge(shifts, tilts_deg, tilt_axis_deg=axis_deg, offset=True)
    return float(np.sqrt(np.mean(np.sum(left**2, axis=1))))


def across(rows: np.ndarray, tilts_deg: np.ndarray, *, offset: bool = False) -> float:
    """Return the RMS of row shifts (n_tilts,) that a displaced specimen (or, ``offset``, axis) does not explain."""
    left = without_gauge(np.stack([rows, np.zeros_like(rows)], axis=1), tilts_deg, offset=offset)
    return float(np.sqrt(np.mean(left**2) * 2))
