"""The networks, one file each. All take slices (n, channels, nz, ny) and return (n, 1, nz, ny), of any size that is a
multiple of their ``multiple``.

Most of the work is done at half the resolution. The way down is one convolution of 6 × 6 at stride 2, the same as
splitting every 2 × 2 voxels into four channels (``pixel_unshuffle``) and a convolution of 3 × 3. It is written like
this because the ONNX exporter of PyTorch 2.13 gets the order of channels wrong in ``pixel_unshuffle``, silently.
"""

from __future__ import annotations

import torch
from torch import nn


def halve(channels: int, width: int) -> nn.Conv2d:
    """Slices to half the resolution, ``width`` channels."""
    return nn.Conv2d(channels, width, 6, stride=2, padding=2)


def double(width: int, channels: int = 1, *, start_at_zero: bool = False) -> nn.Sequential:
    """Back to twice the resolution. ``start_at_zero``: an untrained network changes nothing."""
    convolution = nn.Conv2d(width, 4 * channels, 3, padding=1)
    if start_at_zero:
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.PixelShuffle(2))


def n_parameters(network: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Return what each query takes from the values, all (…, tokens, width); ``bias`` is added to the likenesses.

    Written out because PyTorch's own is slower on a processor, as is its softmax where autocast widens it.
    """
    likeness = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + bias
    with torch.autocast(queries.device.type, enabled=False):
        return likeness.softmax(dim=-1) @ values
