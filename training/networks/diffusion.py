"""The denoiser of a diffusion prior: three noisy slices and a plane of their noise σ -> the clean slice in the middle.

    D(x, σ) = c_skip·x + c_out·f(c_in·x, ln σ)

with factors that keep what f takes and gives at unit variance for every σ: Karras et al., NeurIPS 2022, table 1.
"""

from __future__ import annotations

import torch
from torch import nn

from training.networks.unet import UNetBody

SIGMA_DATA = (
    0.14  # about the standard deviation of the densities of a scene: 0.12 to 0.15 in the four families
)
NEIGHBOURS = 3


class Diffusion(nn.Module):
    """Channels: three noisy slices, and σ."""

    multiple = 8

    def __init__(self, *, widths: tuple[int, int, int] = (40, 64, 96)):
        super().__init__()
        self.channels = NEIGHBOURS + 1
        self.body = UNetBody(NEIGHBOURS + 1, widths)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, 3 + 1, nz, ny) -> (n, 1, nz, ny)."""
        noisy, sigma = slices[:, :NEIGHBOURS], slices[:, NEIGHBOURS:]
        centre = noisy[:, NEIGHBOURS // 2 : NEIGHBOURS // 2 + 1]
        variance = sigma**2 + SIGMA_DATA**2
        scaled = torch.cat([noisy / variance.sqrt(), sigma.log() / 4], dim=1)
        return SIGMA_DATA**2 / variance * centre + sigma * SIGMA_DATA / variance.sqrt() * self.body(scaled)
