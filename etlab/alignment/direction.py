"""The direction of the tilt axis, from what all images share, before anything is aligned.

Summed across the tilt axis, every image gives the same: the mass of each slice. In Fourier space that is a line along
the axis that all images have in common. Shifts change its phase and not its amplitude, and neither the tilt angles nor
the order of the images matter. So ``line_changes`` measures, along each direction, how much of the amplitude changes
from image to image; the tilt axis lies where that is least. Of a film the sums change even there, because material
enters the field; a Hann window, and the lower half of the tilts alone, keep that small.
Source of common lines: Crowther, Phil. Trans. R. Soc. Lond. B 261 (1971) 221.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce

SIZE = 96  # pixels along the longer side of the images that are compared
STEP = 3.0  # degrees
PADDED = 3  # fields: the spacing of the transform in which lines are interpolated
LOWEST, HIGHEST = 2.0, 1 / 4  # frequencies that are compared: periods in the field, and a pixel
NEAR = 6.0  # degrees: to that a film shows its direction
FEWEST = 6  # images
BETTER = 0.7  # of the change along the expected direction
NOISE = 4.0  # standard deviations: the least of the changes that noise alone has


class Direction(NamedTuple):
    """Direction of the least change in degrees from +x towards +row, that change, and how far noise makes it fall.

    The change is relative to the least near the expected direction, taken with and without regard to how much is seen
    there, whichever says less; and to the median of all directions.
    """

    degrees: float
    to_expected: float
    to_median: float
    to_median_in_noise: float

    @property
    def plain(self) -> bool:
        """Whether the images show a direction at all."""
        return self.to_median < self.to_median_in_noise

    @property
    def differs(self) -> bool:
        """Whether the images say plainly that the axis does not lie where it was expected."""
        return self.to_expected < BETTER and self.plain


def direction_seen(
    images: np.ndarray, tilts_deg: np.ndarray, expected: float = 0.0, *, within: float = NEAR
) -> Direction:
    """Compare all directions with those ``within`` 6° of the ``expected`` one, in images (n_tilts, n_rows, nx)."""
    from_middle = np.abs(tilts_deg - np.median(tilts_deg))
    lower = np.sort(np.argsort(from_middle, kind="stable")[: max(FEWEST, len(images) // 2)])
    angles = np.arange(-90.0, 90.0, STEP)
    small = reduced(images[lower])
    changes, variances = line_changes(small, angles)
    best = int(np.argmin(changes))
    near = np.abs(folded(angles - expected)) <= within
    to_median = changes[best] / max(float(np.median(changes)), 1e-30)
    # where hardly anything is seen along an axis, as in a rod along it, changes are large relative to that only
    to_expected = max(one[best] / max(float(one[near].min()), 1e-30) for one in (changes, variances))
    n_values = len(small) * max(HIGHEST * max(small.shape[1:]) - LOWEST, 1)
    return Direction(
        float(folded(angles[best] + STEP * vertex(changes, best))),
        to_expected,
        to_median,
        1 - NOISE / n_values**0.5,
    )


def start_of_search(images: np.ndarray, tilts_deg: np.ndarray, given: float | None) -> float:
    """Return the direction at which a search for the tilt axis begins: the given one, the one that is seen, or 0."""
    if given is not None:
        return given
    seen = direction_seen(images, tilts_deg)
    return seen.degrees if seen.differs else 0.0


def vertex(values: np.ndarray, best: int) -> float:
    """Return where a parabola through the least value and those beside it has its minimum, in steps from it."""
    before, after = values[best - 1], values[(best + 1) % len(values)]
    curvature = before - 2 * values[best] + after
    return float((before - after) / (2 * curvature)) if curvature > 0 else 0.0


def reduced(images: np.ndarray) -> np.ndarray:
    """Return images averaged over blocks, to at most 96 pixels a side."""
    factor = math.ceil(max(images.shape[1:]) / SIZE)
    return block_reduce(images, (1, factor, factor), np.mean) if factor > 1 else images


def line_changes(images: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each direction, the variance over the tilts of the amplitudes, relative to their mean square and not.

    The mean over the frequencies from two periods in the field to half of the Nyquist frequency, each counting alike.
    """
    n_rows, nx = images.shape[1:]
    n = PADDED * max(n_rows, nx)
    window = np.outer(np.hanning(n_rows + 2)[1:-1], np.hanning(nx + 2)[1:-1])
    k = np.arange(PADDED * LOWEST, max(HIGHEST * n, PADDED * LOWEST + 1), PADDED / 2)
    phi = np.deg2rad(angles)[:, None]
    line = n // 2 + np.stack([k * np.sin(phi), k * np.cos(phi)])
    seen = np.empty((len(images), *line.shape[1:]))
    for image, out in zip(images, seen, strict=True):
        amplitudes = np.abs(np.fft.fftshift(np.fft.fft2((image - image.mean()) * window, (n, n))))
        ndimage.map_coordinates(amplitudes, line, output=out, order=1)
    squares, variances = np.maximum((seen**2).mean(axis=0), 1e-30), seen.var(axis=0)
    return (variances / squares).mean(axis=1), (variances / squares.mean(axis=0)).mean(axis=1)


def folded(degrees):
    """Return directions of an axis in (-90, 90]: it has no arrow."""
    return 90 - (90 - degrees) % 180


def warn_if_vertical(degrees: float) -> None:
    """Warn of a tilt axis that is nearer to the vertical than to the horizontal."""
    if abs(degrees) > 45:
        warnings.warn(
            f"the tilt axis was found {degrees:.1f}° from the horizontal, nearer to the vertical: the images may have "
            "to be transposed (--axis)",
            stacklevel=3,
        )
