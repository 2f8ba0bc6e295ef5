"""What solvers need of an operator: it projects, it back-projects, and it knows its geometry.

`Projector`, `TiltSeriesModel`, `DualAxis` and `Turned` are operators, and so is any class of your own with these
members. Three more are optional. With them solvers take less memory or fewer steps; the result is the same:

* ``sums() -> (A 1, Aᵀ 1)``, the sums of the rows and columns, in shapes that broadcast against images and volume;
* ``step(volume, images, scale, *, nonnegative)``, the update volume ← volume + scale·Aᵀ images in place;
* ``subset(tilts)``, the operator of some of the tilts, which `sart` needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from etlab.geometry import TiltGeometry

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


@runtime_checkable
class BackProjector(Protocol):
    """The adjoint alone, which is all that `wbp` and the networks that improve it need.

    Examples
    --------
    >>> from etlab import Projector
    >>> isinstance(Projector(TiltGeometry([0.0], (8, 8, 8))), BackProjector)
    True
    """

    @property
    def geometry(self) -> TiltGeometry:
        """The tilts, and the shapes of volume and images."""

    def T(self, images: np.ndarray, /) -> np.ndarray:
        """Return Aᵀ y: back-project images of shape ``geometry.images_shape``."""


@runtime_checkable
class Operator(BackProjector, Protocol):
    """A linear map A from a volume (nz, ny, nx) to images (n_tilts, n_rows, nx), both float32, with its adjoint Aᵀ.

    Every solver takes one. `Projector`, `TiltSeriesModel` and `DualAxis` are operators, and so is any class of your
    own with ``geometry``, ``__call__`` and ``T``; it need not inherit from this one.

    Notes
    -----
    The pair has to be matched, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩; `Projector.dot_test` measures it.

    Examples
    --------
    >>> from etlab import Projector
    >>> class Twice:
    ...     def __init__(self, operator):
    ...         self.operator, self.geometry = operator, operator.geometry
    ...     def __call__(self, volume):
    ...         return 2 * self.operator(volume)
    ...     def T(self, images):
    ...         return 2 * self.operator.T(images)
    >>> isinstance(Twice(Projector(TiltGeometry([0.0], (8, 8, 8)))), Operator)
    True
    """

    def __call__(self, volume: np.ndarray, /) -> np.ndarray:
        """Return A x: project a volume of shape ``geometry.volume_shape``."""


@runtime_checkable
class HasSums(Operator, Protocol):
    """An operator that knows the sums of its rows and columns, which `sirt` and `sart` would compute otherwise.

    Examples
    --------
    >>> from etlab import Projector
    >>> isinstance(Projector(TiltGeometry([0.0], (8, 8, 8))), HasSums)
    True
    """

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return A 1 and Aᵀ 1, in shapes that broadcast against images and volume."""


@runtime_checkable
class HasStep(Operator, Protocol):
    """An operator that updates a volume in place, which spares `sirt` and `sart` a second volume in memory.

    Examples
    --------
    >>> from etlab import Projector
    >>> isinstance(Projector(TiltGeometry([0.0], (8, 8, 8))), HasStep)
    True
    """

    def step(
        self, volume: np.ndarray, images: np.ndarray, scale: np.ndarray, *, nonnegative: bool = False
    ) -> None:
        """Update volume ← volume + scale·Aᵀ images, clipped at zero if asked; ``scale`` does not depend on x."""


@runtime_checkable
class HasSubset(Operator, Protocol):
    """An operator that can be restricted to some of its tilts, which `sart` needs.

    Examples
    --------
    >>> from etlab import Projector
    >>> A = Projector(TiltGeometry([-30.0, 0.0, 30.0], (8, 8, 8)))
    >>> isinstance(A, HasSubset), A.subset([0, 2]).geometry.tilts_deg.tolist()
    (True, [-30.0, 30.0])
    """

    def subset(self, tilts: np.ndarray | slice | list[int], /) -> Operator:
        """Return the operator of these tilts: indices, a slice or a mask."""


def as_linear_operator(operator: Operator) -> LinearOperator:
    """Return an operator as SciPy's `LinearOperator`, so that solvers of SciPy or PyLops run on it.

    Parameters
    ----------
    operator
        From volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of shape (n_tilts·n_rows·nx, nz·ny·nx) and dtype float32, for flattened volumes and images.

    Examples
    --------
    >>> from scipy.sparse.linalg import lsqr
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 5), (16, 16, 1)))
    >>> x = np.zeros((16, 16, 1), np.float32)
    >>> x[4:9, 6:12] = 1
    >>> found = lsqr(as_linear_operator(A), A(x).ravel(), iter_lim=100)[0].reshape(x.shape)
    >>> bool(abs(A(found.astype(np.float32)) - A(x)).max() < 0.02)
    True
    """
    from scipy.sparse.linalg import LinearOperator

    geometry = operator.geometry

    def matvec(volume):
        return operator(np.asarray(volume, np.float32).reshape(geometry.volume_shape)).ravel()

    def rmatvec(images):
        return operator.T(np.asarray(images, np.float32).reshape(geometry.images_shape)).ravel()

    shape = int(np.prod(geometry.images_shape)), int(np.prod(geometry.volume_shape))
    return LinearOperator(shape, matvec=matvec, rmatvec=rmatvec, dtype=np.float32)
