"""Swin: attention within windows of 8 × 8, which every second layer shifts by half a window.

Liu et al., ICCV 2021, in the arrangement of SwinIR (Liang et al., ICCVW 2021): window, shifted window, convolution,
with a short cut round the three. Shifted windows reach beyond the slice; there its border values are repeated, which
needs no mask.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from training.networks import attention, double, halve

WINDOW = 8


class Swin(nn.Module):
    """Three groups of (window, shifted window, convolution), width 48, at half the resolution."""

    multiple = 2 * WINDOW

    def __init__(self, channels: int = 5, *, width: int = 48, heads: int = 4, groups: int = 3):
        super().__init__()
        self.channels, self.centre = channels, channels // 2
        self.enter = halve(channels, width)
        self.groups = nn.ModuleList(
            [
                nn.Sequential(
                    WindowLayer(width, heads, shifted=False),
                    WindowLayer(width, heads, shifted=True),
                    ChannelsLastConv(width),
                )
                for _ in range(groups)
            ]
        )
        self.leave = double(width, start_at_zero=True)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, channels, nz, ny) -> (n, 1, nz, ny)."""
        entered = self.enter(slices)
        features = entered.permute(0, 2, 3, 1)  # (n, rows, columns, width) from here on
        for group in self.groups:
            features = features + group(features)
        return slices[:, self.centre : self.centre + 1] + self.leave(entered + features.permute(0, 3, 1, 2))


class WindowLayer(nn.Module):
    """Attention within each window, with a learned bias for every offset, then a perceptron."""

    def __init__(self, width: int, heads: int, *, shifted: bool):
        super().__init__()
        self.heads, self.margin = heads, WINDOW // 2 if shifted else 0
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("offsets", offsets(), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, rows, columns, width) -> the same."""
        features = features + self.attended(self.before_attention(features))
        return features + self.perceptron(self.before_perceptron(features))

    def attended(self, features: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values of each window, and what attention makes of them."""
        n, width, margin = features.shape[0], features.shape[3], self.margin
        if margin:
            padded = F.pad(features.permute(0, 3, 1, 2), (margin,) * 4, mode="replicate")
            features = padded.permute(0, 2, 3, 1)
        down, across = features.shape[1] // WINDOW, features.shape[2] // WINDOW
        windows = features.reshape(n, down, WINDOW, across, WINDOW, width).permute(0, 1, 3, 2, 4, 5)
        tokens = windows.reshape(-1, WINDOW**2, width)
        heads = self.queries_keys_values(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads.unbind(0)
        bias = self.bias[self.offsets].permute(2, 0, 1).to(queries.dtype)
        mixed = attention(queries, keys, values, bias)
        tokens = self.out(mixed.transpose(1, 2).flatten(2))
        windows = tokens.reshape(n, down, across, WINDOW, WINDOW, width).permute(0, 1, 3, 2, 4, 5)
        features = windows.reshape(n, down * WINDOW, across * WINDOW, width)
        if margin:
            features = features[:, margin:-margin, margin:-margin]
        return features


class ChannelsLastConv(nn.Module):
    """A convolution of 3 × 3 on (n, rows, columns, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, rows, columns, width) -> the same."""
        return self.convolution(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def offsets() -> torch.Tensor:
    """For each pair of places in a window, the number of the offset between them: (64, 64)."""
    place = torch.arange(WINDOW**2)
    row, column = place // WINDOW, place % WINDOW
    down = row[:, None] - row[None, :] + WINDOW - 1
    across = column[:, None] - column[None, :] + WINDOW - 1
    return down * (2 * WINDOW - 1) + across
