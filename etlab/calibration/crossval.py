"""Cross-validation: a parameter of the microscope is right when half of the tilts predict the other half best.

    loss(p) = Σ_t ‖w·(y_t − H_t(p) x(p; the other half))‖²,

x reconstructed with total variation from every second tilt, p tried at three values and the minimum taken from the
parabola. Fitting and judging on the same images would not do: the object bends so as to explain a wrong p (see
`etlab.course.pitfalls`), but images that it has not seen are then predicted worse.

Four things make it work, each measured on the public scenes. **No interpolation that prefers an angle**: the turn is
orthogonal. **Less detail**: frequencies near Nyquist are aliased, aliases stay with the pixels when the specimen turns,
and so they draw φ to zero (by 15 % of its value with images in sharp focus). A blur of 0.7 pixels removes them;
after it a field wider than 64 pixels is binned, which is quicker and, being less noisy, more precise. **Weights** after
the counting noise, 1 / (mean signal nearby). **The blur left in the object** while φ is sought: images are turned back
by φ, and what remains is a plain projection, several times quicker than the whole model.

The standard deviation is a sandwich: the slope of the loss at the minimum is a sum over tilts and strips along the
axis; how much these disagree, divided by the curvature. Tilts share the errors of one object and strips those of one
tilt, so both are counted as clusters; what all of them share is added as measured. Source: Stone, J. R. Stat. Soc. B
36 (1974) 111; Cameron, Gelbach & Miller, J. Bus. Econ. Stat. 29 (2011) 238.

The defocus gradient cannot be found in this way: see `cross_validate`, and `etlab.calibration.moments` for one that
can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from etlab.calibration.checks import checked_bounds, checked_series
from etlab.calibration.estimate import Estimate
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.rotation import InPlaneRotation
from etlab.solvers import tv

REACH = {
    "tilt_axis": 0.25,
    "defocus_gradient": 5.0,
}  # of the trials either side: about where the loss is a parabola
# of the estimate, beside what the scatter among tilts and strips tells: error that all share (public scenes)
SHARED = {"tilt_axis": 0.02, "defocus_gradient": 0.0}
COARSE_TRIALS = 5  # over wider bounds, to find where that is
ENOUGH = 64  # pixels across the field; a wider one is binned
ANTIALIAS = 0.7  # pixels
LAM_PER_NOISE = 0.22  # λ of `tv` for noise of standard deviation 1 in the images that it sees
N_STRIPS = 8  # along the tilt axis
NEARBY = 2.0  # pixels over which the signal is averaged for the weights
FAINTEST = 0.5  # of the mean signal: no weight is larger than there, or vacuum would count most


def cross_validate(
    y: np.ndarray,
    geometry: TiltGeometry,
    optics: Optics | None,
    start: Mismatch,
    parameter: str,
    bounds: tuple[float, float],
    *,
    n_iter: int = 30,
    callback: Callable[[float, float], None] | None = None,
    n_threads: int | None = None,
) -> Estimate:
    """Estimate the value of ``parameter`` within ``bounds`` with which each half of the tilts best predicts the other.

    ``y`` (n_tilts, n_rows, nx); the other parameters are held at ``start``. ``parameter`` is "tilt_axis" [deg] or
    "defocus_gradient" [nm/µm]. Over bounds wider than twice ``REACH`` a first, coarse parabola says where to put the
    three trials. ``n_iter`` iterations of TV each; fewer and φ depends on where TV has come to. ``callback(value,
    loss)`` is called after each trial. ``std`` is infinite where the loss has no minimum.

    φ is unbiased. g is shrunk towards 0, as a reconstruction is smoother than the object and less blur makes up for
    it; ``std`` does not know of that.

    Raises ValueError for another parameter, empty bounds, fewer than 10 tilts or y that does not fit.
    """
    if parameter not in REACH:
        raise ValueError(
            f"parameter: got {parameter!r}, expected one of {', '.join(REACH)}; the tilt angle's offset turns the "
            "object and leaves every prediction as it was"
        )
    bounds = checked_bounds("bounds", bounds)
    y = checked_series(y, geometry)
    losses = loss_function(
        y,
        geometry,
        optics or Optics(kappa=0),
        start,
        parameter,
        n_iter=n_iter,
        callback=callback,
        n_threads=n_threads,
    )
    middle, tried, seen = coarse_search(losses, bounds, REACH[parameter])
    trials = middle + REACH[parameter] * np.array([-1.0, 0, 1])
    parts = np.stack([losses(value) for value in trials])
    value, std = vertex(trials, parts)
    std = float(np.hypot(std, SHARED[parameter]))
    return Estimate(value, std, np.append(tried, trials), np.append(seen, parts.sum(axis=(1, 2))))


def loss_function(
    y, geometry, optics, start, parameter, *, n_iter, callback, n_threads
) -> Callable[[float], np.ndarray]:
    """Return the map of a value of ``parameter`` to its loss in parts (n_tilts, N_STRIPS), on images made `coarse`."""
    factor = binning(geometry)
    geometry, images, transfer = coarse(geometry, y, factor)
    optics = replace(optics, kappa=optics.kappa / factor)
    lam = LAM_PER_NOISE * noise(y) * transfer
    weights = counting_weights(images)

    def losses(value):
        mismatch = replace(start, **{parameter: float(value)})
        model = TiltSeriesModel(geometry, mismatch=mismatch, optics=optics, n_threads=n_threads)
        blurred = parameter == "defocus_gradient"
        found = prediction_losses(images, weights, model, lam=lam, n_iter=n_iter, blurred=blurred)
        if callback:
            callback(float(value), float(found.sum()))
        return found

    return losses


def coarse_search(losses, bounds, reach) -> tuple[float, np.ndarray, np.ndarray]:
    """Return where to put three trials that lie ``reach`` apart, the trials that told it, and their losses.

    Within bounds that the three trials fill, it is the middle, and nothing is tried.
    """
    low, high = bounds
    if high - low <= 2 * reach:
        return (low + high) / 2, np.empty(0), np.empty(0)
    trials = np.linspace(low, high, COARSE_TRIALS)
    seen = np.array([losses(value).sum() for value in trials])
    best = np.clip(np.argmin(seen), 1, COARSE_TRIALS - 2)
    near = slice(best - 1, best + 2)
    return np.clip(vertex(trials[near], seen[near])[0], low, high), trials, seen


def halves(tilts_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks (n_tilts,): every second tilt in order of angle, and the others."""
    every_second = np.argsort(np.argsort(tilts_deg)) % 2 == 0
    return every_second, ~every_second


