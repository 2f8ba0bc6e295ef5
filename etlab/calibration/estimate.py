"""What is sought, and one number found from data: its value, how far off it may be, what was tried on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from etlab.forward import Mismatch

PARAMETERS = tuple(parameter.name for parameter in fields(Mismatch))


@dataclass(frozen=True, eq=False)
class Estimate:
    """``value`` ± ``std`` (68 %; infinite when the data do not tell), with the ``losses`` of the ``trials``."""

    value: float
    std: float
    trials: np.ndarray = field(default_factory=lambda: np.empty(0))
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))
