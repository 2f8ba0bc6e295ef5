"""The defocus gradient without beads, from consistency conditions that hold for every object.

The n-th moment of a projection across the tilt axis, c_n(θ) = Σ_s P_n(s)·p(s, θ) in each column, is a polynomial of
degree n in cos θ and sin θ, whatever the object: n + 1 numbers explain it at all tilts (Helgason & Ludwig). So what the
moments of a tilt series have outside that space, Q_n c_n, holds no object. It holds noise, and the trace of a blur
that differs from row to row: a specimen column passes other rows, in other focus, as it tilts.

    minimise Σ_n ‖Q_n c_n(y − H(g) x)‖² over g,       one Gauss–Newton step at a time,

with x reconstructed from every second tilt and judged on the others, and again with the halves exchanged. Here x only
says where there is something to be blurred. Cross-validation of the images themselves is drawn to too little blur by a
reconstruction that is too smooth; that error is an object, too, and Q removes it, but for the part that the uneven
blur itself lets through.

δ has no part in this: an offset turns cos θ, sin θ among themselves.
Source: Ludwig, Commun. Pure Appl. Math. 19 (1966) 49; Natterer, The Mathematics of Computerized Tomography (1986),
§ II.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.polynomial.legendre import legvander

from etlab.calibration.checks import checked_bounds, checked_series
from etlab.calibration.crossval import N_STRIPS, halves, noise
from etlab.calibration.estimate import Estimate
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.solvers import tv

HIGHEST = 10  # moment; 24 give the same within a tenth of the standard deviation
IGNORED = 1e-4  # singular values, of the largest, below which a direction in tilt holds no object
LAM_PER_NOISE = 0.065  # λ of `tv` for noise of standard deviation 1: less than shows the object best
SHARED = 0.8  # nm/µm: error that all strips share, from a reconstruction too smooth (public scenes)
SETTLED = 0.3  # of the standard deviation: a step shorter than this is the last


def moment_gradient(
    y: np.ndarray,
    geometry: TiltGeometry,
    optics: Optics,
    start: Mismatch,
    bounds: tuple[float, float],
    *,
    max_steps: int = 8,
    n_iter: int = 20,
    callback: Callable[[float], None] | None = None,
    n_threads: int | None = None,
) -> Estimate:
    """Estimate g in nm/µm within ``bounds``, from images (n_tilts, n_rows, nx), with φ and δ held at ``start``.

    At most ``max_steps`` steps. ``trials`` are the values after each; ``callback(value)`` is called with them.
    ``std`` comes from the scatter among strips along the tilt axis and ``SHARED``; it is infinite where nothing is
    blurred.

    Raises ValueError for empty bounds, fewer than 10 tilts or y that does not fit.
    """
    low, high = checked_bounds("bounds", bounds)
    y = checked_series(y, geometry)
    lam = LAM_PER_NOISE * noise(y)
    volumes: Sequence[np.ndarray | None] = (None, None)
    value, std, tried = (low + high) / 2, np.inf, []  # type: float, float, list[float]
    for _ in range(max_steps):
        mismatch = replace(start, defocus_gradient=float(value))
        H = TiltSeriesModel(geometry, mismatch=mismatch, optics=optics, n_threads=n_threads)
        volumes = reconstructed_halves(y, H, volumes, lam=lam, n_iter=n_iter)
        score, curvature = normal_equation(y, H, volumes)
        if not curvature > 0:
            return Estimate(float(value), np.inf, np.array(tried))
        before, value = value, float(np.clip(value + score.sum() / curvature, low, high))
        strips = np.array([strip.sum() for strip in np.array_split(score, N_STRIPS)])
        std = float(np.hypot(np.sqrt((strips**2).sum()) / curvature, SHARED))
        tried.append(value)
        if callback:
            callback(value)
        if abs(value - before) < SETTLED * std:
            break
    return Estimate(value, std, np.array(tried))


def reconstructed_halves(y, H, x0, *, lam, n_iter) -> list[np.ndarray]:
    """Return, for each of the `halves`, the volume reconstructed from the other one, starting from those in ``x0``."""
    return [
        tv(H.subset(~judged), y[~judged], lam=lam, n_iter=n_iter, tol=0, x0=volume)
        for judged, volume in zip(halves(H.geometry.tilts_deg), x0, strict=True)
    ]


def normal_equation(y, H, volumes) -> tuple[np.ndarray, float]:
    """Return the score of each column (nx,) and the curvature: the Gauss–Newton step of g is Σ score / curvature."""
    score, curvature = np.zeros(y.shape[2]), 0.0
    for judged, volume in zip(halves(H.geometry.tilts_deg), volumes, strict=True):
        seen = H.subset(judged)
        outside = outside_moments(seen.geometry)
        error = outside(y[judged] - seen(volume))
        rate = outside(seen.jacobian(volume)[2])
        score += (rate * error).sum(axis=0)
        curvature += float((rate**2).sum())
    return score, curvature


def outside_moments(geometry: TiltGeometry) -> Callable[[np.ndarray], np.ndarray]:
    """Return the linear map of images (n_tilts, n_rows, nx) to Q_n c_n for all n up to ``HIGHEST``, stacked: (m, nx).

    Zero for the projections of any object that lies within the field of the detector.
    """
    rows = (np.arange(geometry.n_rows) - (geometry.n_rows - 1) / 2) / (geometry.n_rows / 2)
    moments = np.linalg.qr(legvander(rows, HIGHEST))[0]
    outside = [complement(geometry.tilts_deg, n) for n in range(HIGHEST + 1)]

    def apply(images):
        of_tilts = np.einsum("tri,rn->nti", images, moments, optimize=True)
        return np.concatenate([q @ c for q, c in zip(outside, of_tilts, strict=True)])

    return apply


def complement(tilts_deg: np.ndarray, n: int) -> np.ndarray:
    """Return orthonormal rows (m, n_tilts), orthogonal to polynomials of degree n in cos θ, sin θ with n's parity."""
    angles = np.outer(np.deg2rad(tilts_deg), np.arange(n % 2, n + 1, 2))
    basis, size, _ = np.linalg.svd(np.hstack([np.cos(angles), np.sin(angles)]))
    return basis[:, (size > IGNORED * size[0]).sum() :].T
