"""Networks that improve a weighted back-projection in one pass over its slices.

    x̂ = max(0, WBP(y) + f(WBP(y))),

f a convolutional or an attention network that has seen a few dozen simulated specimens. What the missing wedge took
away is not in the data: f answers with what was usual in its training. It knows densities between 0 and 1 and the
angles and noise it was trained with; the model card beside each weight file says which.
"""

from __future__ import annotations

import os

import numpy as np

from etlab.operator import BackProjector, Operator
from etlab.solvers._wbp import wbp
from etlab.solvers.learned.network import load
from etlab.solvers.learned.slices import by_slices


def dncnn(
    operator: Operator,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """DnCNN, dilated: images (n_tilts, n_rows, nx) -> volume (nz, ny, nx), float32.

    A stack of convolutions predicts the error of each slice of the back-projection. Dilated convolutions at half the
    resolution let every voxel see the whole slice, as far as the streaks reach. Trained on pairs of back-projection and
    truth. Sources: Zhang et al., IEEE Trans. Image Process. 26 (2017) 3142; dilated: Zhang et al., CVPR 2017, 2808.

    ``scale`` is the density that the network is to take for 1, the densest of its training. ``weights`` is an ONNX
    file of one's own training. Raises WeightsError, saying what to do, if onnxruntime or the weights are missing.
    """
    return _improved(operator, images, "dncnn", scale, weights, progress)


def transformer(
    operator: Operator,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Vision transformer on patches of 4 × 4 voxels; every patch attends to all others of its slice. See `dncnn`.

    Source of the idea: Dosovitskiy et al., ICLR 2021; rotary positions: Su et al., Neurocomputing 568 (2024) 127063.
    """
    return _improved(operator, images, "transformer", scale, weights, progress)


def swin(
    operator: Operator,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Attention within windows of 8 × 8, shifted by half a window from layer to layer. See `dncnn`.

    Source of the idea: Liu et al., ICCV 2021; for image restoration Liang et al., SwinIR, ICCVW 2021.
    """
    return _improved(operator, images, "swin", scale, weights, progress)


def tomogan(
    operator: Operator,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """U-Net trained against a second network that tells its slices from true ones. See `dncnn`.

    The adversary rewards what looks true, whether or not it is. Source: Liu et al., TomoGAN, J. Opt. Soc. Am. A 37
    (2020) 422.
    """
    return _improved(operator, images, "tomogan", scale, weights, progress)


def _improved(operator: BackProjector, images, name, scale, weights, progress):
    volume = by_slices(load(name, weights), [scaled_wbp(operator, images, scale)], progress=progress)
    return np.maximum(volume, 0, out=volume) * np.float32(scale)


def scaled_wbp(operator: BackProjector, images: np.ndarray, scale: float) -> np.ndarray:
    """Weighted back-projection in units of ``scale``. Raises ValueError unless that is positive."""
    check_scale(scale)
    return wbp(operator, images) / np.float32(scale)


def check_scale(scale: float) -> None:
    """Raises ValueError unless ``scale`` is a positive density."""
    if not 0 < scale < np.inf:
        raise ValueError(f"scale: got {scale}, expected the positive density that counts as 1")
