"""The adversary of TomoGAN: says of every patch of a slice whether it looks true. Needed for training only."""

from __future__ import annotations

from torch import nn


def critic(width: int = 32) -> nn.Sequential:
    """(n, 1, nz, ny) -> (n, 1, nz/8, ny/8): near 1 where it takes the patch for true, near 0 where not."""
    layers: list[nn.Module] = []
    for channels, out in ((1, width), (width, 2 * width), (2 * width, 3 * width)):
        layers += [nn.Conv2d(channels, out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(3 * width, 1, 3, padding=1))
