"""The matched pair A (projection) and Aᵀ (back-projection) of a single-axis tilt series.

    (A x)[t, s, i] = Σ_{z,y} a(s; y, z) x[z, y, i],      a from ``etlab.reference``, angle θ_t,

and ``T`` applies the same weights transposed, so ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ to rounding. Volumes and images are float32;
weights are worked out in float64. Without numba the explicit matrix of ``etlab.reference`` does the work, slowly.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from etlab.arrays import aligned_empty, checked
from etlab.geometry import TiltGeometry
from etlab.reference import sparse_matrix
from etlab.threads import N_THREADS

try:
    from etlab import kernels
except ImportError:  # e.g. in a browser: Pyodide has no numba
    kernels = None  # type: ignore[assignment]  # a module that may be missing
    warnings.warn(
        "numba is not installed: projections use the sparse matrix, same numbers but slower", stacklevel=2
    )

FEW_SLICES = 8  # below this many slices, running along rows beats running along x
FEW_UPDATES = 4_000_000  # voxels times tilts below which starting threads takes longer than they save


class Projector:
    """Project a volume in parallel beams at every tilt (A), and back-project images with the exact adjoint (Aᵀ).

    ``A(volume)`` gives images and ``A.T(images)`` a volume, for the shapes and angles of ``A.geometry``.

    Parameters
    ----------
    geometry
        Tilts, and the shapes of volume and images.
    n_threads
        Threads to use, by default one for each processor core. Their number does not change the result.

    Notes
    -----
    With the weights a of `etlab.reference`, which interpolate linearly between voxels (Joseph)::

        (A x)[t, s, i] = Σ_{z,y} a(s; y, z) x[z, y, i],     ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ to rounding.

    Volumes and images are float32; the weights are computed in float64.

    References
    ----------
    Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.

    Examples
    --------
    >>> from etlab import TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 30), (16, 16, 8)))
    >>> volume = np.ones((16, 16, 8), np.float32)
    >>> images = A(volume)
    >>> images.shape, float(images[2, 8, 0])  # at 0° a ray crosses 16 voxels
    ((5, 16, 8), 16.0)
    >>> A.T(images).shape
    (16, 16, 8)
    """

    def __init__(self, geometry: TiltGeometry, *, n_threads: int | None = None):
        self.geometry = geometry
        self._check_finite = True
        theta = np.deg2rad(geometry.tilts_deg)
        self._cos, self._sin = np.cos(theta), np.sin(theta)
        if kernels is None:
            self._matrix = sparse_matrix(geometry)
        else:
            self._n_threads = n_threads or N_THREADS

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Project a volume.

        Parameters
        ----------
        volume
            Shape (nz, ny, nx), floating.

        Returns
        -------
        np.ndarray
            Images (n_tilts, n_rows, nx), float32, line integrals in units of one voxel.

        Raises
        ------
        TypeError
            If the dtype is not floating.
        ValueError
            If the shape is wrong, or for NaN or infinity.
        """
        volume = checked("volume", volume, self.geometry.volume_shape, finite=self._check_finite)
        images = aligned_empty(self.geometry.images_shape)
        if kernels is None:
            images[:] = (self._matrix @ volume.reshape(-1, volume.shape[2])).reshape(images.shape)
        elif volume.shape[2] >= FEW_SLICES:
            self._spread(kernels.project, kernels.project_items(images.shape), volume, images)
        else:
            seen = np.empty((volume.shape[2], *images.shape[:2]), np.float32)
            self._spread(kernels.project_slices, len(images), _slices(volume), seen)
            images[:] = np.moveaxis(seen, 0, 2)
        return images

    def T(self, images: np.ndarray) -> np.ndarray:
        """Back-project images: apply the adjoint.

        Parameters
        ----------
        images
            Shape (n_tilts, n_rows, nx), floating.

        Returns
        -------
        np.ndarray
            Volume (nz, ny, nx), float32.

        Raises
        ------
        TypeError
            If the dtype is not floating.
        ValueError
            If the shape is wrong, or for NaN or infinity.
        """
        images = checked("images", images, self.geometry.images_shape, finite=self._check_finite)
        volume = aligned_empty(self.geometry.volume_shape)
        self._backproject(images, volume, np.ones(volume.shape[:2], np.float32), add=False, floor=-np.inf)
        return volume

    def step(
        self, volume: np.ndarray, images: np.ndarray, scale: np.ndarray, *, nonnegative: bool = False
    ) -> None:
        """Update a volume in place: volume ← volume + scale·Aᵀ images, then clip it at 0 if ``nonnegative``.

        This is the update of gradient methods without a second volume in memory.

        Parameters
        ----------
        volume
            Contiguous float32 array (nz, ny, nx), which is changed.
        images
            Shape (n_tilts, n_rows, nx), floating.
        scale
            Factors (nz, ny) or (nz, ny, 1); they do not depend on x.
        nonnegative
            Whether to clip the volume at zero.

        Raises
        ------
        TypeError
            If ``volume`` is not a contiguous float32 array, or ``images`` is not floating.
        ValueError
            If a shape is wrong, or for NaN or infinity.
        """
        images = checked("images", images, self.geometry.images_shape, finite=self._check_finite)
        if volume.dtype != np.float32 or not volume.flags.c_contiguous:
            raise TypeError(
                f"volume: got {volume.dtype}, expected a contiguous float32 array, because it is updated in place"
            )
        checked("volume", volume, self.geometry.volume_shape, finite=self._check_finite)
        scale = np.ascontiguousarray(scale, dtype=np.float32).reshape(volume.shape[:2])
        self._backproject(images, volume, scale, add=True, floor=0.0 if nonnegative else -np.inf)

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return A 1 and Aᵀ 1, the sums of the matrix's rows and columns.

        Returns
        -------
        tuple of np.ndarray
            Shapes (n_tilts, n_rows, 1) and (nz, ny, 1): the sums do not depend on x, so one slice is enough.
        """
        geometry = self.geometry
        lone = Projector(
            TiltGeometry(geometry.tilts_deg, (*geometry.volume_shape[:2], 1), geometry.n_rows),
            n_threads=None if kernels is None else self._n_threads,
        )
        ones = (
            np.ones(lone.geometry.volume_shape, np.float32),
            np.ones(lone.geometry.images_shape, np.float32),
        )
        return lone(ones[0]), lone.T(ones[1])

    def subset(self, tilts: np.ndarray | slice | list[int]) -> Projector:
        """Return the same projector for some of the tilts.

        It is for the inner loops of solvers that take a few tilts at a time and have checked their data: it does not
        look for NaN and infinity, which with a single tilt would take as long as projecting.

        Parameters
        ----------
        tilts
            Indices, a slice or a mask into ``geometry.tilts_deg``.

        Returns
        -------
        Projector
            For these tilts, in the order given.
        """
        chosen = replace(self.geometry, tilts_deg=self.geometry.tilts_deg[tilts])
        few = chosen.n_tilts * np.prod(chosen.volume_shape) < FEW_UPDATES
        subset = Projector(chosen, n_threads=1 if few or kernels is None else self._n_threads)
        subset._check_finite = False
        return subset

    def dot_test(self, seed: int = 0) -> float:
        """Print ⟨A x, y⟩ and ⟨x, Aᵀ y⟩ for random signed x and y, which are equal for a matched pair.

        Signed, because all-positive data hide a mismatch behind their large mean.

        Parameters
        ----------
        seed
            Seed of the random x and y.

        Returns
        -------
        float
            Absolute difference of the two, relative to ‖A x‖·‖y‖.
        """
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(self.geometry.volume_shape, dtype=np.float32)
        y = rng.standard_normal(self.geometry.images_shape, dtype=np.float32)
        ax = self(x)
        forward = np.vdot(ax.astype(np.float64), y)
        adjoint = np.vdot(x, self.T(y).astype(np.float64))
        difference = abs(forward - adjoint) / (np.linalg.norm(ax) * np.linalg.norm(y))
        print(f"⟨A x, y⟩ = {forward:.6f}   ⟨x, Aᵀ y⟩ = {adjoint:.6f}   relative difference {difference:.1e}")
        return float(difference)

    def _backproject(self, images, volume, scale, *, add, floor):
        if kernels is not None and volume.shape[2] >= FEW_SLICES:
            kernel, n_items = kernels.backproject, kernels.backproject_items(volume.shape)
            if len(images) == 1:
                kernel, n_items = kernels.backproject_tilt, len(volume)
            self._spread(kernel, n_items, images, volume, scale, add, np.float32(floor))
            return
        if kernels is None:
            back = (self._matrix.T @ images.reshape(-1, images.shape[2])).reshape(volume.shape)
        else:
            back = np.empty((volume.shape[2], *volume.shape[:2]), np.float32)
            self._spread(kernels.backproject_slices, len(volume), _slices(images), back)
            back = np.moveaxis(back, 0, 2)
        back *= scale[..., None]
        if add:
            back += volume
        np.maximum(back, np.float32(floor), out=volume)

    def _spread(self, kernel, n_items, source, target, *options):
        kernels.spread(kernel, n_items, self._n_threads, source, self._cos, self._sin, target, *options)


def _slices(stack: np.ndarray) -> np.ndarray:
    """Return (…, nx) as nx slices, each in one piece."""
    return np.ascontiguousarray(np.moveaxis(stack, 2, 0))
