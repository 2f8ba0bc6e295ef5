"""All solvers in one table, ``ROWS``, and from it the leaderboard's: ``METHODS[row](operator, images) -> volume``.

Parameters were chosen once, by mean PSNR and SSIM over the four benchmark scenes at the standard preset, on public
seeds only (`etlab.course.scenes.PUBLIC_SEEDS`), for an operator without mismatch; a row's parameters are the same for
all scenes. The learned rows take the weights that come with `etlab`; how those were made, their model cards say.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Traits(NamedTuple):
    """What a reconstruction in slabs along the tilt axis must know of a solver.

    ``overlap`` is the number of slices beside a slab that its own depend on; None for a solver that couples all slices.
    The others are the memory in use at once, as measured, in float32 arrays: ``volumes``, ``stacks`` of images, and a
    network's ``layers``, each of the size of one slice.
    """

    overlap: int | None
    volumes: float
    stacks: float
    layers: float = 0


@dataclass(frozen=True)
class Row:
    """A solver by its name in `etlab.solvers` or `etlab.solvers.learned`, and its options on the leaderboard.

    The weights of a learned solver have its name.
    """

    name: str
    traits: Traits
    options: dict[str, Any] = field(default_factory=dict)
    learned: bool = False

    @property
    def method(self) -> Callable[..., np.ndarray]:
        """Return the function with its options."""
        package = "etlab.solvers.learned" if self.learned else "etlab.solvers"
        function = getattr(importlib.import_module(package), self.name)
        return partial(function, **self.options) if self.options else function


ONE_PASS = Traits(2, 3, 2, 90)
ROWS = {
    # the plain ramp of the textbook; a Hann window gains 0.015 in SSIM and loses 0.1 dB
    "WBP-ET": Row("wbp", Traits(0, 1, 2)),
    # still gaining 0.02 dB an iteration, ever less
    "SIRT-ET": Row("sirt", Traits(0, 1, 2), {"n_iter": 50}),
    # λ from 0.03 to 0.08 loses up to 0.4 dB; after 60 iterations one changes the volume by about 0.1 %
    "CS-ET": Row("tv", Traits(None, 6, 4), {"lam": 0.05, "n_iter": 60}),
    # as good as 60 iterations of SIRT; a smaller relaxation needs more sweeps
    "SART": Row("sart", Traits(0, 1, 2), {"n_iter": 5, "relaxation": 0.2}),
    # oversampling 1.5 or a radius of 0.8 lose 0.4 dB, no resolution suppression 2 dB
    "GENFIRE": Row("genfire", Traits(0, 6, 4), {"n_iter": 50}),
    "DnCNN-ET": Row("dncnn", ONE_PASS, learned=True),
    "cryo-CARE": Row("cryocare", Traits(2, 4, 3, 90), learned=True),
    "TomoGAN": Row("tomogan", ONE_PASS, learned=True),
    "DeepRecon": Row("deeprecon", Traits(1, 18, 6, 90), learned=True),
    # the network's own answer, as in the original; keeping the measured part, noise included, loses up to 1 dB
    "IsoNet": Row("isonet", Traits(2, 5, 2, 90), {"strict": False}, learned=True),
    "TransET": Row("transformer", ONE_PASS, learned=True),
    "SwinET": Row("swin", ONE_PASS, learned=True),
    "PhysET": Row("unrolled", Traits(6, 5, 3, 90), learned=True),
    "DiffET": Row("diffusion", Traits(None, 8, 4, 90), learned=True),
}
LEARNED = {row: one.name for row, one in ROWS.items() if one.learned}
METHODS: dict[str, Callable[..., np.ndarray]]


def __getattr__(name: str) -> object:
    """Make ``METHODS`` on first use: the names of solvers are known without importing them."""
    if name != "METHODS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault("METHODS", {row: one.method for row, one in ROWS.items()})


def described(method: Callable[..., np.ndarray]) -> str:
    """Return a row's solver with the options that differ from its defaults, as one would call it."""
    if not isinstance(method, partial):
        return f"{method.__name__}()"
    options = ", ".join(f"{name}={value!r}" for name, value in sorted(method.keywords.items()))
    return f"{method.func.__name__}({options})"
