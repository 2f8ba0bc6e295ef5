"""What every solver shares: checks of its input, the status it reports, a progress bar.

A solver is a plain function ``(operator, images, *, options) -> volume``. It needs ``operator(volume)``,
``operator.T(images)`` and the shapes in ``operator.geometry``; where an operator offers ``sums`` or ``step`` (see
``Projector``) they save memory and give the same result. `wbp` and `genfire` are formulas in the tilt angles, which
they take from ``operator.geometry``; `sart` needs ``operator.subset``, the operator of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from etlab.arrays import aligned_empty, checked
from etlab.operator import BackProjector, Operator


@dataclass(frozen=True)
class Status:
    """What an iterative solver reports after each iteration.

    Parameters
    ----------
    iteration
        Number of the iteration, from 1.
    residual
        ‖A x − y‖ / ‖y‖ of the volume *before* this iteration's update, which costs nothing extra.
    volume
        The current estimate itself, not a copy: read it, do not keep it.

    Examples
    --------
    >>> from etlab import sirt
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> seen = []
    >>> _ = sirt(A, A(truth), n_iter=3, callback=lambda status: seen.append(round(status.residual, 2)))
    >>> seen == sorted(seen, reverse=True), seen[0]
    (True, 1.0)
    """

    iteration: int
    residual: float
    volume: np.ndarray


Callback = Callable[[Status], bool | None]


def iterations(n_iter: int, name: str, progress: bool) -> Iterable[int]:
    """Iterate over 1 … n_iter, with a progress bar if asked. Raises ValueError unless n_iter ≥ 1."""
    if n_iter < 1:
        raise ValueError(f"n_iter: got {n_iter}, expected at least 1")
    return tqdm(range(1, n_iter + 1), desc=name, unit="iteration", disable=not progress)


def checked_images(operator: BackProjector, images: np.ndarray) -> np.ndarray:
    """Return ``images`` as float32, or raise an error naming what is wrong: data are checked once, before the work."""
    return checked("images", images, operator.geometry.images_shape)


def starting_volume(operator: BackProjector, x0: np.ndarray | None) -> np.ndarray:
    """Return a float32 volume that the solver may change: zeros, or a copy of ``x0``."""
    shape = operator.geometry.volume_shape
    volume = aligned_empty(shape)
    volume[:] = 0 if x0 is None else checked("x0", x0, shape)
    return volume


def row_and_column_sums(operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Return A 1 and Aᵀ 1, in any shapes that broadcast against images and volume."""
    if hasattr(operator, "sums"):
        return operator.sums()
    geometry = operator.geometry
    return operator(np.ones(geometry.volume_shape, np.float32)), operator.T(
        np.ones(geometry.images_shape, np.float32)
    )
