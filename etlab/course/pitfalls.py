"""Four ways to find the mismatch that do not work, each looking reasonable. Kept to learn from, used by nothing.

A chapter plots what they return. Why they fail is said with each; `etlab.course.fisher` has the theory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etlab.course.fisher import inverse_variance, weighted_products, with_value
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.solvers import sirt, tv


def joint_fit(
    images: np.ndarray,
    model: TiltSeriesModel,
    values: Sequence[float],
    *,
    parameter: str = "defocus_gradient",
    lam: float = 0.02,
    n_iter: int = 40,
) -> np.ndarray:
    """Return the cost ½‖H x − y‖² + λ·TV(x), λ = lam·n_tilts, of the best x for each of ``values`` of ``parameter``.

    Object and mismatch fitted together: the mismatch is to be where the cost is least. But x has an unknown for every
    voxel, and takes up most of what a wrong mismatch does to the images, and the noise besides. Little is left in
    ‖H x − y‖ to tell one mismatch from another, and the rest of the cost, which is about the noise and the look of x,
    outweighs it. The minimum moves with λ: with a small one the gradient comes out too large, with a large one too
    small, and the tilt axis mostly too close to zero. A λ that puts a gradient of 10 nm/µm right makes 14 of one of 18.
    Nor is noise alone to blame: without any, the minimum is elsewhere, but not at the truth.
    """
    costs = []
    for value in values:
        H = with_value(model, parameter, value)
        volume = tv(H, images, lam=lam, n_iter=n_iter, tol=0)
        misfit = np.sum((H(volume) - images) ** 2, dtype=np.float64) / 2
        costs.append(misfit + lam * len(images) * total_variation(volume))
    return np.array(costs)


def total_variation(volume: np.ndarray) -> float:
    """Return Σ|∇x|, the length of the vector of three differences to the next voxel, zero at the border."""
    steps = (np.diff(volume, axis=axis, append=volume.take([-1], axis)) for axis in range(3))
    return float(np.sqrt(sum(step**2 for step in steps)).sum(dtype=np.float64))


def frozen_object_step(
    images: np.ndarray,
    model: TiltSeriesModel,
    detector: Detector,
    *,
    lam: float = 0.05,
    n_iter: int = 40,
) -> np.ndarray:
    """Return the Gauss-Newton step (δ, φ, g), shape (3,), from ``model.mismatch``, the reconstructed object held fixed.

    Reconstruct, compare with the images, and let the mismatch explain the difference: (JᵀWJ)⁻¹·JᵀW·(y − H x). But
    x was fitted to these images with the wrong mismatch, and has already taken up all of the error that an object can
    imitate. What is left is the small part that it cannot: next to nothing of δ, a tenth of φ, less than half of g.
    Repeated steps creep.
    """
    volume = tv(model, images, lam=lam, n_iter=n_iter, tol=0)
    predicted, rates = model(volume), model.jacobian(volume)
    weights = inverse_variance(predicted, detector)
    residual = weights * (images - predicted)
    pull = [np.sum(rate * residual, dtype=np.float64) for rate in rates]
    return np.linalg.solve(weighted_products(rates, weights), pull)


def wrong_slab(
    images: np.ndarray,
    geometry: TiltGeometry,
    tilt_angles: Sequence[float],
    *,
    thickness: int,
    n_iter: int = 20,
) -> np.ndarray:
    """Return ‖A x − y‖ / ‖y‖ for each of ``tilt_angles`` δ, with x kept to a slab ``thickness`` voxels thick.

    The specimen is flat, so it fits a slab through the tilt axis, perpendicular to the beam at zero tilt; that fixes δ,
    which the data alone do not. If the specimen stands beside the tilt axis or is thicker, the slab cuts through it,
    and the δ of the least residual is the one that turns most of its mass inside: a number about the specimen, degrees
    from the truth. A slab as thick as the volume assumes nothing and says nothing: its residual is the same
    whatever the truth.
    """
    slab = replace(geometry, volume_shape=(thickness, *geometry.volume_shape[1:]))
    residuals = []
    for tilt_angle in tilt_angles:
        A = TiltSeriesModel(slab, mismatch=Mismatch(tilt_angle=float(tilt_angle)), optics=None)
        residuals.append(np.linalg.norm(A(sirt(A, images, n_iter=n_iter)) - images) / np.linalg.norm(images))
    return np.array(residuals)


def gradient_sign(
    images: np.ndarray,
    volume: np.ndarray,
    geometry: TiltGeometry,
    gradients: Sequence[float],
    *,
    optics: Optics,
) -> np.ndarray:
    """Misfits ‖H x − y‖ / ‖y‖ of the object ``volume`` for each of ``gradients`` g, seen through ``optics``.

    Blur is the size of the defocus, σ = κ·|D₀ + g·u|, and in focus at the tilt axis, D₀ = 0, it is the same for g
    and −g: the misfit is even, with two minima, and only |g| can be known. Out of focus by D₀ one side of the field is
    sharper than the other, which tells the sign: microscopists defocus on purpose.
    """
    misfits = []
    for gradient in gradients:
        H = TiltSeriesModel(geometry, mismatch=Mismatch(defocus_gradient=float(gradient)), optics=optics)
        misfits.append(np.linalg.norm(H(volume) - images) / np.linalg.norm(images))
    return np.array(misfits)
