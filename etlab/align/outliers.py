"""Single pixels that cannot belong to the specimen: X-ray hits, and pixels of the camera that are stuck or dead.

An outlier lies far outside the range of the values of the whole series, and stands alone: its eight neighbours do not
follow it. Detail in an image is never that sharp, because a bead, an edge or a column of atoms covers several pixels.
Source of the second criterion: van Dokkum, Publ. Astron. Soc. Pac. 113 (2001) 1420, in a simpler form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

INNER = (1, 99)  # per cent: what lies between counts as the range of the values
BEYOND = 5.0  # ranges on either side that values may lie outside: noise of a few counts reaches two or three
FOLLOWS = 0.4  # share of the excess: neighbours that have more of it are part of the same detail
RADIUS = 2  # pixels on either side from whose median an outlier is told
SAMPLE = 10**6  # values from which the range is estimated
NAMED = 3  # outliers that are named one by one


def limits_of(values: np.ndarray) -> tuple[float, float]:
    """Return the (lowest, highest) value that is no outlier, from the range of ``values`` of any shape."""
    values = np.ravel(values)[:: max(1, values.size // SAMPLE)]
    low, middle, high = np.percentile(values, (INNER[0], 50, INNER[1]))
    if low == high:  # hardly anything but vacuum, or single counts
        others = values[values != middle]
        low, high = np.percentile(np.append(others, middle), INNER)
    reach = BEYOND * max(high - low, 1e-6 * max(abs(low), abs(high)))
    return float(low - reach), float(high + reach)


def find_outliers(images: np.ndarray, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (image, row, column) of outliers in images (n, n_rows, nx), (n_found, 3), and their medians.

    The median is that of the surrounding 5 × 5 pixels, which replaces the value.
    """
    far = np.argwhere((images < limits[0]) | (images > limits[1]))
    if len(far) > len(images) * max(1, images[0].size // 100):  # more than 1 %: that is the specimen
        return np.empty((0, 3), int), np.empty(0, images.dtype)
    lone, medians = [], []
    for place in far:
        t, row, column = place
        around = images[
            t, max(row - RADIUS, 0) : row + RADIUS + 1, max(column - RADIUS, 0) : column + RADIUS + 1
        ]
        beside = images[t, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        value, median = images[t, row, column], np.median(around)
        followers = (beside.sum(dtype=float) - value) / max(beside.size - 1, 1) - median
        if np.abs(followers) < FOLLOWS * np.abs(value - median):
            lone.append(place)
            medians.append(median)
    return np.array(lone, int).reshape(-1, 3), np.array(medians, images.dtype)


def despiked(images: np.ndarray, limits: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, n_rows, nx) with their outliers replaced by the local median, and the outliers' places.

    ``limits`` is the range of sound values (default: from the images themselves). The images are copied if they change.
    """
    places, medians = find_outliers(images, limits or limits_of(images))
    if len(places):
        images = images.copy()
        images[tuple(places.T)] = medians
    return images, places


def outliers_in_words(places: Sequence, values: Sequence) -> str:
    """Name how many pixels stand out, and the first of them by image, row and column."""
    named = ", ".join(
        f"image {t}, row {row}, column {column} ({value:.6g})"
        for (t, row, column), value in zip(places[:NAMED], values[:NAMED], strict=True)
    )
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    many = "a single pixel is" if len(places) == 1 else f"{len(places)} single pixels are"
    return f"{many} far brighter or darker than the rest: {named}{more}"
