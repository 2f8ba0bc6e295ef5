"""Images as a microscope without defocus gradient would have recorded them.

Weighted back-projection with Hᵀ blurs each image a second time, by the width that it already has, and a network that
was trained on evenly sharp images takes what a gradient left of them for the specimen. Both want images that are
evenly sharp, which is what practice calls correction of the images before reconstruction. With B_g the blur that was
there, B₀ that of the nominal focus and z the image in perfect focus,

    y′ = B₀ ẑ,     ẑ = argmin ‖B_g z − y‖² + r·‖B₀ z − y‖².

Along x the blur of a row multiplies cosines, so each of them is a small system across rows, and ẑ is exact. The first
term undoes the gradient. The second holds on to the image as it is where the blur left nothing but noise to undo, so y′
= y without a gradient, and where an edge is hopelessly out of focus. A method that agrees with the images as they are,
such as total variation, does better with H itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft

from etlab.arrays import checked
from etlab.blur import decay
from etlab.forward import TiltSeriesModel


def refocused(
    operator: TiltSeriesModel, images: np.ndarray, *, regularisation: float = 1.0
) -> tuple[TiltSeriesModel, np.ndarray]:
    """Return the microscope without its defocus gradient, and the images that it would have recorded.

    Weighted back-projection and networks that were trained on evenly sharp images want this; a method that agrees
    with the images as they are, such as total variation, does better with the model of the gradient itself.

    Parameters
    ----------
    operator
        The model, with its defocus gradient.
    images
        Recorded line integrals (n_tilts, n_rows, nx).
    regularisation
        r below. From 0.5 to 2 the scores of the public tier differ by less than 0.001; 1 was chosen there.

    Returns
    -------
    operator : TiltSeriesModel
        The same microscope with g = 0. Tilt angle and axis stay as they are: they cost no sharpness, and the adjoint
        undoes them exactly.
    images : np.ndarray
        Shape of ``images``, float32.

    Raises
    ------
    ValueError
        Unless r is positive, or if the images do not fit.
    TypeError
        For a dtype that is not floating.

    Notes
    -----
    With B_g the blur that was there, B₀ that of the nominal focus and z the image in perfect focus::

        y′ = B₀ ẑ,     ẑ = argmin ‖B_g z − y‖² + r·‖B₀ z − y‖².

    Examples
    --------
    >>> from etlab import Mismatch, TiltGeometry
    >>> geometry = TiltGeometry([0.0], (8, 32, 16))
    >>> H = TiltSeriesModel(geometry, mismatch=Mismatch(defocus_gradient=4.0))
    >>> level, images = refocused(H, H(np.ones((8, 32, 16), np.float32)))
    >>> level.mismatch.defocus_gradient, images.shape
    (0.0, (1, 32, 16))
    """
    if not 0 < regularisation < np.inf:
        raise ValueError(f"regularisation: got {regularisation}, expected a positive number")
    images = checked("images", images, operator.geometry.images_shape)
    level = operator.with_mismatch(replace(operator.mismatch, defocus_gradient=0.0))
    if operator.mismatch.defocus_gradient == 0:
        return level, images
    nx = images.shape[2]
    blurred, nominal = (blur_matrices(model.blur.sigma, nx) for model in (operator, level))
    transposed, nominal_transposed = np.swapaxes(blurred, 1, 2), np.swapaxes(nominal, 1, 2)
    normal = transposed @ blurred + regularisation * nominal_transposed @ nominal
    correction = nominal @ np.linalg.solve(normal, transposed + regularisation * nominal_transposed)
    cosines = scipy.fft.dct(images, axis=2, norm="ortho")
    corrected = np.einsum("kuv,tvk->tuk", correction.astype(np.float32), cosines, optimize=True)
    return level, scipy.fft.idct(corrected, axis=2, norm="ortho")


def blur_matrices(sigma: np.ndarray, nx: int) -> np.ndarray:
    """Return what `etlab.blur` does to rows, for each of the ``nx`` cosines along x: (nx, n_rows, n_rows), float64."""
    waves = scipy.fft.dct(np.eye(sigma.size), axis=0, norm="ortho")
    variance = np.asarray(sigma, np.float64)[:, None] ** 2
    across_rows = (waves.T * np.exp(-variance * decay(sigma.size))) @ waves
    along_x = np.exp(-variance * decay(nx))
    return along_x.T[:, :, None] * across_rows
