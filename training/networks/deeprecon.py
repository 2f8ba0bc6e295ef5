"""The network of the end-to-end row: back-projections of the bands of a filter bank -> the slice.

A learned filter of the images is a weighted sum of bands, and back-projection is linear, so weighting the bands after
back-projection is the same as filtering the images before it. The first layer holds these weights, those of several
filters at once; a U-Net works on what they give. The idea is that of iRadonMAP (He et al., IEEE Trans. Med.
Imaging 39 (2020) 2076), whose filter and back-projection are learned too.
"""

from __future__ import annotations

import torch
from torch import nn

from training.networks.unet import UNet

BANDS = 8
NEIGHBOURS = 3


class DeepRecon(nn.Module):
    """Channels: for each band, three slices of its back-projection; together the bands are the plain ramp."""

    multiple = UNet.multiple

    def __init__(self, *, filters: int = 4):
        super().__init__()
        self.channels = BANDS * NEIGHBOURS
        self.filters = nn.Parameter(torch.ones(filters, BANDS))  # all begin as the ramp
        with torch.no_grad():
            self.filters[1:] += 0.5 * torch.randn(filters - 1, BANDS)
        self.body = UNet(filters * NEIGHBOURS, centre=NEIGHBOURS // 2)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, bands · 3, nz, ny) -> (n, 1, nz, ny)."""
        bands = slices.unflatten(1, (BANDS, NEIGHBOURS))
        filtered = torch.einsum("fb,nbszy->nfszy", self.filters, bands)
        return self.body(filtered.flatten(1, 2))
