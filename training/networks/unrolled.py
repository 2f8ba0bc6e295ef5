"""The network of PhysET, which makes each step of a descent: x ← x + f(x, Aᵀ F (y − A x), step).

It takes five slices of the volume, the same five of the filtered gradient, and a plane that says how far the descent
has come, so one network serves all steps. Its body is that of the dilated DnCNN, but normalised over each slice (Wu &
He, ECCV 2018) and not over the batch: a batch of training holds all steps at once, a step of the descent only one, and
with the statistics of the mixture the trained network failed at the first step.
"""

from __future__ import annotations

from torch import nn

from training.networks.dncnn import DnCNN

GROUPS = 6  # of eight layers each


def unrolled() -> DnCNN:
    """Channels: five of x, five of the gradient, one plane."""
    return DnCNN(5 + 5 + 1, centre=2, width=48, norm=lambda width: nn.GroupNorm(GROUPS, width))
