"""Compressed sensing: least squares with total variation, for specimens of a few even densities.

    minimise  ½‖A x − y‖² + λ·Σ|∇x|     over x ≥ 0,     |∇x| the length of the vector of three differences,

by the primal-dual method of Chambolle & Pock. Each of the two terms has a dual variable, images q and a vector field
p. One iteration, with x̄ = 2x − (x before):

    q ← (1 + Σ)⁻¹·(q + Σ·(A x̄ − y)),   p ← (p + σ·∇x̄) shortened to λ,   x ← max(0, x − τ·(Aᵀq + ∇ᵀp)).

Σ is the ramp filter of weighted back-projection, applied to the cosine coefficients of each image across the tilt
axis. A plain step would need hundreds of iterations, because Aᵀ A is 1/|f| and fine detail comes last; AᵀΣA is nearly
even. The filter decides how fast, not where to: at a fixed point q = A x − y whatever Σ is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from etlab.operator import Operator
from etlab.solvers.common import Callback, Status, checked_images, iterations, starting_volume
from etlab.threads import N_THREADS

LOWEST = 2  # the ramp's least value, in its own steps: zero would never let the mean of an image in
GRADIENT_NORM = 12.0  # ‖∇‖² in three dimensions is less than this
POWER_ITERATIONS = 8
FEW_VOXELS = 500_000  # below which starting threads takes longer than they save
POWER_MARGIN = 1.2  # after so many iterations the norm comes out at most a fifth too small


def tv(
    operator: Operator,
    images: np.ndarray,
    *,
    lam: float = 0.05,
    n_iter: int = 60,
    tol: float = 1e-3,
    nonnegative: bool = True,
    x0: np.ndarray | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with total variation, for specimens of a few even densities (compressed sensing).

    Needs numba. Memory: five volumes, the images and two more stacks of their size.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    lam
        λ per image, λ = lam·n_tilts, so that a value means the same for any number of tilts and size of volume. A
        ball of radius r voxels that is seen from all sides loses about 2·lam/r² of its contrast, so what is smaller
        than √(2·lam/contrast) vanishes. Noise asks for more: for counts of ``dose`` per unit line integral and images
        of mean p, about in proportion to √(p / (dose·n_tilts)).
    n_iter
        Largest number of iterations.
    tol
        Stop when an iteration has changed the volume by less than ``tol`` times its norm; 0 for never.
    nonnegative
        Whether the volume is constrained to x ≥ 0.
    x0
        Volume (nz, ny, nx) to start from, which is not changed. Default: zeros.
    callback
        Called with a `Status` after each iteration; stops the solver by returning True.
        ``status.residual`` is that of x̄.
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
        For images that are not floating.

    Notes
    -----
    The method of Chambolle & Pock minimises::

        ½‖A x − y‖² + λ·Σ|∇x|     over x ≥ 0,     |∇x| the length of the vector of three differences.

    References
    ----------
    Chambolle & Pock, J. Math. Imaging Vis. 40 (2011) 120; for tomography Sidky, Jørgensen & Pan, Phys. Med. Biol. 57
    (2012) 3065; in electron tomography Leary et al., Ultramicroscopy 131 (2013) 70.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts, psnr
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = tv(A, A(truth), n_iter=30)
    >>> volume.shape, round(psnr(volume, truth))  # in dB
    ((16, 32, 8), 23)
    """
    from etlab.kernels import spread  # here, so that the other solvers do without numba
    from etlab.solvers.tv_kernels import dual_step, primal_step

    images = checked_images(operator, images)
    if not 0 < lam < np.inf:
        raise ValueError(f"lam: got {lam}, expected a positive weight of the total variation")
    if not 0 <= tol < 1:
        raise ValueError(f"tol: got {tol}, expected a relative change in [0, 1)")
    volume = starting_volume(operator, x0)
    nz, n_threads = len(volume), N_THREADS if volume.size >= FEW_VOXELS else 1
    ramp = image_ramp(images.shape[1])
    bound = np.float32(lam * len(images))
    norm = POWER_MARGIN * ramped_norm(operator, ramp)
    balance: Any = max(1.0, 3 * bound / (norm * mean_density(operator, images)))
    # Σ = balance·ramp, and τ·(‖Σ^½ A‖² + σ·‖∇‖²) ≤ 1, shared equally
    image_steps = np.float32(balance) * ramp
    step = np.float32(0.5 / (balance * norm))
    gradient_step = np.float32(balance * norm / GRADIENT_NORM)
    floor = np.float32(0 if nonnegative else -np.inf)
    p = np.zeros((3, *volume.shape), np.float32)
    q = np.zeros_like(images)  # cosine coefficients
    ahead = volume.copy()
    moved, size = np.empty(nz), np.empty(nz)
    scale = float(np.linalg.norm(images)) or 1.0
    for iteration in iterations(n_iter, "TV", progress):
        residual = operator(ahead)
        residual -= images
        misfit = float(np.linalg.norm(residual)) / scale
        residual = cosines(residual)
        residual *= image_steps
        q += residual
        q /= 1 + image_steps
        del residual
        spread(dual_step, nz, n_threads, ahead, p, gradient_step, bound)
        del ahead
        ahead = operator.T(from_cosines(q))
        spread(primal_step, nz, n_threads, volume, ahead, p, step, floor, moved, size)
        stopped = callback and callback(Status(iteration, misfit, volume))
        if stopped or moved.sum() <= tol**2 * size.sum():
            break
    return volume


def mean_density(operator: Operator, images: np.ndarray) -> float:
    """Return the density of the even volume whose images are as strong as these.

    It sets the scale of x, and with λ, which is that of p, how long steps in p and q should be against those in x:
    p is to reach λ in a number of steps σ·∇x̄. Any choice converges, a wrong one slowly.
    """
    even = operator(np.ones(operator.geometry.volume_shape, np.float32))
    return float(np.linalg.norm(images) / np.linalg.norm(even)) or 1.0


def image_ramp(n_rows: int) -> np.ndarray:
    """Return the frequency of an image's cosine coefficients in cycles per pixel, (n_rows, 1); see ``LOWEST``."""
    return (np.maximum(np.arange(n_rows), LOWEST) / (2 * n_rows)).astype(np.float32)[:, None]


def ramped_norm(operator: Operator, ramp: np.ndarray) -> float:
    """Return the largest eigenvalue of Aᵀ·ramp·A, from below, by power iteration from always the same random volume."""
    volume = np.random.default_rng(0).standard_normal(operator.geometry.volume_shape, dtype=np.float32)
    norm = 0.0
    for _ in range(POWER_ITERATIONS):
        volume /= np.linalg.norm(volume)
        spectrum = cosines(operator(volume))
        spectrum *= ramp
        volume = operator.T(from_cosines(spectrum))
        norm = float(np.linalg.norm(volume))
    return norm


def cosines(images: np.ndarray) -> np.ndarray:
    """Return the orthonormal cosine transform of each image across the tilt axis; ``images`` may be overwritten."""
    return scipy.fft.dct(images, axis=1, norm="ortho", overwrite_x=True, workers=workers(images))


def from_cosines(spectrum: np.ndarray) -> np.ndarray:
    """Invert `cosines`; ``spectrum`` is left as it is."""
    return scipy.fft.idct(spectrum, axis=1, norm="ortho", workers=workers(spectrum))


def workers(array: np.ndarray) -> int:
    """Return the number of threads for a transform: all processors or, for a small array, one."""
    return N_THREADS if array.size >= FEW_VOXELS else 1
