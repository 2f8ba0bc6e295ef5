"""Statistics of more values than fit into memory."""

from __future__ import annotations

import math

import numpy as np


class Statistics:
    """Minimum, maximum, mean and standard deviation of all values added."""

    def __init__(self) -> None:
        self.min, self.max = math.inf, -math.inf
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Add an array. Source: Chan, Golub & LeVeque, Am. Stat. 37 (1983) 242."""
        mean = float(values.mean(dtype=np.float64))
        squares = float(values.var(dtype=np.float64)) * values.size
        total = self.count + values.size
        self._squares += squares + (mean - self.mean) ** 2 * self.count * values.size / total
        self.mean += (mean - self.mean) * values.size / total
        self.count = total
        self.min, self.max = min(self.min, float(values.min())), max(self.max, float(values.max()))

    @property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(self._squares / self.count)
