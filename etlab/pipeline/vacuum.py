"""The intensity of vacuum in images, estimated from their values."""

from __future__ import annotations

import numpy as np
from skimage.measure import block_reduce

COUNTED = 0.05  # of the values are equal to the most frequent one: they are counts of a few electrons
EDGE = 8  # pixels along each side of the blocks over which counts are averaged


def most_frequent(values: np.ndarray) -> float:
    """Return the most frequent intensity, that of vacuum if the specimen leaves much of the field empty.

    The densest half of the values, the densest half of those, and so on down to a hundredth; of these the median.
    Source: Robertson & Cryer, J. Am. Stat. Assoc. 69 (1974) 1012.
    """
    values = np.sort(values, axis=None)
    few = max(3, len(values) // 100)
    while len(values) > few:
        half = len(values) // 2
        start = int(np.argmin(values[half:] - values[:-half]))
        values = values[start : start + half]
    return float(np.median(values))


def vacuum_of(values: np.ndarray) -> float:
    """Estimate the intensity of vacuum: the most frequent value or, of single counts, a mean.

    Parameters
    ----------
    values
        Images, (n, n_rows, columns).

    Returns
    -------
    float
        In the images' own units.

    Notes
    -----
    In images of single counts the most frequent value is a whole number, 0 for a mean of 0.99. There, blocks of
    8 × 8 pixels are averaged first, and then all blocks that are about as bright as most.

    Examples
    --------
    >>> images = np.random.default_rng(0).normal(100, 1, (2, 32, 32))
    >>> images[:, 12:20] += 500
    >>> abs(vacuum_of(images) - 100) < 0.5
    True
    """
    usual = most_frequent(values)
    if np.mean(values == usual) < COUNTED or min(values.shape[1:]) < EDGE:
        return usual
    return mean_of_empty(block_means(values))


def block_means(values: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 8 × 8 pixels of images (n, n_rows, columns), whole blocks only."""
    _, rows, columns = values.shape
    whole = values[:, : rows // EDGE * EDGE, : columns // EDGE * EDGE]
    return block_reduce(whole, (1, EDGE, EDGE), np.mean)


def mean_of_empty(blocks: np.ndarray) -> float:
    """Return the mean of the blocks that are about as bright as most."""
    usual = most_frequent(blocks)
    darker = blocks[blocks <= usual]
    width = 2 * float(np.sqrt(np.mean((darker - usual) ** 2)))
    return float(blocks[np.abs(blocks - usual) <= width].mean(dtype=float))
