"""Chapter 2's showpiece: the central slice theorem under the reader's hand."""

from __future__ import annotations

import numpy as np
import traitlets

from etlab.course.widgets.slices import checked_disc, packed
from etlab.course.widgets.static import StaticWidget


class RadonExplorer(StaticWidget):
    """Turn the beam: projection, sinogram line and line of the 2-D Fourier transform move together.

    The browser computes all of it, with the weights of `etlab.reference`.

    Parameters
    ----------
    slice_
        ``volume[:, :, i]``, shape (n, n) with n ≤ 128, not negative. What it holds must lie inside the disc
        of diameter n, so that every ray of every tilt meets the detector's n rows.
    alt
        What is seen.
    caption
        Text under the figure; a standing explanation if not given.
    tilt_deg
        Tilt at the start.

    Raises
    ------
    ValueError
        The slice is not square, too large, not finite, negative, empty or reaches out of the disc.

    Notes
    -----
    The 1-D transform of the projection at tilt θ is the line (f_z, f_y) = f·(sin θ, cos θ) of the slice's 2-D
    transform.

    Examples
    --------
    >>> slice_ = np.zeros((16, 16))
    >>> slice_[6:10, 5:9] = 1
    >>> RadonExplorer(slice_, alt="a square").n
    16
    """

    module = "radon.js"
    slice = traitlets.Bytes().tag(sync=True)
    n = traitlets.Int().tag(sync=True)
    tilt_deg = traitlets.Float().tag(sync=True)

    CAPTION = (
        "Turn the beam, on the slice or with the slider. The orange curve is the projection; it is one line "
        "of the sinogram. Its 1-D Fourier transform (orange, lowest panel) is the slice's 2-D transform "
        "along the orange line (dots): each tilt measures one line, and of the others nothing is known. "
        "(Shown to k = 0.25; finer detail is damped by the interpolation between rows.)"
    )

    def __init__(
        self, slice_: np.ndarray, *, alt: str, caption: str = CAPTION, tilt_deg: float = 25.0
    ) -> None:
        """Check and pack the slice; see the class for the arguments."""
        slice_ = checked_disc(slice_)
        super().__init__(
            slice=packed(slice_),
            n=len(slice_),
            tilt_deg=float(tilt_deg),
            alt=alt,
            caption=caption,
        )
