"""Learned methods: small networks, trained by ``training/``, run here with onnxruntime alone.

Each is a solver like any other, ``(operator, images, *, options) -> volume``. The weights are in ``etlab/weights``,
each with a model card (JSON) that says on what, how long and how well it was trained. The pieces that chapters take
apart are offered beside the solvers.
"""

from etlab.solvers.learned._cryocare import cryocare
from etlab.solvers.learned._cryocare import half_reconstructions as half_reconstructions
from etlab.solvers.learned._deeprecon import deeprecon
from etlab.solvers.learned._deeprecon import filter_bank as filter_bank
from etlab.solvers.learned._diffusion import Samples, diffusion, diffusion_samples
from etlab.solvers.learned._isonet import SIRT_ITERATIONS as SIRT_ITERATIONS
from etlab.solvers.learned._isonet import filled as filled
from etlab.solvers.learned._isonet import isonet
from etlab.solvers.learned._unrolled import unrolled
from etlab.solvers.learned.network import WeightsError
from etlab.solvers.learned.onepass import dncnn, swin, tomogan, transformer

__all__ = [
    "Samples",
    "WeightsError",
    "cryocare",
    "deeprecon",
    "diffusion",
    "diffusion_samples",
    "dncnn",
    "isonet",
    "swin",
    "tomogan",
    "transformer",
    "unrolled",
]
