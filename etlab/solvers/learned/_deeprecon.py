"""DeepRecon: end to end, images -> learned filters -> Aᵀ -> small network -> volume.

    x̂ = max(0, f(Aᵀ h₁ y, Aᵀ h₂ y, …)),     h_j the bands of a filter bank that together are the ramp.

A learned filter is a weighted sum of the bands, and Aᵀ is linear, so the weights come after Aᵀ, as the first layer of
f: nothing needs to be differentiated through Aᵀ.
"""

from __future__ import annotations

import os

import numpy as np
import scipy.fft

from etlab.operator import BackProjector
from etlab.solvers._wbp import padded_length, ramp_filter, tilt_weights
from etlab.solvers.common import checked_images
from etlab.solvers.learned.network import load
from etlab.solvers.learned.onepass import check_scale
from etlab.solvers.learned.slices import by_slices

BANDS = 8
NEIGHBOURS = 3


def deeprecon(
    operator: BackProjector,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with DeepRecon, end to end: learned filters, back-projection and a small network.

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
    With h_j the bands of a filter bank that together are the ramp::

        x̂ = max(0, f(Aᵀ h₁ y, Aᵀ h₂ y, …)).

    References
    ----------
    The published table gives no source that could be traced; the idea is that of iRadonMAP, He et al., IEEE Trans.
    Med. Imaging 39 (2020) 2076.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = deeprecon(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    check_scale(scale)
    network = load("deeprecon", weights)
    bands = [band / np.float32(scale) for band in band_reconstructions(operator, images)]
    volume = by_slices(network, bands, n_neighbours=NEIGHBOURS, progress=progress)
    return np.maximum(volume, 0, out=volume) * np.float32(scale)


def band_reconstructions(operator: BackProjector, images: np.ndarray) -> list[np.ndarray]:
    """Back-project the bands of the images, low frequencies first; their sum is the weighted back-projection."""
    images = checked_images(operator, images)
    n_rows = images.shape[1]
    padded = padded_length(n_rows)
    spectra = scipy.fft.rfft(images, padded, axis=1)
    spectra *= tilt_weights(operator.geometry.tilts_deg).astype(np.float32)[:, None, None]
    ramp = ramp_filter(n_rows)
    return [
        operator.T(_cropped(spectra * (ramp * band).astype(np.float32)[:, None], padded, n_rows))
        for band in filter_bank(padded)
    ]


def filter_bank(padded: int) -> np.ndarray:
    """Return overlapping triangles over the non-negative frequencies, (BANDS, n), which add up to 1."""
    frequency = 2 * scipy.fft.rfftfreq(padded)  # of Nyquist
    # centres at 0, 1/32, 1/16, 1/8, 1/4, then even steps of 1/4
    centres = np.array([0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])
    return np.array([np.interp(frequency, centres, one) for one in np.eye(BANDS)])


def _cropped(spectra: np.ndarray, padded: int, n_rows: int) -> np.ndarray:
    filtered = scipy.fft.irfft(spectra, padded, axis=1, overwrite_x=True)[:, :n_rows]
    return np.ascontiguousarray(filtered, dtype=np.float32)
