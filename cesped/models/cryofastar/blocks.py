"""Transformer blocks of encoder and decoder; views stay apart except in cross-attention.

Tokens of several views are `(B, V, L, C)`: sample, view, token, channel. All linear layers see
them as one batch; no loop runs over views.
"""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from .rotary import RotaryTables, rotate

_EPSILON = 1e-6


def layer_norm(width: int) -> nn.LayerNorm:
    """Return the normalisation that is used everywhere."""
    return nn.LayerNorm(width, eps=_EPSILON)


class SelfAttention(nn.Module):
    """Attention among the tokens of one view."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, tables: RotaryTables) -> torch.Tensor:
        """Return `(S, L, C)` for `(S, L, C)` tokens of `S` views."""
        projected = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = projected.unbind(dim=-3)  # (S, L, heads, D)
        return cast(
            torch.Tensor, self.out(_attend(rotate(query, tables), rotate(key, tables), value))
        )


class CrossAttention(nn.Module):
    """Attention of the tokens of some views to those of others; positions are within a view."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens: torch.Tensor, memory: torch.Tensor, tables: RotaryTables
    ) -> torch.Tensor:
        """Return `(B, V, L, C)` for tokens `(B, V, L, C)` that look at `(B, W, L, C)`."""
        split = (self.heads, -1)
        query = rotate(self.query(tokens).unflatten(-1, split), tables).flatten(1, 2)
        key = rotate(self.key(memory).unflatten(-1, split), tables).flatten(1, 2)
        value = self.value(memory).unflatten(-1, split).flatten(1, 2)
        attended: torch.Tensor = self.out(_attend(query, key, value))
        return attended.reshape(tokens.shape)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return softmax(q k / sqrt(D)) v as `(S, Lq, C)`, for `(S, L, heads, D)` each."""
    attended = functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    )
    return attended.transpose(1, 2).flatten(2)


class Perceptron(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, ratio * width)
        self.contract = nn.Linear(ratio * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return `(..., C)` for `(..., C)`."""
        return cast(torch.Tensor, self.contract(functional.gelu(self.expand(tokens))))


class EncoderBlock(nn.Module):
    """Self-attention and perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_self = layer_norm(width)
        self.self_attention = SelfAttention(width, heads)
        self.norm_mlp = layer_norm(width)
        self.mlp = Perceptron(width, mlp_ratio)

    def forward(self, tokens: torch.Tensor, tables: RotaryTables) -> torch.Tensor:
        """Return `(S, L, C)` for the tokens of `S` views."""
        tokens = tokens + self.self_attention(self.norm_self(tokens), tables)
        return cast(torch.Tensor, tokens + self.mlp(self.norm_mlp(tokens)))


class DecoderBlock(nn.Module):
    """Self-attention within a view, cross-attention to other views, perceptron.

    As IntBlock of the paper's Eq. 8 its tokens are the reference and its memory all targets, in one
    softmax; as UpdateBlock its tokens are the targets and its memory the reference. The cost of
    both is linear in the number of views.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_self = layer_norm(width)
        self.self_attention = SelfAttention(width, heads)
        self.norm_cross = layer_norm(width)
        self.norm_memory = layer_norm(width)
        self.cross_attention = CrossAttention(width, heads)
        self.norm_mlp = layer_norm(width)
        self.mlp = Perceptron(width, mlp_ratio)

    def forward(
        self, tokens: torch.Tensor, memory: torch.Tensor, tables: RotaryTables
    ) -> torch.Tensor:
        """Return `(B, V, L, C)` for tokens `(B, V, L, C)` and the views `(B, W, L, C)`."""
        own = self.self_attention(self.norm_self(tokens).flatten(0, 1), tables)
        tokens = tokens + own.unflatten(0, tokens.shape[:2])
        seen = self.cross_attention(self.norm_cross(tokens), self.norm_memory(memory), tables)
        tokens = tokens + seen
        return cast(torch.Tensor, tokens + self.mlp(self.norm_mlp(tokens)))
