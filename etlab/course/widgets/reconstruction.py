"""Showpieces of chapters 3, 5 and 6: the wedge, the filter and the iteration, computed in the browser."""

from __future__ import annotations

import numpy as np
import traitlets

from etlab.course.widgets.slices import checked_disc, checked_series, packed
from etlab.course.widgets.static import StaticWidget


class WedgeExplorer(StaticWidget):
    """Drag the outermost tilt: the wedge that it leaves unmeasured, and what back-projection makes of the rest.

    Parameters
    ----------
    slice_
        ``volume[:, :, i]``, shape (n, n) with n ≤ 128, densities ≥ 0 inside the disc of diameter n.
    alt
        What is seen.
    caption
        Text under the figure.
    max_tilt_deg, step_deg
        Outermost tilt and step at the start, in degrees.

    Raises
    ------
    ValueError
        For a slice of another shape, or with densities outside the disc.

    Examples
    --------
    >>> slice_ = np.zeros((16, 16))
    >>> slice_[6:10, 5:9] = 1
    >>> WedgeExplorer(slice_, alt="a square", max_tilt_deg=50).max_tilt_deg
    50.0
    """

    module = "wedge.js"
    slice = traitlets.Bytes().tag(sync=True)
    n = traitlets.Int().tag(sync=True)
    max_tilt_deg = traitlets.Float().tag(sync=True)
    step_deg = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        slice_: np.ndarray,
        *,
        alt: str,
        caption: str = "",
        max_tilt_deg: float = 60.0,
        step_deg: float = 2.0,
    ) -> None:
        """Check and pack the slice; see the class for the arguments."""
        slice_ = checked_disc(slice_)
        super().__init__(
            slice=packed(slice_),
            n=len(slice_),
            max_tilt_deg=float(max_tilt_deg),
            step_deg=float(step_deg),
            alt=alt,
            caption=caption,
        )


class _SeriesExplorer(StaticWidget):
    """A slice and its noisy images, which the browser reconstructs."""

    truth = traitlets.Bytes().tag(sync=True)
    images = traitlets.Bytes().tag(sync=True)
    shape: traitlets.List[int] = traitlets.List().tag(sync=True)
    tilts_deg: traitlets.List[float] = traitlets.List().tag(sync=True)

    def __init__(
        self, truth: np.ndarray, images: np.ndarray, tilts_deg: np.ndarray, **traits: object
    ) -> None:
        """Check and pack the arrays."""
        truth, images, tilts = checked_series(truth, images, tilts_deg)
        super().__init__(
            truth=packed(truth),
            images=packed(images),
            shape=list(truth.shape),
            tilts_deg=tilts.tolist(),
            **traits,
        )


class FilterExplorer(_SeriesExplorer):
    """Weighted back-projection with another window and cut-off, of images that the browser was given.

    Parameters
    ----------
    truth
        The slice (nz, ny), sizes up to 128, for the error.
    images
        Its noisy images (n_tilts, n_rows).
    tilts_deg
        Tilts in even steps.
    alt
        What is seen.
    caption
        Text under the figure.
    window, cutoff
        At the start; see `etlab.solvers.wbp`.

    Raises
    ------
    ValueError
        For arrays that do not fit, or tilts in uneven steps.

    Examples
    --------
    >>> truth = np.zeros((16, 16))
    >>> truth[6:10, 5:9] = 1
    >>> explorer = FilterExplorer(truth, np.ones((7, 24)), np.linspace(-60, 60, 7), alt="a square")
    >>> explorer.step_deg
    20.0
    """

    module = "filter.js"
    step_deg = traitlets.Float().tag(sync=True)
    window = traitlets.Unicode().tag(sync=True)
    cutoff = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        truth: np.ndarray,
        images: np.ndarray,
        tilts_deg: np.ndarray,
        *,
        alt: str,
        caption: str = "",
        window: str = "ramp",
        cutoff: float = 1.0,
    ) -> None:
        """Check and pack the arrays; see the class for the arguments."""
        steps = np.diff(np.asarray(tilts_deg, np.float64))
        if steps.size == 0 or not np.allclose(steps, steps[0]) or steps[0] <= 0:
            raise ValueError("tilts_deg: got uneven steps, expected even ones, rising")
        super().__init__(
            truth,
            images,
            tilts_deg,
            step_deg=float(steps[0]),
            window=window,
            cutoff=float(cutoff),
            alt=alt,
            caption=caption,
        )


class SirtExplorer(_SeriesExplorer):
    """SIRT iterated in the browser: the slice at every iteration, its error and its residual.

    Parameters
    ----------
    truth
        The slice (nz, ny), sizes up to 128, for the error.
    images
        Its noisy images (n_tilts, n_rows).
    tilts_deg
        Tilts in any steps.
    alt
        What is seen.
    caption
        Text under the figure.
    n_iter, start
        The last iteration, and the one shown first.

    Raises
    ------
    ValueError
        For arrays that do not fit, or a start that is not on the slider.

    Examples
    --------
    >>> truth = np.zeros((16, 16))
    >>> truth[6:10, 5:9] = 1
    >>> SirtExplorer(truth, np.ones((7, 24)), np.linspace(-60, 60, 7), alt="a square", n_iter=20).n_iter
    20
    """

    module = "sirt.js"
    n_iter = traitlets.Int().tag(sync=True)
    start = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        truth: np.ndarray,
        images: np.ndarray,
        tilts_deg: np.ndarray,
        *,
        alt: str,
        caption: str = "",
        n_iter: int = 100,
        start: int = 5,
    ) -> None:
        """Check and pack the arrays; see the class for the arguments."""
        if not 1 <= start <= n_iter <= 500:
            raise ValueError(f"start, n_iter: got {start} and {n_iter}, expected 1 ≤ start ≤ n_iter ≤ 500")
        super().__init__(truth, images, tilts_deg, n_iter=n_iter, start=start, alt=alt, caption=caption)
