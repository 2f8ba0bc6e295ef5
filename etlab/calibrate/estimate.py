"""One number found from data: its value, how far off it may be, and what was tried on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Estimate:
    """``value`` ± ``std`` (68 %; infinite when the data do not tell), with the ``losses`` of the ``trials``."""

    value: float
    std: float
    trials: np.ndarray = field(default_factory=lambda: np.empty(0))
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))
