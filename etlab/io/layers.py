"""Gather planes until a layer of blocks, which are several planes deep, is full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CHUNK = (16, 128, 128)  # planes, rows and columns of a block: 1 MB of float32


class Layers:
    """Take planes in any number, and call ``write(start, planes)`` once for each ``depth`` of them.

    The last layer may be thinner.
    """

    def __init__(
        self, shape: tuple[int, int, int], depth: int, write: Callable[[int, np.ndarray], None]
    ) -> None:
        self._n_planes = shape[0]
        self._waiting = np.empty((depth, *shape[1:]), np.float32)
        self._write = write
        self._n_taken = 0

    def append(self, planes: np.ndarray) -> None:
        """Add the next planes, ``[z, y, x]``."""
        for plane in planes:
            in_layer = self._n_taken % len(self._waiting)
            self._waiting[in_layer] = plane
            self._n_taken += 1
            if in_layer + 1 == len(self._waiting) or self._n_taken == self._n_planes:
                self._write(self._n_taken - in_layer - 1, self._waiting[: in_layer + 1])
