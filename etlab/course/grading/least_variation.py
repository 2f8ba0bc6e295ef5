"""The problem of lab 4, and right answers to its first tasks, so that each later task can be done by itself.

    minimise  C(x) = ½‖A x − y‖² + λ·Σ|∇x|     over slices x ≥ 0,

∇x being the differences to the next voxel along z and y, zero where there is no next one. The answers are the pieces
of the primal-dual method of Chambolle & Pock, J. Math. Imaging Vis. 40 (2011) 120. Every x has C(x) ≥ −½‖q‖² − ⟨q, y⟩
if |p| ≤ λ and Aᵀq + ∇ᵀp ≥ 0: its dual variables (q, p) say how far from the minimum a slice can be at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice

import numpy as np

from etlab.geometry import TiltGeometry
from etlab.reference import sparse_matrix

DATA_STEP = 0.06  # σ of the images; a step for line integrals of some ten voxels of density 1
FLOOR_EVERY = 50  # iterations
FLOOR_PRECISION = 1e-3  # of the cost
MOST_ITERATIONS = 3000


class SliceProjector:
    """A and Aᵀ of one slice: ``A(slice_)`` gives images (n_tilts, n_rows), ``A.T(images)`` a slice (nz, ny).

    In float64, on a detector that holds the whole slice at every tilt.
    """

    def __init__(self, tilts_deg: np.ndarray, slice_shape: tuple[int, int]):
        self.tilts_deg, self.slice_shape = np.asarray(tilts_deg, float), slice_shape
        n_rows = int(np.ceil(np.hypot(*slice_shape))) + 1
        self.images_shape = (len(self.tilts_deg), n_rows)
        self._matrix = sparse_matrix(TiltGeometry(self.tilts_deg, (*slice_shape, 1), n_rows))
        self._transposed = self._matrix.T.tocsr()

    def __call__(self, slice_: np.ndarray) -> np.ndarray:
        """Project."""
        return (self._matrix @ slice_.ravel()).reshape(self.images_shape)

    def T(self, images: np.ndarray) -> np.ndarray:
        """Back-project (the adjoint)."""
        return (self._transposed @ images.ravel()).reshape(self.slice_shape)

    def subset(self, tilts: np.ndarray | slice) -> SliceProjector:
        """Return the same projector for some of the tilts: indices, a slice or a mask."""
        return SliceProjector(self.tilts_deg[tilts], self.slice_shape)

    @cached_property
    def squared_norm(self) -> float:
        """Return ‖A‖², with a margin of 3 % above what the power method finds from below."""
        return 1.03 * largest_eigenvalue(lambda x: self.T(self(x)), self.slice_shape)


class Gradient:
    """∇ and ∇ᵀ: ``D(slice_)`` gives a field (2, nz, ny), along z and along y; ``D.T(field)`` a slice. ‖∇‖² ≤ 8."""

    squared_norm = 8.0

    def __call__(self, slice_: np.ndarray) -> np.ndarray:
        """Return the differences to the next voxel along z and along y."""
        field = np.zeros((2, *slice_.shape))
        field[0, :-1] = np.diff(slice_, axis=0)
        field[1, :, :-1] = np.diff(slice_, axis=1)
        return field

    def T(self, field: np.ndarray) -> np.ndarray:
        """Return the adjoint, minus the divergence."""
        slice_ = np.zeros(field.shape[1:])
        slice_[:-1] -= field[0, :-1]
        slice_[1:] += field[0, :-1]
        slice_[:, :-1] -= field[1, :, :-1]
        slice_[:, 1:] += field[1, :, :-1]
        return slice_


def lengths(field: np.ndarray) -> np.ndarray:
    """Return the length of the vector of each voxel of a field (2, nz, ny)."""
    return np.sqrt(np.sum(field**2, axis=0))


def shortened(field: np.ndarray, bound: float) -> np.ndarray:
    """Return the nearest field whose vectors are no longer than ``bound``."""
    return field / np.maximum(1, lengths(field) / bound)


def resolvent(q: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """Return the r with the least ½‖r − q‖² + σ·(½‖r‖² + ⟨r, y⟩)."""
    return (q - sigma * y) / (1 + sigma)


def largest_eigenvalue(apply: Callable, shape: tuple[int, ...], n_iter: int = 30) -> float:
    """Return the largest eigenvalue of the symmetric, positive operator ``apply``, from below, by the power method."""
    x = np.random.default_rng(0).standard_normal(shape)
    for _ in range(n_iter):
        x = apply(x / np.linalg.norm(x))
    return float(np.linalg.norm(x))


def variation(slice_: np.ndarray) -> float:
    """Return the total variation Σ|∇x|."""
    return float(np.sum(lengths(Gradient()(slice_))))


def cost(A: SliceProjector, y: np.ndarray, lam: float, slice_: np.ndarray) -> float:
    """Return C(x) of this module's heading."""
    with np.errstate(over="ignore"):  # what runs away costs infinitely much
        return float(np.sum((A(slice_) - y) ** 2) / 2 + lam * variation(slice_))


def balanced_lam(A: SliceProjector, y: np.ndarray, slice_: np.ndarray) -> float:
    """Return the λ for which no multiple of this slice costs less: ⟨A x, y − A x⟩ = λ·TV(x), as at the minimum."""
    images = A(slice_)
    return float(np.vdot(images, y - images) / variation(slice_))


def iterates(
    A: SliceProjector, y: np.ndarray, lam: float, shorten: Callable = shortened
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the slices x of the primal-dual method, without end, with their dual variables q and p."""
    D = Gradient()
    field_step = DATA_STEP * A.squared_norm / D.squared_norm
    step = 0.5 / (DATA_STEP * A.squared_norm)
    x = ahead = np.zeros(A.slice_shape)
    q, p = np.zeros(A.images_shape), D(x)
    while True:
        q = resolvent(q + DATA_STEP * A(ahead), y, DATA_STEP)
        p = shorten(p + field_step * D(ahead), lam)
        new = np.maximum(x - step * (A.T(q) + D.T(p)), 0)
        x, ahead = new, 2 * new - x
        yield x, q, p


def solved(
    A: SliceProjector, y: np.ndarray, lam: float, n_iter: int = 150, shorten: Callable = shortened
) -> np.ndarray:
    """Return the slice after so many iterations."""
    x, _, _ = next(islice(iterates(A, y, lam, shorten), n_iter - 1, None))
    return x


def floor(A: SliceProjector, y: np.ndarray, q: np.ndarray, p: np.ndarray) -> float:
    """Return a bound below the cost of every slice, for any q and any p with |p| ≤ λ."""
    short = -(A.T(q) + Gradient().T(p)) / A.T(np.ones_like(q))
    q = q + max(0, short.max())  # now Aᵀq + ∇ᵀp ≥ 0
    return float(-np.sum(q**2) / 2 - np.sum(q * y))


def least_cost(A: SliceProjector, y: np.ndarray, lam: float) -> float:
    """Return a floor under the cost of all slices, within ``FLOOR_PRECISION`` of the minimum as a rule."""
    highest = -np.inf
    iterations = enumerate(iterates(A, y, lam), start=1)
    while True:
        n, (x, q, p) = next(iterations)
        if n % FLOOR_EVERY == 0:
            highest = max(highest, floor(A, y, q, p))
            if n >= MOST_ITERATIONS or cost(A, y, lam, x) - highest < FLOOR_PRECISION * highest:
                return highest
