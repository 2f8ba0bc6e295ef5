"""What every calibration asks of its input: enough images, of the geometry's shape, and bounds that hold something."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etlab.arrays import checked
from etlab.calibration.estimate import PARAMETERS
from etlab.geometry import TiltGeometry

MIN_TILTS = 10  # for two halves, of which one predicts the other


def checked_series(y: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    """Return images y (n_tilts, n_rows, nx) as contiguous float32.

    Raises ValueError for fewer than ``MIN_TILTS`` tilts, a wrong shape or NaN, TypeError for a wrong dtype.
    """
    if geometry.n_tilts < MIN_TILTS:
        raise ValueError(f"y: got {geometry.n_tilts} tilts, expected at least {MIN_TILTS} for two halves")
    return checked("y", y, geometry.images_shape)


def checked_bounds(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return ``bounds`` as floats. Raises ValueError if they are empty or not finite."""
    low, high = (float(bound) for bound in bounds)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"{name}: got ({low:g}, {high:g}), expected finite (min, max) with min < max")
    return low, high


def checked_ranges(spec_ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return the three ranges as floats, in the order of `Mismatch`. Raises ValueError naming what is wrong."""
    if set(spec_ranges) != set(PARAMETERS):
        raise ValueError(f"spec_ranges: got {sorted(spec_ranges)}, expected {', '.join(PARAMETERS)}")
    return {name: checked_bounds(f"spec_ranges[{name!r}]", spec_ranges[name]) for name in PARAMETERS}
