"""Showpiece of chapter 8: the Fourier grid that the images fill, and the iteration that fills the rest."""

from __future__ import annotations

import numpy as np
import traitlets

from etlab.course.widgets.slices import checked_series, packed
from etlab.course.widgets.static import StaticWidget

SIZES = (16, 32, 64)  # the browser transforms powers of two, and 128² twice an iteration is quick enough


class GriddingExplorer(StaticWidget):
    """Fourier iteration in the browser: choose tilts and radius, drag the support, step through the iterations.

    Parameters
    ----------
    truth
        The slice (n, n), n one of 16, 32 and 64, for the error and the correlation in the wedge.
    images
        Its images (n_tilts, n_rows).
    tilts_deg
        Tilts in even steps, −α to α.
    alt
        What is seen.
    caption
        Text under the figure.
    radius
        Of interpolation, at the start, in steps of the grid, which has twice n points along each axis.
    support
        Radius in voxels of the circle outside of which the slice must be empty, at the start.
    start, n_iter
        Iteration shown first, and the last one.

    Raises
    ------
    ValueError
        For arrays that do not fit, or a start that is not on the sliders.

    Examples
    --------
    >>> truth = np.zeros((16, 16))
    >>> truth[6:10, 5:9] = 1
    >>> images = np.ones((7, 24))
    >>> GriddingExplorer(truth, images, np.linspace(-60, 60, 7), alt="a square", support=6).n_iter
    50
    """

    module = "gridding.js"
    truth = traitlets.Bytes().tag(sync=True)
    images = traitlets.Bytes().tag(sync=True)
    tilts_deg: traitlets.List[float] = traitlets.List().tag(sync=True)
    radius = traitlets.Float().tag(sync=True)
    support = traitlets.Float().tag(sync=True)
    start = traitlets.Int().tag(sync=True)
    n_iter = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        truth: np.ndarray,
        images: np.ndarray,
        tilts_deg: np.ndarray,
        *,
        alt: str,
        caption: str = "",
        radius: float = 0.5,
        support: float = 46,
        start: int = 20,
        n_iter: int = 50,
    ) -> None:
        """Check and pack the arrays; see the class for the arguments."""
        truth, images, tilts = checked_series(truth, images, tilts_deg)
        if truth.shape not in {(n, n) for n in SIZES}:
            raise ValueError(f"truth: got shape {truth.shape}, expected (n, n) with n one of {SIZES}")
        steps = np.diff(tilts)
        if not np.allclose(steps, steps[0]) or steps[0] <= 0 or not np.isclose(tilts[0], -tilts[-1]):
            raise ValueError(
                f"tilts_deg: got {tilts[0]} … {tilts[-1]}, expected −α … α in even, rising steps"
            )
        limits = {"radius": (radius, 0.1, 1.5), "support": (support, 4, 46), "start": (start, 1, n_iter)}
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ValueError(f"{name}: got {value}, expected from {low} to {high}")
        super().__init__(
            truth=packed(truth),
            images=packed(images),
            tilts_deg=tilts.tolist(),
            radius=float(radius),
            support=float(support),
            start=int(start),
            n_iter=int(n_iter),
            alt=alt,
            caption=caption,
        )
