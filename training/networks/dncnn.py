"""DnCNN, dilated: a plain stack of convolutions that predicts the error of the slice in the middle.

Zhang et al., IEEE Trans. Image Process. 26 (2017) 3142. A reconstruction's streaks run across the whole slice, so the
stack must see all of it: it works at half the resolution with dilations 1, 2, 3, 4, 4, 3, 2, 1 (Zhang et al., CVPR
2017, 2808), together 90 voxels wide. Eight plain convolutions at full resolution would see 17.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from training.networks import double, halve

DILATIONS = (1, 2, 3, 4, 4, 3, 2, 1)


class DnCNN(nn.Module):
    """``channels`` in, of which number ``centre`` is the slice to be corrected; ``norm(width)`` is in each layer."""

    multiple = 2

    def __init__(
        self,
        channels: int = 5,
        *,
        centre: int = 2,
        width: int = 48,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.channels, self.centre = channels, centre
        layers: list[nn.Module] = [halve(channels, width), nn.ReLU()]
        for dilation in DILATIONS:
            # no bias: the normalisation behind it brings its own
            convolution = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [convolution, norm(width), nn.ReLU()]
        self.correction = nn.Sequential(*layers, double(width, start_at_zero=True))

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, channels, nz, ny) -> (n, 1, nz, ny)."""
        return slices[:, self.centre : self.centre + 1] + self.correction(slices)
