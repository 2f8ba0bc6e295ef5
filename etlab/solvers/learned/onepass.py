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
    """Reconstruct with DnCNN, dilated: convolutions that predict the error of a weighted back-projection.

    Dilated convolutions at half the resolution let every voxel see the whole slice, as far as the streaks reach.
    Trained on pairs of back-projection and truth.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1, the densest of its training.
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
        For a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    ::

        x̂ = max(0, WBP(y) + f(WBP(y))).

    References
    ----------
    Zhang et al., IEEE Trans. Image Process. 26 (2017) 3142; dilated: Zhang et al., CVPR 2017, 2808.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = dncnn(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
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
    """Reconstruct with a vision transformer on patches of 4 × 4 voxels of a weighted back-projection.

    Every patch attends to all others of its slice.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1, the densest of its training.
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
        For a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    ::

        x̂ = max(0, WBP(y) + f(WBP(y))).

    References
    ----------
    Dosovitskiy et al., ICLR 2021 (the idea); rotary positions: Su et al., Neurocomputing 568 (2024) 127063.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = transformer(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
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
    """Reconstruct with attention within windows of a weighted back-projection.

    The windows of 8 × 8 are shifted by half a window from layer to layer.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1, the densest of its training.
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
        For a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    ::

        x̂ = max(0, WBP(y) + f(WBP(y))).

    References
    ----------
    Liu et al., ICCV 2021 (the idea); for image restoration Liang et al., SwinIR, ICCVW 2021.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = swin(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
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
    """Reconstruct with TomoGAN, a U-Net trained against a second network that tells its slices from true ones.

    The adversary rewards what looks true, whether or not it is.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1, the densest of its training.
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
        For a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    ::

        x̂ = max(0, WBP(y) + f(WBP(y))).

    References
    ----------
    Liu et al., TomoGAN, J. Opt. Soc. Am. A 37 (2020) 422.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = tomogan(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    return _improved(operator, images, "tomogan", scale, weights, progress)


def _improved(operator: BackProjector, images, name, scale, weights, progress):
    volume = by_slices(load(name, weights), [scaled_wbp(operator, images, scale)], progress=progress)
    return np.maximum(volume, 0, out=volume) * np.float32(scale)


def scaled_wbp(operator: BackProjector, images: np.ndarray, scale: float) -> np.ndarray:
    """Return the weighted back-projection in units of ``scale``. Raises ValueError unless that is positive."""
    check_scale(scale)
    return wbp(operator, images) / np.float32(scale)


def check_scale(scale: float) -> None:
    """Raise ValueError unless ``scale`` is a positive density."""
    if not 0 < scale < np.inf:
        raise ValueError(f"scale: got {scale}, expected the positive density that counts as 1")
