"""Vision transformer: patches of 4 × 4 voxels, each attending to all others of its slice.

Dosovitskiy et al., ICLR 2021, with a convolutional stem and a short cut round the patches, which keep no detail. Where
a patch is enters as a rotation of queries and keys by an angle proportional to its position (Su et al.,
Neurocomputing 568 (2024) 127063), so attention depends on the distance between patches and slices may have any size.
"""

from __future__ import annotations

import torch
from torch import nn

from training.networks import attention, double, halve

SLOWEST = 64  # the lowest frequency turns by one radian in so many patches, the highest in one


class Transformer(nn.Module):
    """Five pre-norm layers of width 96 on (nz/4)·(ny/4) tokens."""

    multiple = 4

    def __init__(
        self, channels: int = 5, *, stem: int = 32, width: int = 96, heads: int = 4, layers: int = 5
    ):
        super().__init__()
        self.channels, self.centre = channels, channels // 2
        self.stem = nn.Sequential(halve(channels, stem), nn.GELU())
        self.patches = nn.Conv2d(stem, width, 4, stride=2, padding=1)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.unpatch = double(width, stem)
        self.join = nn.Sequential(nn.Conv2d(stem, stem, 3, padding=1), nn.GELU())
        self.leave = double(stem, start_at_zero=True)
        quarter = width // heads // 4
        self.register_buffer(
            "frequencies", SLOWEST ** (-torch.arange(quarter) / (quarter - 1)), persistent=False
        )

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """(n, channels, nz, ny) -> (n, 1, nz, ny)."""
        stem = self.stem(slices)
        patches = self.patches(stem)
        rows, columns = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2)
        angles = self.angles(rows, columns)
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            tokens = layer(tokens, cos, sin)
        patches = self.norm(tokens).transpose(1, 2).unflatten(2, (rows, columns))
        return slices[:, self.centre : self.centre + 1] + self.leave(self.join(stem + self.unpatch(patches)))

    def angles(self, rows: int, columns: int) -> torch.Tensor:
        """(tokens, half a head's width): the row times each frequency, then the column times each."""
        device = self.frequencies.device
        row = torch.arange(rows, device=device)[:, None, None] * self.frequencies
        column = torch.arange(columns, device=device)[None, :, None] * self.frequencies
        both = torch.cat([row.expand(-1, columns, -1), column.expand(rows, -1, -1)], dim=2)
        return both.flatten(0, 1)


class Layer(nn.Module):
    """Attention of every token to all, then a perceptron; both behind a normalisation and beside a short cut."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """(n, tokens, width) -> the same."""
        projected = self.queries_keys_values(self.before_attention(tokens))
        heads = projected.unflatten(2, (3, self.heads, -1)).permute(
            2, 0, 3, 1, 4
        )  # (3, n, heads, tokens, width)
        queries, keys, values = heads.unbind(0)
        attended = attention(turned(queries, cos, sin), turned(keys, cos, sin), values)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return tokens + self.perceptron(self.before_perceptron(tokens))


def turned(vectors: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Return each pair (first half, second half) of a token's components turned by the token's angles."""
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
