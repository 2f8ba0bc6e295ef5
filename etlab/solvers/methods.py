"""The rows of the leaderboard as ready calls: ``METHODS[name](operator, images) -> volume``.

Parameters were chosen once, by mean PSNR and SSIM over the four benchmark scenes at the standard preset, on public
seeds only (`etlab.course.scenes.PUBLIC_SEEDS`), for an operator without mismatch; a row's parameters are the same for
all scenes. The learned rows take the weights that come with `etlab`; how those were made, their model cards say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from etlab.solvers import learned
from etlab.solvers._genfire import genfire
from etlab.solvers._sart import sart
from etlab.solvers._sirt import sirt
from etlab.solvers._tv import tv
from etlab.solvers._wbp import wbp

METHODS: dict[str, Callable[..., np.ndarray]] = {
    # the plain ramp of the textbook; a Hann window gains 0.015 in SSIM and loses 0.1 dB
    "WBP-ET": wbp,
    # still gaining 0.02 dB an iteration, ever less
    "SIRT-ET": partial(sirt, n_iter=50),
    # λ from 0.03 to 0.08 loses up to 0.4 dB; after 60 iterations one changes the volume by about 0.1 %
    "CS-ET": partial(tv, lam=0.05, n_iter=60),
    # as good as 60 iterations of SIRT; a smaller relaxation wants more sweeps
    "SART": partial(sart, n_iter=5, relaxation=0.2),
    # oversampling 1.5 or a radius of 0.8 lose 0.4 dB, no resolution suppression 2 dB
    "GENFIRE": partial(genfire, n_iter=50),
}

LEARNED = {  # row: solver and weight file of that name
    "DnCNN-ET": "dncnn",
    "cryo-CARE": "cryocare",
    "TomoGAN": "tomogan",
    "DeepRecon": "deeprecon",
    "IsoNet": "isonet",
    "TransET": "transformer",
    "SwinET": "swin",
    "PhysET": "unrolled",
    "DiffET": "diffusion",
}
METHODS |= {row: getattr(learned, name) for row, name in LEARNED.items()}
# the network's own answer, as the original gives it; keeping what was measured, noise and all, loses up to 1 dB
METHODS["IsoNet"] = partial(learned.isonet, strict=False)


def described(method: Callable[..., np.ndarray]) -> str:
    """Return a row's solver with the options that differ from its defaults, as one would call it."""
    if not isinstance(method, partial):
        return f"{method.__name__}()"
    options = ", ".join(f"{name}={value!r}" for name, value in sorted(method.keywords.items()))
    return f"{method.func.__name__}({options})"
