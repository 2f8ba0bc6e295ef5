"""U-Net: convolutions at a half, a quarter and an eighth of the resolution, with short cuts between equals.

Ronneberger et al., MICCAI 2015. Shared by cryo-CARE, IsoNet and TomoGAN, which differ in what they are trained for,
and with an extra channel by the diffusion prior.
"""

from __future__ import annotations

import torch
from torch import nn

from training.networks import double, halve

WIDTHS = (40, 64, 96)


class UNet(nn.Module):
    """``channels`` in, of which number ``centre`` is the slice to be corrected."""

    multiple = 8

    def __init__(self, channels: int = 5, *, centre: int = 2, widths: tuple[int, int, int] = WIDTHS):
        super().__init__()
        self.channels, self.centre = channels, centre
        self.correction = UNetBody(channels, widths)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, channels, nz, ny) -> (n, 1, nz, ny)."""
        return slices[:, self.centre : self.centre + 1] + self.correction(slices)


class UNetBody(nn.Module):
    """(n, channels, nz, ny) -> (n, 1, nz, ny), zero before training."""

    def __init__(self, channels: int, widths: tuple[int, int, int]):
        super().__init__()
        top, middle, bottom = widths
        self.enter = nn.Sequential(halve(channels, top), nn.ReLU(), block(top, top))
        self.down_middle = nn.Sequential(nn.MaxPool2d(2), block(top, middle), block(middle, middle))
        self.down_bottom = nn.Sequential(nn.MaxPool2d(2), block(middle, bottom), block(bottom, bottom))
        self.up_middle = double(bottom, middle)
        self.join_middle = nn.Sequential(block(2 * middle, middle), block(middle, middle))
        self.up_top = double(middle, top)
        self.join_top = nn.Sequential(block(2 * top, top), block(top, top))
        self.leave = double(top, start_at_zero=True)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Down, up, and the short cuts."""
        top = self.enter(slices)
        middle = self.down_middle(top)
        bottom = self.down_bottom(middle)
        middle = self.join_middle(torch.cat([middle, self.up_middle(bottom)], dim=1))
        top = self.join_top(torch.cat([top, self.up_top(middle)], dim=1))
        return self.leave(top)


def block(channels: int, width: int) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )
