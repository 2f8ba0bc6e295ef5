"""Images as a microscope without defocus gradient would have recorded them.

Weighted back-projection with Hᵀ blurs each image a second time, by the width that it already has, and a network that
was trained on evenly sharp images takes what a gradient left of them for the specimen. Both want images that are
evenly sharp, which is what practice calls correction of the images before reconstruction. With B_g the blur that was
there, B₀ that of the nominal focus and z the image in perfect focus,

    y′ = B₀ ẑ,     ẑ = argmin ‖B_g z − y‖² + r·‖B₀ z − y‖².

The first term undoes the gradient. The second holds on to the image as it is where the blur left nothing but noise to
undo, so y′ = y without a gradient, and where an edge is hopelessly out of focus. A method that agrees with the images
as they are, such as total variation, does better with H itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from etlab.arrays import checked
from etlab.forward import TiltSeriesModel

N_ITER = 15  # conjugate gradients: the change of y′ from one to the next is then below 0.1 %


def refocused(
    operator: TiltSeriesModel, images: np.ndarray, *, regularisation: float = 0.5
) -> tuple[TiltSeriesModel, np.ndarray]:
    """The same microscope without its defocus gradient, and the images (n_tilts, n_rows, nx) that it would record.

    ``regularisation`` is r above; 0.5 was chosen on the public tier. Tilt angle and axis stay as they are in
    ``operator``: they cost no sharpness, and its adjoint undoes them exactly.

    Raises ValueError unless r is positive or if the images do not fit, TypeError for a dtype that is not floating.
    """
    if not 0 < regularisation < np.inf:
        raise ValueError(f"regularisation: got {regularisation}, expected a positive number")
    images = checked("images", images, operator.geometry.images_shape)
    level = operator.with_mismatch(replace(operator.mismatch, defocus_gradient=0.0))
    if operator.mismatch.defocus_gradient == 0:
        return level, images
    return level, level.blur(_in_focus(operator.blur, level.blur, images, np.float32(regularisation)))


def _in_focus(blur, nominal, images, weight):
    """ẑ by conjugate gradients, from y on."""

    def normal(z):
        return blur.T(blur(z)) + weight * nominal.T(nominal(z))

    z = images.copy()
    residual = blur.T(images) + weight * nominal.T(images) - normal(z)
    direction, square = residual.copy(), float(np.vdot(residual, residual))
    for _ in range(N_ITER):
        if square == 0:
            break
        curved = normal(direction)
        length = np.float32(square / float(np.vdot(direction, curved)))
        z += length * direction
        residual -= length * curved
        square, before = float(np.vdot(residual, residual)), square
        direction = residual + np.float32(square / before) * direction
    return z
