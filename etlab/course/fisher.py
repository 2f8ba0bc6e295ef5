"""What a tilt series can tell about the mismatch p = (δ, φ, g), whoever does the estimating: Cramér–Rao bounds.

Images y = H(p)·x + noise of variance 1/W carry the information F about p and the object x together. With
J = ∂H(p)x/∂p,

    F_pp = Jᵀ W J,     F_px = Jᵀ W H,     F_xx = Hᵀ W H,

and no unbiased estimator of p has a covariance smaller than the inverse of

    F_pp                             when the object is known,
    F_pp − F_px·F_xx⁻¹·F_xp          when nothing is known about it.

The second is what remains of J when the object has done what it can to imitate it: (J − H z)ᵀ W (J − H z), z the best.
An unknown object can imitate δ to perfection, by turning: P(θ + δ)·x = P(θ)·(x turned by δ). δ is a gauge, and no
data tell it; φ and g are not.

Two things make a bound for δ look finite that is not. The grid does: a turned object is not quite a volume of voxels,
and the rest, a per cent or two of F_pp, looks like information; on finer grids it vanishes. And a prior does: to add
λ·∇ᵀ∇ to F_xx is to say that the object differs from the given volume by something smooth. That volume stands at an
angle, so whoever knows it knows δ. A prior on smoothness itself cannot tell, since a turned object is as smooth as
before. For that reason the term z′·∇ᵀ∇·z′ of the turn's velocity is cancelled by z″·∇ᵀ∇·z, of its acceleration, which
the formula leaves out.
Source: Van Trees, Detection, Estimation, and Modulation Theory I (1968) §2.4; gauges: Triggs et al., Bundle adjustment,
LNCS 1883 (2000) §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.fft
from scipy.ndimage import laplace
from scipy.sparse.linalg import LinearOperator, cg

from etlab.calibration.estimate import PARAMETERS
from etlab.forward import Detector, TiltSeriesModel
from etlab.solvers import sirt

# of the mean signal: no pixel counts as darker. A pixel without electrons would have no noise and infinite weight,
# while the model, which is band-limited, is not zero there to the last digit.
LEAST_SIGNAL = 0.02
CONVERGED = 1e-6  # relative residual of conjugate gradients, the precision of float32 operators


@dataclass(frozen=True, eq=False)
class Bound:
    """Fisher ``information`` (3, 3) of (δ, φ, g): per degree, per degree, per nm/µm, and their products.

    ``trace`` (n_iter, 3) is its diagonal after each iteration, if it was found by iteration. It only ever falls, so
    that what has not converged is still a bound, one that promises more precision than there is.
    """

    information: np.ndarray
    trace: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))

    @property
    def covariance(self) -> np.ndarray:
        """Return the least covariance (3, 3) of an unbiased estimate, infinite for what leaves no trace."""
        told = np.diag(self.information) > 0
        covariance = np.diag(np.where(told, 0.0, np.inf))
        covariance[np.ix_(told, told)] = np.linalg.inv(self.information[np.ix_(told, told)])
        return covariance

    @property
    def std(self) -> np.ndarray:
        """Return the least standard deviations (3,) in degrees, degrees and nm/µm, all three being unknown."""
        return np.sqrt(np.diag(self.covariance))


def bound_object_known(model: TiltSeriesModel, volume: np.ndarray, detector: Detector) -> Bound:
    """Return the bound at ``model.mismatch`` for someone who knows the object, ``volume`` (nz, ny, nx).

    Raises ValueError for a detector without noise, and what the model raises for a volume that does not fit.
    """
    rates = model.jacobian(volume)
    return Bound(weighted_products(rates, inverse_variance(model(volume), detector)))


def bound_object_unknown(
    model: TiltSeriesModel,
    volume: np.ndarray,
    detector: Detector,
    *,
    smoothness: float = 0.0,
    n_iter: int = 100,
) -> Bound:
    """Return the bound at ``model.mismatch``, evaluated at ``volume``, when every voxel is unknown as well.

    ``smoothness`` λ ≥ 0 adds λ·∇ᵀ∇ to F_xx: neighbouring voxels are known to differ as they do in ``volume``, give or
    take 1/√λ. For δ the result is spurious, see above.

    F_xx⁻¹ is applied by at most ``n_iter`` conjugate gradients for each parameter, preconditioned by the ramp, of
    which each costs H and Hᵀ. Raises ValueError for a detector without noise or a negative ``smoothness``, and what
    the model raises for a volume that does not fit.
    """
    if not 0 <= smoothness < np.inf:
        raise ValueError(f"smoothness: got {smoothness}, expected a finite number ≥ 0")
    if n_iter < 1:
        raise ValueError(f"n_iter: got {n_iter}, expected at least 1")
    rates = model.jacobian(volume)
    weights = inverse_variance(model(volume), detector)
    F_xx = object_information(model, weights, smoothness)
    M = preconditioner(model, float(weights.mean()), smoothness)
    trace = np.empty((n_iter, len(rates)))
    imitations = []
    for i, rate in enumerate(rates):
        imitation, trace[:, i] = imitated(rate, model, weights, F_xx, M, n_iter)
        imitations.append(imitation)
    for rate, imitation in zip(rates, imitations, strict=True):
        rate -= model(imitation)
    information = weighted_products(rates, weights)
    if smoothness:
        information += smoothness * roughness_products(imitations)
    return Bound(information, trace)


def object_information(model: TiltSeriesModel, weights: np.ndarray, smoothness: float) -> LinearOperator:
    """Return F_xx = Hᵀ W H + λ·∇ᵀ∇ for volumes in one row."""
    shape = model.geometry.volume_shape

    def apply(values: np.ndarray) -> np.ndarray:
        x = values.reshape(shape).astype(np.float32)
        product = model.T(weights * model(x))
        if smoothness:
            product -= smoothness * laplace(x, mode="nearest")
        return product.ravel()

    size = int(np.prod(shape))
    return LinearOperator((size, size), apply, dtype=np.float64)


def imitated(
    rate: np.ndarray,
    model: TiltSeriesModel,
    weights: np.ndarray,
    F_xx: LinearOperator,
    M: LinearOperator,
    n_iter: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the object that imitates ``rate`` best, and the information left after each iteration (n_iter,)."""
    mixed = model.T(weights * rate).ravel().astype(np.float64)
    left = [float(np.sum(weights * rate**2, dtype=np.float64))]
    x, _ = cg(
        F_xx,
        mixed,
        rtol=CONVERGED,
        maxiter=n_iter,
        M=M,
        # conjugate gradients start from zero, so that xᵀ F_xx x = xᵀ F_xp at every step
        callback=lambda x: left.append(left[0] - float(x @ mixed)),
    )
    imitation = x.reshape(model.geometry.volume_shape).astype(np.float32)
    return imitation, np.pad(left[1:] or left, (0, n_iter), mode="edge")[:n_iter]


