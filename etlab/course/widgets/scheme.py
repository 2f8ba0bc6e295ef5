"""Showpiece of chapter 4: the order of the tilts and the dose, and what both leave of a specimen."""

from __future__ import annotations

import numpy as np
import traitlets

from etlab.course.widgets.slices import MAX_TILTS, checked_disc, packed
from etlab.course.widgets.static import StaticWidget
from etlab.geometry import bidirectional_order, dose_symmetric_order

ORDERS = {
    "one sweep": lambda tilts: np.arange(len(tilts)),
    "bidirectional": bidirectional_order,
    "dose-symmetric": dose_symmetric_order,
}


class SchemeExplorer(StaticWidget):
    """Drag over the fan of tilts, in their order: what the beam has left, and the slice from the images so far.

    The browser simulates the series: images of the slice after the damage of `etlab.acquisition.damaged`, with one
    uniform random number a pixel for the counting noise, as in `etlab.forward.Detector`.

    Parameters
    ----------
    slice_
        ``volume[:, :, i]``, shape (n, n) with n ≤ 128, densities ≥ 0 inside the disc of diameter n.
    tilts_deg
        Tilts in even steps, rising.
    doses
        Total doses to choose from: counts per unit line integral, all images together.
    alt
        What is seen.
    caption
        Text under the figure.
    order, dose, taken
        At the start: a name of `ORDERS`, one of ``doses``, the number of images (default: all).
    mass_dose, blur_dose
        Dose after which 1/e of the mass is left; after which features have spread by σ = 1 pixel.
    seed
        Of the noise.

    Raises
    ------
    ValueError
        For a slice or tilts of another shape, or a start that is not on the sliders.

    Examples
    --------
    >>> slice_ = np.zeros((16, 16))
    >>> slice_[6:10, 5:9] = 1
    >>> SchemeExplorer(slice_, np.linspace(-60, 60, 7), doses=(100, 400), alt="a square").dose
    400.0
    """

    module = "scheme.js"
    slice = traitlets.Bytes().tag(sync=True)
    uniform = traitlets.Bytes().tag(sync=True)
    n = traitlets.Int().tag(sync=True)
    tilts_deg: traitlets.List[float] = traitlets.List().tag(sync=True)
    doses: traitlets.List[float] = traitlets.List().tag(sync=True)
    orders = traitlets.Dict().tag(sync=True)
    order = traitlets.Unicode().tag(sync=True)
    dose = traitlets.Float().tag(sync=True)
    taken = traitlets.Int().tag(sync=True)
    mass_dose = traitlets.Float().tag(sync=True)
    blur_dose = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        slice_: np.ndarray,
        tilts_deg: np.ndarray,
        *,
        doses: tuple[float, ...],
        alt: str,
        caption: str = "",
        order: str = "one sweep",
        dose: float | None = None,
        taken: int | None = None,
        mass_dose: float = 2000.0,
        blur_dose: float = 400.0,
        seed: int = 0,
    ) -> None:
        """Check and pack the slice; see the class for the arguments."""
        slice_ = checked_disc(slice_)
        tilts, rising = _even_tilts(tilts_deg), [float(one) for one in doses]
        dose = rising[-1] if dose is None else float(dose)
        if not rising or not min(rising) > 0 or sorted(rising) != rising or dose not in rising:
            raise ValueError(
                f"doses, dose: got {rising} and {dose}, expected positive ones, rising, and one of them"
            )
        taken = tilts.size if taken is None else taken
        if order not in ORDERS or not 1 <= taken <= tilts.size:
            raise ValueError(
                f"order, taken: got {order!r} and {taken}, expected one of {', '.join(ORDERS)} and 1 … {tilts.size}"
            )
        for name, value in (("mass_dose", mass_dose), ("blur_dose", blur_dose)):
            if not value > 0:
                raise ValueError(f"{name}: got {value}, expected a positive dose")
        super().__init__(
            slice=packed(slice_),
            uniform=packed(np.random.default_rng(seed).random((tilts.size, len(slice_)))),
            n=len(slice_),
            tilts_deg=tilts.tolist(),
            doses=rising,
            orders={name: [int(i) for i in made(tilts)] for name, made in ORDERS.items()},
            order=order,
            dose=dose,
            taken=taken,
            mass_dose=float(mass_dose),
            blur_dose=float(blur_dose),
            alt=alt,
            caption=caption,
        )


def _even_tilts(tilts_deg: np.ndarray) -> np.ndarray:
    """Return tilts in even steps, rising. Raises ValueError for others."""
    tilts = np.asarray(tilts_deg, np.float64)
    steps = np.diff(tilts) if tilts.ndim == 1 else np.zeros(0)
    if not 1 <= steps.size < MAX_TILTS or not steps[0] > 0 or not np.allclose(steps, steps[0]):
        raise ValueError(
            f"tilts_deg: got shape {tilts.shape}, expected 2 to {MAX_TILTS} in even steps, rising"
        )
    return tilts
