"""Showpiece of chapter 7: what total variation makes of a line of densities, solved exactly in the browser."""

from __future__ import annotations

import numpy as np
import traitlets

from etlab.course.widgets.slices import packed
from etlab.course.widgets.static import StaticWidget

N = 200  # voxels along the line


class VariationExplorer(StaticWidget):
    """Drag a small bump beside a plateau and a ramp: what ½‖x − y‖² + λ Σ|x[i+1] − x[i]| leaves of each.

    Parameters
    ----------
    alt
        What is seen.
    caption
        Text under the figure.
    lam, sigma
        λ and the standard deviation of the noise at the start, from 0 to 2 and from 0 to 0.12.
    width, height
        Of the bump at the start, in voxels and as a density.
    seed
        Of the noise.

    Raises
    ------
    ValueError
        For a start that is not on the sliders.

    Examples
    --------
    >>> VariationExplorer(alt="a line of densities", lam=0.5).lam
    0.5
    """

    module = "variation.js"
    noise = traitlets.Bytes().tag(sync=True)
    lam = traitlets.Float().tag(sync=True)
    sigma = traitlets.Float().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        *,
        alt: str,
        caption: str = "",
        lam: float = 0.3,
        sigma: float = 0.04,
        width: int = 10,
        height: float = 0.2,
        seed: int = 0,
    ) -> None:
        """Check the start and draw the noise; see the class for the arguments."""
        limits = {
            "lam": (lam, 0, 2),
            "sigma": (sigma, 0, 0.12),
            "width": (width, 1, 30),
            "height": (height, 0.02, 0.8),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ValueError(f"{name}: got {value}, expected from {low} to {high}")
        super().__init__(
            noise=packed(np.random.default_rng(seed).standard_normal(N)),
            lam=float(lam),
            sigma=float(sigma),
            width=int(width),
            height=float(height),
            alt=alt,
            caption=caption,
        )
