"""GENFIRE: Fourier gridding, then alternating between what was measured and what a specimen can be.

Each image's Fourier coefficients are values of the volume's transform on a plane through its centre (the central slice
theorem). First they are put on the points of a Cartesian grid that lie near such a plane:

    F(k) = Σ_t w_t(k)·F_t(k·n_t) / Σ_t w_t(k),     w_t = 1 / distance of k from the plane of tilt t, if < radius,

with n_t the direction of the detector's rows and F_t evaluated exactly at the foot of the perpendicular, by a discrete
Fourier transform of the image at just that frequency. Then, over and over: in real space, values outside the support
or below zero are set to zero; in Fourier space, grid points that hold a measurement are set back to it. In between,
constraints fill what was not measured, the missing wedge among it.

With one tilt axis all planes contain k_x, and x needs no gridding: each slice perpendicular to it is a problem of its
own, in two dimensions, with the same weights for all.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from etlab.forward import TiltSeriesModel
from etlab.operator import Operator
from etlab.projector import Projector
from etlab.solvers.common import Callback, Status, checked_images, iterations, starting_volume
from etlab.threads import N_THREADS

RUN = 16  # slices transformed at a time, so that their padded grids stay small
CLOSEST = (
    0.1  # grid steps: a point nearer than this to a plane counts as this near, else one image would be all
)


def genfire(
    operator: Operator,
    images: np.ndarray,
    *,
    n_iter: int = 50,
    oversampling: float = 2.0,
    radius: float = 0.5,
    support: np.ndarray | None = None,
    resolution: bool = True,
    x0: np.ndarray | None = None,
    nonnegative: bool = True,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct by GENFIRE: Fourier gridding, then alternating between what was measured and what a specimen can be.

    It cannot undo a blur, and knows one tilt axis only. Memory: the volume and the measured grid points, about the
    size of the images.

    Parameters
    ----------
    operator
        A `Projector` or `TiltSeriesModel`: the directions of projection come from ``operator.geometry`` and from the
        errors of tilt angle and tilt axis, which are undone by turning the images back.
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    n_iter
        Number of iterations.
    oversampling
        Size of the Fourier grid: that of a volume this many times as large along z and y, from 1 to 8.
    radius
        How near a grid point must be to a plane to count as measured, in steps of the grid, up to 2.
    support
        True where the specimen may be, (nz, ny, nx). Default: everywhere in the volume.
    resolution
        Whether to bring in the measurements from low to high frequencies during the first half of the iterations and
        to withdraw them during the second, which keeps noise out (resolution extension and suppression).
    x0
        Volume (nz, ny, nx) to start from, which is not changed. Default: zeros.
    nonnegative
        Whether negative values are set to zero in each iteration.
    callback
        Called with a `Status` after each iteration; stops the solver by returning True. ``status.residual`` is the
        R-factor Σ|F − F_measured| / Σ|F_measured| over all measured grid points, before they are set back.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity, or an option outside its range.
    TypeError
        For another kind of operator, or images that are not floating.

    Notes
    -----
    With n_t the direction of the detector's rows and F_t the transform of image t::

        F(k) = Σ_t w_t(k)·F_t(k·n_t) / Σ_t w_t(k),     w_t = 1 / distance of k from the plane of tilt t, if < radius.

    References
    ----------
    Pryor et al., Sci. Rep. 7 (2017) 10409.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts, psnr
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = genfire(A, A(truth), n_iter=10)
    >>> volume.shape, round(psnr(volume, truth))  # in dB
    ((16, 32, 8), 16)
    """
    images = checked_images(operator, images)
    geometry = operator.geometry
    nz, ny, nx = geometry.volume_shape
    if not 1 <= oversampling <= 8:
        raise ValueError(f"oversampling: got {oversampling}, expected a factor from 1 to 8")
    if not 0 < radius <= 2:
        raise ValueError(f"radius: got {radius}, expected up to 2 steps of the grid")
    if support is not None and np.shape(support) != geometry.volume_shape:
        raise ValueError(f"support: got shape {np.shape(support)}, expected {geometry.volume_shape}")
    volume = starting_volume(operator, x0)
    tilts_deg, images = straightened(operator, images)
    grid = tuple(scipy.fft.next_fast_len(int(np.ceil(oversampling * n)), real=True) for n in (nz, ny))
    points, measured = gridded(images, tilts_deg, (nz, ny), grid, radius)
    fraction = np.linalg.norm(frequencies(grid), axis=0).ravel()[points] / 0.5  # of the Nyquist frequency
    total = float(np.abs(measured).sum()) or 1.0
    for iteration in iterations(n_iter, "GENFIRE", progress):
        limit = resolution_limit(iteration, n_iter) if resolution else 1.0
        kept = fraction <= limit
        misfit = 0.0
        for x in range(0, nx, RUN):
            run = np.s_[:, :, x : x + RUN]
            spectrum = scipy.fft.rfft2(volume[run], grid, axes=(0, 1), workers=N_THREADS)
            flat = spectrum.reshape(-1, spectrum.shape[2])
            target = measured[:, x : x + RUN]
            misfit += float(np.abs(flat[points] - target).sum())
            flat[points[kept]] = target[kept]
            back = scipy.fft.irfft2(spectrum, grid, axes=(0, 1), overwrite_x=True, workers=N_THREADS)[
                :nz, :ny
            ]
            if nonnegative:
                np.maximum(back, 0, out=back)
            if support is not None:
                back *= np.asarray(support[run], bool)
            volume[run] = back
        if callback and callback(Status(iteration, misfit / total, volume)):
            break
    return volume


