"""CryoFastAR in float64 numpy, one view and one head at a time, under the released names.

It shares no line with the package: attention is a softmax written out, rotary positions turn pairs
of channels by complex numbers, convolutions are sums over shifted copies. Slow, and only for tests.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from cesped.models.cryofastar.config import CryoFastARConfig


@dataclass(frozen=True)
class Plain:
    """What a state dict does not say."""

    encoder_heads: int
    decoder_heads: int
    base: float = 100.0


#: Head widths 32 and 16; decoder narrower than encoder, so no two sizes can be confused.
TINY = CryoFastARConfig(
    encoder_width=64,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=48,
    decoder_depth=2,
    decoder_heads=3,
    neck_width=16,
)
TINY_PLAIN = Plain(TINY.encoder_heads, TINY.decoder_heads)
UNUSED = {"mask_token": (1, 1, 48), "pos_patch_embed.proj.weight": (64, 3, 16, 16)}


def released_shapes(config):
    """Return the released names of a network of these sizes, with their shapes."""
    shapes = {}

    def linear(name, outputs, inputs, bias=True):
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def block(name, width, norms, with_cross):
        for part in norms:
            norm(f"{name}.{part}", width)
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        for part in ("projq", "projk", "projv", "proj") if with_cross else ():
            linear(f"{name}.cross_attn.{part}", width, width)
        linear(f"{name}.mlp.fc1", config.mlp_ratio * width, width)
        linear(f"{name}.mlp.fc2", width, config.mlp_ratio * width)

    e, d, n, p = config.encoder_width, config.decoder_width, config.neck_width, config.patch_px
    shapes["patch_embed.proj.weight"], shapes["patch_embed.proj.bias"] = (e, 1, p, p), (e,)
    for index in range(config.encoder_depth):
        block(f"enc_blocks.{index}", e, ("norm1", "norm2"), False)
    norm("enc_norm", e)
    linear("decoder_embed", d, e)
    for group in ("dec_blocks", "dec_blocks2"):
        for index in range(config.decoder_depth):
            block(f"{group}.{index}", d, ("norm1", "norm2", "norm3", "norm_y"), True)
    norm("dec_norm", d)
    shapes["segment_embeddings.weight"] = (config.view_embeddings, d)
    for head in ("downstream_heads.0", "downstream_heads.1"):
        shapes[f"{head}.neck.0.weight"] = (n, d, 1, 1)
        shapes[f"{head}.neck.2.weight"] = (n, n, 3, 3)
        norm(f"{head}.neck.1", n)
        norm(f"{head}.neck.3", n)
        linear(f"{head}.proj", 4 * p * p, n)
        linear(f"{head}.proj_fvalue", p * p, n)
    return shapes


def random_state(config, extra=()):
    """Return float32 arrays under the released names, each drawn from its own name."""
    shapes = {**released_shapes(config), **dict(extra)}
    state = {}
    for name, shape in shapes.items():
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        drawn = generator.standard_normal(shape, dtype=np.float32)
        if name == "segment_embeddings.weight":
            drawn *= 0.5
        elif len(shape) == 1:
            is_norm = "norm" in name or "neck.1" in name or "neck.3" in name
            scale = np.float32(0.1 if is_norm and name.endswith("weight") else 0.05)
            drawn = drawn * scale + np.float32(is_norm and name.endswith("weight"))
        else:
            drawn /= np.float32(np.sqrt(np.prod(shape[1:])))
        state[name] = drawn.astype(np.float32)
    return state


def layer_norm(x, state, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)


def turned(x, positions, base):
    """Turn the pairs of channels (j, j + q) of each half of `(L, D)` by row and by column."""
    parts = []
    for axis, half in enumerate(np.split(x, 2, axis=1)):
        pairs = half.shape[1] // 2
        phase = positions[:, axis : axis + 1] * base ** (-np.arange(pairs) / pairs)
        z = (half[:, :pairs] + 1j * half[:, pairs:]) * np.exp(1j * phase)
        parts += [z.real, z.imag]
    return np.concatenate(parts, axis=1)


def attention(query, key, value, query_positions, key_positions, heads, base):
    """Return `(Lq, C)`; positions are rows and columns `(L, 2)` of the tokens."""
    outputs = []
    for q, k, v in zip(*(np.split(x, heads, axis=1) for x in (query, key, value)), strict=True):
        q, k = turned(q, query_positions, base), turned(k, key_positions, base)
        scores = np.exp(q @ k.T / np.sqrt(q.shape[1]))
        outputs.append(scores / scores.sum(axis=1, keepdims=True) @ v)
    return np.concatenate(outputs, axis=1)


def self_attention(x, positions, state, name, heads, base):
    q, k, v = np.split(linear(x, state, f"{name}.qkv"), 3, axis=1)
    return linear(attention(q, k, v, positions, positions, heads, base), state, f"{name}.proj")


def mlp(x, state, name):
    hidden = linear(x, state, f"{name}.fc1")
    return linear(hidden * 0.5 * (1 + erf(hidden / np.sqrt(2))), state, f"{name}.fc2")


def encoded(image, state, plain):
    """Return the features `(L, C)` of an image `(H, W)`, and their positions."""
    weight = state["patch_embed.proj.weight"]
    patch = weight.shape[-1]
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    positions = np.array([(r, c) for r in range(rows) for c in range(columns)])
    cut = [image[patch * r : patch * (r + 1), patch * c : patch * (c + 1)] for r, c in positions]
    x = np.reshape(cut, (len(cut), -1)) @ weight.reshape(len(weight), -1).T
    x = x + state["patch_embed.proj.bias"]
    for index in range(_depth(state, "enc_blocks")):
        name = f"enc_blocks.{index}"
        normed = layer_norm(x, state, f"{name}.norm1")
        x = x + self_attention(
            normed, positions, state, f"{name}.attn", plain.encoder_heads, plain.base
        )
        x = x + mlp(layer_norm(x, state, f"{name}.norm2"), state, f"{name}.mlp")
    return layer_norm(x, state, "enc_norm"), positions


def decoder_block(x, memory, positions, state, name, plain):
    normed = layer_norm(x, state, f"{name}.norm1")
    x = x + self_attention(
        normed, positions, state, f"{name}.attn", plain.decoder_heads, plain.base
    )
    cross, seen = f"{name}.cross_attn", layer_norm(memory, state, f"{name}.norm_y")
    attended = attention(
        linear(layer_norm(x, state, f"{name}.norm2"), state, f"{cross}.projq"),
        linear(seen, state, f"{cross}.projk"),
        linear(seen, state, f"{cross}.projv"),
        positions,
        np.concatenate([positions] * (len(memory) // len(positions))),
        plain.decoder_heads,
        plain.base,
    )
    x = x + linear(attended, state, f"{cross}.proj")
    return x + mlp(layer_norm(x, state, f"{name}.norm3"), state, f"{name}.mlp")


def head_outputs(x, positions, state, name):
    """Return points `(H, W, 3)`, confidence `(H, W)` and image `(H, W)` of one view."""
    rows, columns = positions.max(axis=0) + 1
    x = layer_norm(x @ state[f"{name}.neck.0.weight"][..., 0, 0].T, state, f"{name}.neck.1")
    padded = np.pad(x.reshape(rows, columns, -1), ((1, 1), (1, 1), (0, 0)))
    kernel = state[f"{name}.neck.2.weight"]
    mixed = sum(
        padded[dy : dy + rows, dx : dx + columns] @ kernel[:, :, dy, dx].T
        for dy in range(3)
        for dx in range(3)
    )
    mixed = layer_norm(mixed, state, f"{name}.neck.3")

    def pixels(values):
        patch = int(np.sqrt(state[f"{name}.proj_fvalue.bias"].size))
        out = np.empty((rows * patch, columns * patch, values.shape[-1] // patch**2))
        for row in range(rows):
            for column in range(columns):
                square = values[row, column].reshape(-1, patch, patch).transpose(1, 2, 0)
                out[row * patch :, column * patch :][:patch, :patch] = square
        return out

    values = pixels(linear(mixed, state, f"{name}.proj"))
    image = pixels(linear(mixed, state, f"{name}.proj_fvalue"))[..., 0]
    return values[..., :3], 1 + np.exp(values[..., 3]), image


def plain_forward(images, state, plain):
    """Return points, confidence and images of the views `(N, H, W)` of one sample."""
    state = {name: np.asarray(value, dtype=np.float64) for name, value in state.items()}
    features = [encoded(np.asarray(image, dtype=np.float64), state, plain) for image in images]
    positions = features[0][1]
    table = state["segment_embeddings.weight"]
    views = [
        linear(feature, state, "decoder_embed") + table[index % len(table)]
        for index, (feature, _) in enumerate(features)
    ]
    reference, targets = views[0], views[1:]
    for index in range(_depth(state, "dec_blocks")):
        reference = decoder_block(
            reference, np.concatenate(targets), positions, state, f"dec_blocks.{index}", plain
        )
        targets = [
            decoder_block(target, reference, positions, state, f"dec_blocks2.{index}", plain)
            for target in targets
        ]
    outputs = [
        head_outputs(
            layer_norm(view, state, "dec_norm"), positions, state,
            f"downstream_heads.{min(index, 1)}",
        )
        for index, view in enumerate([reference, *targets])
    ]  # fmt: skip
    return tuple(np.stack(part) for part in zip(*outputs, strict=True))


def _depth(state, group):
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith(f"{group}."))
