"""cryo-CARE: a denoiser trained without any clean target, on two halves of the same tilt series.

    x̂ = max(0, ½·(f(WBP(y_even)) + f(WBP(y_odd)))).

f was trained to turn the reconstruction from every other tilt into that from the tilts between. Their noise is
independent, so the best it can do is the mean over all noise: the noise goes, the missing wedge stays, and so does any
artefact that both halves share.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etlab.geometry import TiltGeometry
from etlab.operator import BackProjector
from etlab.solvers.common import checked_images
from etlab.solvers.learned.network import load
from etlab.solvers.learned.onepass import scaled_wbp
from etlab.solvers.learned.slices import by_slices


def cryocare(
    operator: BackProjector,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with cryo-CARE: the mean of two denoised halves of the tilt series.

    The network was trained without any clean target, to turn the reconstruction from every other tilt into that from
    the tilts between: the noise goes, the missing wedge stays.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1.
    weights
        ONNX file of your own training. Default: the weights that come with `etlab`.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32, not negative.

    Raises
    ------
    WeightsError
        If onnxruntime or the weights are missing; the message says what to do.
    ValueError
        For fewer than two tilts, a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    ::

        x̂ = max(0, ½·(f(WBP(y_even)) + f(WBP(y_odd)))).

    References
    ----------
    Lehtinen et al., Noise2Noise, ICML 2018; Buchholz et al., cryo-CARE, Methods Cell Biol. 152 (2019) 277.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = cryocare(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    network = load("cryocare", weights)
    halves = half_reconstructions(operator, images, scale=scale)
    mean: Any = sum(by_slices(network, [half], progress=progress) for half in halves) / 2
    return np.maximum(mean, 0, out=mean) * np.float32(scale)


def half_reconstructions(
    operator: BackProjector, images: np.ndarray, *, scale: float = 1.0
) -> list[np.ndarray]:
    """Return WBP of the tilts 0, 2, 4 … and of the tilts 1, 3, 5 …, each (nz, ny, nx), in units of ``scale``.

    Raises ValueError for fewer than two tilts.
    """
    images = checked_images(operator, images)
    if len(images) < 2:
        raise ValueError(f"images: got {len(images)} tilt, expected at least two to make halves of")
    return [
        scaled_wbp(SomeTilts(operator, slice(first, None, 2)), np.ascontiguousarray(images[first::2]), scale)
        for first in (0, 1)
    ]


@dataclass(frozen=True)
class SomeTilts:
    """Aᵀ of some of the tilts only, from any operator: the images of the others are zero."""

    operator: BackProjector
    tilts: slice

    @property
    def geometry(self) -> TiltGeometry:
        """The operator's geometry with these tilts only."""
        full = self.operator.geometry
        return replace(full, tilts_deg=full.tilts_deg[self.tilts])

    def T(self, images: np.ndarray) -> np.ndarray:
        """Back-project images of these tilts."""
        padded = np.zeros(self.operator.geometry.images_shape, np.float32)
        padded[self.tilts] = images
        return self.operator.T(padded)
