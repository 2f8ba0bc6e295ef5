"""cryo-CARE: a denoiser trained without any clean target, on two halves of the same tilt series.

    x̂ = max(0, ½·(f(WBP(y_even)) + f(WBP(y_odd)))).

f was trained to turn the reconstruction from every other tilt into that from the tilts between. Their noise is
independent, so the best it can do is the mean over all noise: the noise goes, the missing wedge stays, and so does any
artefact that both halves share. Sources: Lehtinen et al., Noise2Noise, ICML 2018; Buchholz et al., cryo-CARE, Methods
Cell Biol. 152 (2019) 277.
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
    """Reconstruct images (n_tilts, n_rows, nx) -> volume (nz, ny, nx), float32: the mean of both denoised halves.

    ``scale`` is the density that the network is to take for 1. ``weights`` is an ONNX file of one's own training.
    Raises WeightsError, saying what to do, if onnxruntime or the weights are missing.
    """
    network = load("cryocare", weights)
    halves = half_reconstructions(operator, images, scale=scale)
    mean: Any = sum(by_slices(network, [half], progress=progress) for half in halves) / 2
    return np.maximum(mean, 0, out=mean) * np.float32(scale)


def half_reconstructions(
    operator: BackProjector, images: np.ndarray, *, scale: float = 1.0
) -> list[np.ndarray]:
    """WBP from the tilts 0, 2, 4 … and from the tilts 1, 3, 5 …, each (nz, ny, nx), in units of ``scale``.

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
        """Images of these tilts -> volume."""
        padded = np.zeros(self.operator.geometry.images_shape, np.float32)
        padded[self.tilts] = images
        return self.operator.T(padded)
