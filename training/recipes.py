"""The table of networks: what is trained how. ``python -m training.train NAME`` takes a name from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from training.networks.dncnn import DnCNN
from training.networks.swin import Swin
from training.networks.transformer import Transformer
from training.networks.unet import UNet
from training.objectives import Noise2Noise, Supervised

WEDGE = (
    "Knows simulated specimens of four families, densities 0 to 1, tilts of ±70° in steps of 2°, one dose and no "
    "mismatch. What lies in the missing wedge is a guess from these specimens. Other specimens, tilts, doses or a "
    "mismatch: untested unless a table of the course says otherwise."
)
HALVES = (
    "Removes noise only: the missing wedge stays, and with it every artefact that both halves of the tilts share. "
    "Knows the noise of half of the benchmark's tilts at its dose."
)


@dataclass(frozen=True)
class Recipe:
    """A network, what it is asked for, its highest learning rate, and what its card says of its limits."""

    about: str
    network: Callable[[], nn.Module]
    objective: Callable = Supervised
    rate: float = 2e-3
    limits: str = WEDGE


RECIPES: dict[str, Recipe] = {
    "dncnn": Recipe("DnCNN, dilated: residual of the back-projection", DnCNN),
    "cryocare": Recipe(
        "cryo-CARE: U-Net from half of the tilts to the other half", UNet, Noise2Noise, limits=HALVES
    ),
    "transformer": Recipe("vision transformer on patches of 4 × 4 voxels", Transformer, rate=1.5e-3),
    "swin": Recipe("attention in shifted windows of 8 × 8", Swin),
}