def prediction_losses(images, weights, model, *, lam, n_iter, blurred) -> np.ndarray:
    """Return the weighted squared error of each half predicted from the other, in parts (n_tilts, N_STRIPS).

    ``blurred``: with the whole model; else the object keeps the blur.
    """
    operator, turn = (
        (model, InPlaneRotation(images.shape[1:], 0)) if blurred else (model.projector, model.rotation)
    )
    upright = turn.T(images)
    found = np.empty((len(images), N_STRIPS))
    edges = np.linspace(0, images.shape[2], N_STRIPS + 1).astype(int)[:-1]
    for judged in halves(model.geometry.tilts_deg):
        volume = tv(operator.subset(~judged), upright[~judged], lam=lam, n_iter=n_iter, tol=0)
        error = images[judged] - turn(operator.subset(judged)(volume))
        by_column = (weights[judged] * error**2).sum(axis=1, dtype=np.float64)
        found[judged] = np.add.reduceat(by_column, edges, axis=1)
    return found


def vertex(trials: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    """Return the minimum of the parabola through three ``losses`` at evenly spaced ``trials``, and its deviation.

    ``losses`` (3, n_tilts, n_strips), the parts of each loss, or (3,), its sum: then the standard deviation is not
    known, and infinite. It is infinite, too, where the parabola has no minimum among the trials; the best trial is
    the value then, since a parabola says nothing of what lies beyond them.
    """
    step, parts = trials[1] - trials[0], losses.reshape(3, -1)
    curvature = (parts[0] - 2 * parts[1] + parts[2]) / step**2
    slope = (parts[2] - parts[0]) / (2 * step)
    if not (curvature.sum() > 0 and abs(slope.sum()) <= curvature.sum() * step):
        return float(trials[np.argmin(parts.sum(axis=1))]), np.inf
    offset = -slope.sum() / curvature.sum()
    if losses.ndim == 1:
        return float(trials[1] + offset), np.inf
    scores = (slope + curvature * offset).reshape(losses.shape[1:])
    return float(trials[1] + offset), two_way_spread(scores) / float(curvature.sum())


def two_way_spread(scores: np.ndarray) -> float:
    """Return the standard deviation of the sum of ``scores`` (a, b), which are correlated within rows and columns."""
    single = (scores**2).sum()
    return float(
        np.sqrt(max((scores.sum(axis=1) ** 2).sum() + (scores.sum(axis=0) ** 2).sum() - single, single))
    )


def counting_weights(images: np.ndarray) -> np.ndarray:
    """Return 1 / (signal nearby), the inverse variance of counting noise up to a factor; see ``FAINTEST``."""
    signal = gaussian_filter(images, (0, NEARBY, NEARBY))
    return 1 / np.maximum(signal, max(FAINTEST * float(np.abs(images).mean()), np.finfo(np.float32).tiny))  # type: ignore[call-overload]  # NumPy's `tiny` is typed as no float


def noise(images: np.ndarray) -> float:
    """Estimate the standard deviation of white noise by second differences along the axis: the object's are small."""
    second = images[..., :-2] - 2 * images[..., 1:-1] + images[..., 2:]
    return max(float(np.sqrt(np.mean(second**2, dtype=np.float64) / 6)), 1e-6)


def binning(geometry: TiltGeometry) -> int:
    """Return the largest factor of binning that leaves ``ENOUGH`` pixels across and divides the shapes."""
    sizes = (*geometry.volume_shape, geometry.n_rows)
    most = max(1, min(geometry.volume_shape[1:]) // ENOUGH)
    return max(factor for factor in range(1, most + 1) if not any(n % factor for n in sizes))


def coarse(geometry: TiltGeometry, images: np.ndarray, factor: int) -> tuple[TiltGeometry, np.ndarray, float]:
    """Return geometry and images without aliases and binned, and the standard deviation that white noise of 1 then has.

    Line integrals are in the larger voxels.
    """
    shape: Any = tuple(n // factor for n in geometry.volume_shape)
    binned = replace(
        geometry, volume_shape=shape, n_rows=geometry.n_rows // factor, voxel_nm=geometry.voxel_nm * factor
    )

    def reduced(stack):
        stack = gaussian_filter(stack, (0, ANTIALIAS, ANTIALIAS))
        blocks = stack.reshape(len(stack), stack.shape[1] // factor, factor, -1, factor)
        return blocks.mean(axis=(2, 4), dtype=np.float32) / factor

    white = np.random.default_rng(0).standard_normal((1, *images.shape[1:]), dtype=np.float32)
    return binned, reduced(images), float(reduced(white).std())
