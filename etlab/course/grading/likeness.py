"""Which of the known mistakes an answer looks like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-4  # relative; leaves room for a float32 implementation


def alike(one: ArrayLike, other: ArrayLike, within: float = ROUNDING) -> bool:
    """Return whether two arrays or numbers are the same but for a relative difference of ``within``."""
    return np.shape(one) == np.shape(other) and bool(
        np.linalg.norm(np.subtract(one, other)) <= within * np.linalg.norm(other)
    )


def nearest(misses: Mapping[str, float]) -> str:
    """Return the name of the case that an answer misses least."""
    return min(misses, key=lambda name: misses[name])


def sentence(mistake: str) -> str:
    """Return the sentence that names a mistake."""
    return f"This is what one gets when {mistake}."
