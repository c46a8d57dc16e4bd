"""Weights as CryoFastAR's authors released them: other names, another convention of maps.

Their file is a pickled dictionary whose entry `model` holds 896 tensors at full size, three of
them unused. It is read without running anything in it; the sizes of the network follow from the
shapes of the tensors, except the numbers of heads.
"""

import argparse
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...errors import CheckpointError, OptionError
from ...vocabulary import MapConvention, ViewNormalization
from .config import CryoFastARConfig
from .loading import fill

State = dict[str, torch.Tensor]
Model = TypeVar("Model", bound=torch.nn.Module)

#: Channels of a head where its number is not given.
HEAD_WIDTH = 64
_UNUSED = ("mask_token", "pos_patch_embed.")
_NAMES = (  # theirs, ours; the first that fits the beginning of a name
    (r"patch_embed\.proj\.", "patches."),
    (r"enc_blocks\.(\d+)\.", r"encoder.\1."),
    (r"enc_norm\.", "encoder_norm."),
    (r"decoder_embed\.", "to_decoder."),
    (r"segment_embeddings\.weight$", "view_embedding"),
    (r"dec_blocks\.(\d+)\.", r"integrate.\1."),
    (r"dec_blocks2\.(\d+)\.", r"update.\1."),
    (r"dec_norm\.", "decoder_norm."),
    (r"downstream_heads\.0\.", "reference_head."),
    (r"downstream_heads\.1\.", "target_head."),
)
_PARTS = {
    "encoder": {"norm1": "norm_self", "norm2": "norm_mlp"},
    "integrate": {"norm1": "norm_self", "norm2": "norm_cross", "norm3": "norm_mlp"},
    "reference_head": {
        "neck.0": "reduce",
        "neck.1": "norm_reduce",
        "neck.2": "mix",
        "neck.3": "norm_mix",
        "proj_fvalue": "image",
        "proj": "points",
    },
}
_PARTS["update"], _PARTS["target_head"] = _PARTS["integrate"], _PARTS["reference_head"]
_IN_ALL_BLOCKS = {
    "norm_y": "norm_memory",
    "cross_attn.projq": "cross_attention.query",
    "cross_attn.projk": "cross_attention.key",
    "cross_attn.projv": "cross_attention.value",
    "cross_attn.proj": "cross_attention.out",
    "attn.qkv": "self_attention.qkv",
    "attn.proj": "self_attention.out",
    "mlp.fc1": "mlp.expand",
    "mlp.fc2": "mlp.contract",
}


def load_released(
    model_class: type[Model],
    source: str | os.PathLike[str] | Mapping[str, torch.Tensor],
    encoder_heads: int | None,
    decoder_heads: int | None,
    normalization: ViewNormalization | str | None,
) -> Model:
    """Return the network of released weights: see `CryoFastAR.from_released`."""
    if isinstance(source, Mapping):
        state, about = _checked(source, "the state dict"), "the state dict"
    else:
        state, about = read_released(source), str(source)
    config = config_of(state, about, encoder_heads, decoder_heads)
    if normalization is None:
        normalization = normalization_of(source)
    renamed = dict(_renamed(state, about))
    return fill(
        model_class, config, renamed, about,
        convention=MapConvention.RELEASED, normalization=normalization,
    )  # fmt: skip


def normalization_of(source: Any) -> ViewNormalization:
    """Return how the views must be normalised, by the name of the weights' file."""
    is_synthetic = not isinstance(source, Mapping) and "synth" in Path(source).name.lower()
    return ViewNormalization.STACK_RANGE if is_synthetic else ViewNormalization.STACK_MAXIMUM


