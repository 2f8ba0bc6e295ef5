"""The table of networks: what is trained how. ``python -m training.train NAME`` takes a name from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from training.adversarial import Adversarial
from training.filter_bank import FilterBank
from training.isotropy import Isotropy
from training.networks.deeprecon import DeepRecon
from training.networks.diffusion import Diffusion
from training.networks.dncnn import DnCNN
from training.networks.swin import Swin
from training.networks.transformer import Transformer
from training.networks.unet import UNet
from training.networks.unrolled import unrolled
from training.objectives import Denoising, Noise2Noise, Supervised
from training.step_by_step import StepByStep

STEPS = 2400  # of all rows but one: what is compared had as many batches to learn from
PRECISION = "bfloat16"  # of them, too

WEDGE = (
    "Knows simulated specimens of four families, densities 0 to 1, tilts of ±70° in steps of 2°, one dose and no "
    "mismatch. What lies in the missing wedge is a guess from these specimens. Other specimens, tilts, doses or a "
    "mismatch: untested unless a table of the course says otherwise."
)
HALVES = (
    "Removes noise only: the missing wedge stays, and with it every artefact that both halves of the tilts share. "
    "Knows the noise of half of the benchmark's tilts at its dose."
)
PRIOR = (
    "Knows clean simulated specimens of four families, densities 0 to 1, and no tomography: any tilts and dose will "
    "do. Where the data do not decide, it answers with what these families look like."
)
ISOTROPY = (
    "Assumes that specimens look alike in all directions. Knows the benchmark's tilts and dose. Never saw a truth; its "
    "answers in the missing wedge are a guess all the same."
)


@dataclass(frozen=True)
class Recipe:
    """A network, what it is asked for, its highest learning rate, its steps, and what its card says of its limits."""

    about: str
    network: Callable[[], nn.Module]
    objective: Callable = Supervised
    rate: float = 2e-3
    steps: int = STEPS
    limits: str = WEDGE


RECIPES: dict[str, Recipe] = {
    "dncnn": Recipe("DnCNN, dilated: residual of the back-projection", DnCNN),
    "cryocare": Recipe(
        "cryo-CARE: U-Net from half of the tilts to the other half", UNet, Noise2Noise, limits=HALVES
    ),
    "transformer": Recipe("vision transformer on patches of 4 × 4 voxels", Transformer, rate=1.5e-3),
    "swin": Recipe("attention in shifted windows of 8 × 8", Swin),
    "unrolled": Recipe("three steps of a learned descent on the data", unrolled, StepByStep, rate=1e-3),
    "diffusion": Recipe(
        "denoiser of slices, the prior of a diffusion sampler", Diffusion, Denoising, limits=PRIOR
    ),
    "isonet": Recipe("IsoNet: U-Net that fills the missing wedge", UNet, Isotropy, limits=ISOTROPY),
    "tomogan": Recipe("TomoGAN: U-Net on the back-projection, with a critic", UNet, Adversarial),
    # four times the steps: as long on a processor as the attention networks take for theirs, to show what that gives
    "deeprecon": Recipe("end to end: learned filters, Aᵀ, U-Net", DeepRecon, FilterBank, steps=4 * STEPS),
}
