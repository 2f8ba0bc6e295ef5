"""The matched pair A (projection) and Aᵀ (back-projection)."""

from __future__ import annotations

import numpy as np

from etlab.geometry import TiltGeometry
from etlab.reference import sparse_matrix


class Projector:
    """Parallel projection of a volume at every tilt, and its exact adjoint."""

    def __init__(self, geometry: TiltGeometry):
        self.geometry = geometry
        self._matrix = sparse_matrix(geometry)

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Project: volume (nz, ny, nx) -> images (n_tilts, n_rows, nx), float32."""
        flat = volume.reshape(-1, volume.shape[2])
        return (self._matrix @ flat).reshape(self.geometry.images_shape).astype(np.float32)

    def T(self, images: np.ndarray) -> np.ndarray:
        """Back-project: images (n_tilts, n_rows, nx) -> volume (nz, ny, nx), float32."""
        flat = images.reshape(-1, images.shape[2])
        return (self._matrix.T @ flat).reshape(self.geometry.volume_shape).astype(np.float32)