def read_released(path: str | os.PathLike[str]) -> State:
    """Return the tensors of a released file; nothing in it is run.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there are no weights {path}; name the file that was downloaded")
    _check_archive(path)
    try:
        # What such files hold beside tensors is the options of the training: plain values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is told below
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # torch raises a dozen types for damaged files
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"it wants to use {foreign[1]}, so it holds code and not weights alone"
            if foreign
            else "it is no whole file of torch.save, or holds more than tensors and plain values"
        )
        raise CheckpointError(
            f"weights {path} were not loaded: {reason}; nothing of it was run. Download it again, "
            "or ask for a file of tensors only"
        ) from error
    return _checked(content, str(path))


def _check_archive(path: Path) -> None:
    """Raise if a byte of a packed file is not what was written; torch does not look."""
    damaged = None
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error) as error:
            damaged = f"its table of contents ({error})"
    if damaged is not None:
        raise CheckpointError(
            f"weights {path} are damaged: {damaged} is not what was written; download them again"
        )


def _checked(content: Any, about: str) -> State:
    """Return the tensors of a loaded file, without a wrapper's prefix."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    is_state = (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())
    )
    if not is_state:
        raise CheckpointError(
            f"{about} holds no weights: expected tensors by name, or such under 'model'; give a "
            "released file, or the .safetensors of `cesped train-views` or `convert-weights`"
        )
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    if not any(name.startswith("dec_blocks2.") for name in state):
        # as trained from a network with one decoder: both begin with the same weights
        for name in [name for name in state if name.startswith("dec_blocks.")]:
            state["dec_blocks2." + name.removeprefix("dec_blocks.")] = state[name].clone()
    return {name: t for name, t in state.items() if not name.startswith(_UNUSED)}


def config_of(
    state: Mapping[str, torch.Tensor],
    about: str,
    encoder_heads: int | None = None,
    decoder_heads: int | None = None,
) -> CryoFastARConfig:
    """Return the sizes of the network that the shapes of released tensors tell.

    Raises
    ------
    CheckpointError
        If the tensors are those of another architecture, or the heads do not divide them.
    """
    if "patches.weight" in state:
        raise CheckpointError(
            f"{about} holds weights of this program already: use them as they are"
        )
    try:
        encoder_width, channels, patch, other_side = state["patch_embed.proj.weight"].shape
        hidden = state["enc_blocks.0.mlp.fc1.weight"].shape[0]
        decoder_width = state["decoder_embed.weight"].shape[0]
        neck = state["downstream_heads.0.neck.0.weight"].shape[0]
        views = state["segment_embeddings.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{about} holds weights of another architecture than CryoFastAR: {error} is missing "
            "or has other dimensions; give a released file, or the .safetensors of `cesped "
            "train-views` or `convert-weights`"
        ) from error
    if channels != 1 or patch != other_side:
        raise CheckpointError(
            f"{about} wants images of {channels} channels in patches of {patch} x {other_side} px, "
            "CryoFastAR's have 1 channel and square patches"
        )
    try:
        return CryoFastARConfig(
            patch_px=patch,
            encoder_width=encoder_width,
            encoder_depth=_depth(state, "enc_blocks"),
            encoder_heads=encoder_heads or max(1, encoder_width // HEAD_WIDTH),
            decoder_width=decoder_width,
            decoder_depth=_depth(state, "dec_blocks"),
            decoder_heads=decoder_heads or max(1, decoder_width // HEAD_WIDTH),
            mlp_ratio=hidden // encoder_width,
            neck_width=neck,
            view_embeddings=views,
        )
    except OptionError as error:
        raise CheckpointError(f"{about}: {error}; state encoder_heads and decoder_heads") from error


def _depth(state: Mapping[str, torch.Tensor], group: str) -> int:
    matches = [re.match(rf"{group}\.(\d+)\.", name) for name in state]
    numbers = {int(found[1]) for found in matches if found}
    # a gap shows as missing tensors; a number of nine digits must not ask for so many blocks
    return min(max(numbers, default=-1) + 1, len(numbers) + 1)


def _renamed(state: State, about: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in state.items():
        ours = _our_name(name)
        if ours is None:
            raise CheckpointError(
                f"{about} holds {name!r}, which is no part of CryoFastAR: weights of another "
                "architecture"
            )
        if tensor.is_floating_point():
            tensor = tensor.float()  # some trainers leave halves; no copy where it is single
        yield ours, tensor[..., 0, 0] if ours.endswith("_head.reduce.weight") else tensor


def _our_name(name: str) -> str | None:
    for pattern, replacement in _NAMES:
        found = re.match(pattern, name)
        if not found:
            continue
        start, rest = found.expand(replacement), name[found.end() :]
        parts = {**_PARTS.get(start.partition(".")[0], {}), **_IN_ALL_BLOCKS}
        for theirs, ours in parts.items():
            if rest.startswith(f"{theirs}."):
                return f"{start}{ours}{rest[len(theirs) :]}"
        return start + rest
    return None
