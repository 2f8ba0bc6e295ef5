"""What lies under the beads: film and specimen, reconstructed from the pixels that no bead shades, and projected again.

A plane under each bead is a poor model of a textured specimen, and its errors go into φ and g. Tomography knows
better: what a bead hides in one image is seen beside it in others. The pixels in the beads' shadows have no say in
the reconstruction; otherwise errors in the bead's image would be explained by the specimen, and stay. Right under the
bead, where all images are shaded, total variation continues the film.
"""

from __future__ import annotations

import numpy as np

from etlab.operator import Operator
from etlab.solvers import tv

SHADOW = 0.03  # line integral of a bead's image above which a pixel is not used


class Unshaded:
    """An operator whose images are zero where ``seen`` is zero, a mask of their shape. The adjoint is exact."""

    def __init__(self, operator: Operator, seen: np.ndarray):
        self.operator, self.seen, self.geometry = operator, seen, operator.geometry

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Return the images of a volume, with the shaded pixels zero."""
        images = self.operator(volume)
        images *= self.seen
        return images

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the adjoint: shaded pixels do not count."""
        return self.operator.T(images * self.seen)


def background(
    operator: Operator,
    images: np.ndarray,
    bead_images: np.ndarray,
    *,
    x0: np.ndarray | None = None,
    lam: float = 0.05,
    n_iter: int = 60,
) -> tuple[np.ndarray, np.ndarray]:
    """Reconstruct ``images`` less ``bead_images``: the volume (nz, ny, nx), and its images (n_tilts, n_rows, nx).

    ``x0`` is a volume to start from. ``lam`` and ``n_iter`` are those of `etlab.solvers.tv`.
    """
    seen = (bead_images < SHADOW).astype(np.float32)
    volume = tv(Unshaded(operator, seen), (images - bead_images) * seen, lam=lam, n_iter=n_iter, tol=0, x0=x0)
    return volume, operator(volume)