def gauge_scan(
    images: np.ndarray,
    model: TiltSeriesModel,
    values: Sequence[float],
    *,
    parameter: str = "tilt_angle",
    n_iter: int = 40,
) -> np.ndarray:
    """Return relative residuals ‖H x − y‖ / ‖y‖ of SIRT's volumes x for each of ``values`` of ``parameter``.

    The other two stay as in ``model``. Flat along the tilt angle, which the object makes up for by turning; not flat
    along the other two. Raises ValueError for an unknown ``parameter``.
    """
    scale = np.linalg.norm(images)
    residuals = []
    for value in values:
        H = with_value(model, parameter, value)
        residuals.append(np.linalg.norm(H(sirt(H, images, n_iter=n_iter)) - images) / scale)
    return np.array(residuals)


def with_value(model: TiltSeriesModel, parameter: str, value: float) -> TiltSeriesModel:
    """Return ``model`` with one of `PARAMETERS` set to ``value``. Raises ValueError for another name."""
    if parameter not in PARAMETERS:
        raise ValueError(f"parameter: got {parameter!r}, expected one of {', '.join(PARAMETERS)}")
    return model.with_mismatch(replace(model.mismatch, **{parameter: float(value)}))


def inverse_variance(images: np.ndarray, detector: Detector) -> np.ndarray:
    """W = 1 / ((p + background) / dose + (read_noise / gain)²) of expected ``images`` p; see ``LEAST_SIGNAL``.

    Raises ValueError for a detector without noise, which would tell everything.
    """
    signal = images + np.float32(detector.background)
    variance = np.full_like(signal, (detector.read_noise / detector.gain) ** 2)
    if detector.dose is not None:
        variance += np.maximum(signal, LEAST_SIGNAL * signal.mean()) / np.float32(detector.dose)
    if not (variance > 0).all():
        raise ValueError(f"detector: got {detector}, expected one with noise: a finite dose or read noise")
    return 1 / variance


def weighted_products(rates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Σ W·rate_i·rate_j over all pixels, summed in float64: shape (3, 3)."""
    return np.array([[np.sum(weights * one * other, dtype=np.float64) for other in rates] for one in rates])


def roughness_products(volumes: list[np.ndarray]) -> np.ndarray:
    """Return Σ ∇a·∇b of every two of the volumes, shape (n, n)."""
    curved = [-laplace(one, mode="nearest") for one in volumes]
    return np.array([[np.vdot(one, other) for other in volumes] for one in curved])


def preconditioner(model: TiltSeriesModel, weight: float, smoothness: float) -> LinearOperator:
    """Return roughly F_xx⁻¹: AᵀA of n tilts is about n / (π·|f|) at f across the tilt axis, −∇² is 4·sin²(πf)."""
    geometry = model.geometry
    fz, fy, fx = np.meshgrid(
        *(np.arange(n) / (2 * n) for n in geometry.volume_shape), indexing="ij", sparse=True
    )
    lowest = 1 / (2 * geometry.n_rows)  # the ramp would be zero at f = 0
    data = weight * geometry.tilts_deg.size / (np.pi * np.sqrt(fz**2 + fy**2 + lowest**2))
    roughness = 4 * sum(np.sin(np.pi * f) ** 2 for f in (fz, fy, fx))
    inverse = 1 / (data + smoothness * roughness)

    def apply(values: np.ndarray) -> np.ndarray:
        spectrum = scipy.fft.dctn(values.reshape(geometry.volume_shape), norm="ortho")
        return scipy.fft.idctn(inverse * spectrum, norm="ortho").ravel()

    size = inverse.size
    return LinearOperator((size, size), apply, dtype=np.float64)