def straightened(operator: Operator, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undo the operator's known turns: return tilts and images as an ideal microscope would have taken them.

    Raises TypeError for any operator but a `Projector` or `TiltSeriesModel`: of those the directions are known.
    """
    tilts_deg = operator.geometry.tilts_deg
    if isinstance(operator, TiltSeriesModel):
        return tilts_deg + operator.mismatch.tilt_angle, operator.rotation.T(images)
    if not isinstance(operator, Projector):
        raise TypeError(
            f"operator: got {type(operator).__name__}, expected a Projector or TiltSeriesModel, because gridding has "
            "to know from which directions the images were taken"
        )
    return tilts_deg, images


def frequencies(grid: tuple[int, int]) -> np.ndarray:
    """Return (k_z, k_y) of the half spectrum of a slice in cycles per voxel, as of ``rfft2``: (2, n_kz, n_ky)."""
    return np.array(np.meshgrid(scipy.fft.fftfreq(grid[0]), scipy.fft.rfftfreq(grid[1]), indexing="ij"))


def gridded(
    images: np.ndarray, tilts_deg: np.ndarray, shape: tuple[int, int], grid: tuple[int, int], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the grid points near a measured plane, (n_points,), and the spectrum there, (n_points, nx), complex64.

    Points are indices into the flattened half spectrum of a volume ``shape`` = (nz, ny) in the corner of ``grid``.
    Their distance from a plane is in steps of the grid along each axis, which may differ.
    """
    k_z, k_y = (k.ravel() for k in frequencies(grid))
    steps = np.array(grid, float)
    inside = np.hypot(k_z, k_y) < 0.5
    n_rows, nx = images.shape[1:]
    rows = np.arange(n_rows) - (n_rows - 1) / 2
    weights, values = np.zeros(k_z.size, np.float32), np.zeros((k_z.size, nx), np.complex64)
    for image, theta in zip(images, np.deg2rad(tilts_deg), strict=True):
        along = k_y * np.cos(theta) + k_z * np.sin(theta)
        away_z, away_y = k_z - along * np.sin(theta), k_y - along * np.cos(theta)
        distance = np.hypot(away_z * steps[0], away_y * steps[1])
        near = np.flatnonzero(inside & (distance < radius))
        weight = (1 / np.maximum(distance[near], CLOSEST)).astype(np.float32)
        transform = np.exp(-2j * np.pi * np.outer(along[near], rows)).astype(np.complex64)
        values[near] += weight[:, None] * (transform @ image)
        weights[near] += weight
    points = np.flatnonzero(weights)
    # from the centre of the volume, where the planes meet, to the corner, where the transform counts from
    centre = np.exp(-1j * np.pi * (k_z[points] * (shape[0] - 1) + k_y[points] * (shape[1] - 1)))
    return points, values[points] * (centre / weights[points]).astype(np.complex64)[:, None]


def resolution_limit(iteration: int, n_iter: int) -> float:
    """Return the share of the Nyquist frequency up to which measurements hold: up to 1 half way, then down again."""
    half = (n_iter + 1) / 2
    return max(1 - abs(iteration - half) / half, 1 / half)
