"""Rotary position embedding of tokens that lie on a grid of rows and columns (2-D RoPE).

The first half of a head's channels is turned by the row of the token, the second half by its
column. In a half of 2q channels, channel j is paired with channel j + q, and the pair is turned by
position * base ** (-j / q). A dot product of two turned vectors then depends on the difference of
their positions only.
"""

from typing import NamedTuple

import torch


class RotaryTables(NamedTuple):
    """Cosines and signed sines `(L, 1, D)` of `L` tokens, for heads of width `D`."""

    cosine: torch.Tensor
    sine: torch.Tensor


def rotary_tables(
    rows: int,
    columns: int,
    head_width: int,
    base: float,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> RotaryTables:
    """Return the tables of a grid of `rows` x `columns` tokens, row by row.

    Parameters
    ----------
    rows, columns : tokens of one view
    head_width : channels of an attention head, a multiple of 4
    base : as above
    device, dtype : of the tables; angles are computed in float32 at least
    """
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    pairs = head_width // 4
    rates = base ** (-torch.arange(pairs, dtype=exact, device=device) / pairs)
    row = torch.arange(rows, dtype=exact, device=device)[:, None].expand(rows, columns)
    column = torch.arange(columns, dtype=exact, device=device)[None, :].expand(rows, columns)
    positions = torch.stack([row, column], dim=-1).reshape(-1, 2)
    angles = positions[:, :, None] * rates  # (L, 2, pairs)
    cosine, sine = angles.cos(), angles.sin()
    return RotaryTables(
        torch.stack([cosine, cosine], dim=2).reshape(-1, 1, head_width).to(dtype),
        torch.stack([-sine, sine], dim=2).reshape(-1, 1, head_width).to(dtype),
    )


def rotate(vectors: torch.Tensor, tables: RotaryTables) -> torch.Tensor:
    """Return `(..., L, heads, D)` vectors turned by the positions of their tokens."""
    width = vectors.shape[-1]
    pairs = vectors.reshape(*vectors.shape[:-1], 2, 2, width // 4)
    partners = pairs.flip(-2).flatten(-3)
    # autocast would otherwise leave queries and values of different types
    return (vectors * tables.cosine + partners * tables.sine).to(vectors.dtype)
