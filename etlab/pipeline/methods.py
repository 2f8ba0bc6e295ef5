"""Solvers by name, their options, and what a reconstruction in slabs along the tilt axis must know of them.

Slices across the tilt axis are independent of each other for as long as a method does nothing but project, back-project
and what it does voxel by voxel. Networks look at a few neighbours of a slice; a slab with as many more slices on either
side, cut off again, is then the same as from the whole volume. Total variation passes from slice to slice without end,
and a diffusion draws noise for the whole volume; of these, slabs with any overlap are only an approximation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from etlab.operator import Operator
from etlab.solvers.methods import METHODS, ROWS, Traits

IN_DENSITIES = {"lam": 1, "dose": -1}  # options that scale with a power of the specimen's density
SART_STEPS = 300  # images that SART goes through at least: its five sweeps over 60 tilts
NOT_OPTIONS = {"callback", "progress", "x0", "support", "order"}  # arrays, and what a run sets itself


SOLVERS = {one.name: METHODS[row] for row, one in ROWS.items()}
TRAITS = {one.name: one.traits for one in ROWS.values()}


@dataclass(frozen=True)
class Method:
    """A solver with its options, and what a reconstruction in slabs must know of it.

    Parameters
    ----------
    name
        Name of the solver, as in `etlab.solvers`: "wbp", "sirt", "tv", …
    options
        Keyword arguments of the solver. Those of its row on the leaderboard are the defaults.

    Raises
    ------
    ValueError
        For an unknown solver, or an option that the solver does not have.

    Examples
    --------
    >>> method = Method("tv", {"n_iter": 20})
    >>> print(method)
    tv(lam=0.05, n_iter=20)
    >>> method.traits.overlap is None  # it couples all slices
    True
    """

    name: str
    options: dict[str, Any]

    def __post_init__(self) -> None:
        if self.name not in SOLVERS:
            raise ValueError(f"method: got {self.name!r}, expected one of {', '.join(SOLVERS)}")
        for name in self.options:
            if name not in self.allowed:
                raise ValueError(
                    f"{self.name}: no option {name!r}, expected one of {', '.join(self.allowed)}"
                )
        defaults = self.solver.keywords if isinstance(self.solver, partial) else {}
        object.__setattr__(self, "options", {**defaults, **self.options})

    def for_tilts(self, n_tilts: int) -> Method:
        """Return this method; of SART with as many sweeps as make up for few tilts, as a sweep is a step an image."""
        if self.name != "sart":
            return self
        sweeps = max(self.options["n_iter"], round(SART_STEPS / n_tilts))
        return Method(self.name, self.options | {"n_iter": sweeps})

    @property
    def knows_density(self) -> bool:
        """Whether an option of the solver depends on the unit of density."""
        return any(name in self.allowed for name in (*IN_DENSITIES, "scale"))

    def in_units_of(self, density: float) -> Method:
        """Return this method with the options that depend on the unit of density converted from units of ``density``.

        ``lam`` is then a share of the density, ``dose`` is counts per line integral of one voxel of it, and it is what
        a network takes for 1: the volume of a series that is multiplied by a number is multiplied by that number.
        """
        defaults = inspect.signature(self.solver).parameters
        options = {"scale": density} if "scale" in self.allowed else {}
        for name, power in IN_DENSITIES.items():
            if name in self.allowed:
                value = self.options.get(name, defaults[name].default)
                options[name] = value * density**power if isinstance(value, int | float) else value
        return Method(self.name, self.options | options)

    @property
    def solver(self) -> Callable:
        """The function ``(operator, images, *, options) -> volume``."""
        return SOLVERS[self.name]

    @property
    def allowed(self) -> list[str]:
        """Names of its options."""
        known = inspect.signature(self.solver).parameters.values()
        return [one.name for one in known if one.kind is one.KEYWORD_ONLY and one.name not in NOT_OPTIONS]

    @property
    def traits(self) -> Traits:
        """What a reconstruction in slabs must know of the solver."""
        return TRAITS[self.name]

    @property
    def n_iter(self) -> int:
        """How often the solver calls back, if known, else 1."""
        return int(self.options.get("n_iter", 1))

    def __call__(self, operator: Operator, images: np.ndarray, callback: Callable) -> np.ndarray:
        """Reconstruct a volume from images; solvers that iterate call ``callback(status)``."""
        reports = "callback" in inspect.signature(self.solver).parameters
        return self.solver(operator, images, **self.options, **({"callback": callback} if reports else {}))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options.items())})"
