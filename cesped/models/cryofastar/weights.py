"""CryoFastAR's weights in one safetensors file, with all that says what they are."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import torch

from ...errors import CheckpointError
from ...io.files import atomic_path
from ...vocabulary import MapConvention, ViewNormalization
from .config import CryoFastARConfig
from .loading import fill

if TYPE_CHECKING:
    from .model import CryoFastAR

Model = TypeVar("Model", bound="CryoFastAR")

_MARK = "cesped cryofastar"
_FACTS = "facts"
#: Raised when the content of a file changes its meaning.
FORMAT_VERSION = "1"
#: The format's words for the types that weights have.
_KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}


def save_weights(
    model: "CryoFastAR", path: str | os.PathLike[str], facts: Mapping[str, object] | None = None
) -> None:
    """Write a network's weights, sizes, convention and normalisation, whole or not at all.

    Parameters
    ----------
    model, path : what to write, and where
    facts : JSON values on where the weights come from; `facts_of_weights` reads them

    Raises
    ------
    DiskFullError, UnwritableError
        If it cannot be written.
    """
    card = {
        "what": _MARK,
        "format": FORMAT_VERSION,
        "config": json.dumps(model.config.to_dict()),
        "convention": model.convention.value,
        "normalization": model.normalization.value,
    }
    if facts is not None:
        card[_FACTS] = json.dumps(facts, sort_keys=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        _write(file, model.state_dict(), card)


def _write(file: BinaryIO, state: dict[str, torch.Tensor], card: dict[str, str]) -> None:
    """Write the safetensors format: length of the header, header, tensors one after another.

    The library's own writer puts a new file in the place of the one it is given, which loses the
    lock and the permissions that this one was made with.
    """
    ordered = sorted(state.items(), key=lambda item: -item[1].element_size())  # all stay aligned
    header: dict[str, object] = {"__metadata__": card}
    start = 0
    for name, value in ordered:
        end = start + value.numel() * value.element_size()
        kind, shape = _KINDS[value.dtype], list(value.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, value in ordered:
        file.write(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def facts_of_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file of weights says on where they come from; nothing if it says nothing.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    return _on_the_card(path, _FACTS)


def config_of_weights(path: str | os.PathLike[str]) -> CryoFastARConfig:
    """Return the sizes of the network of a file of weights, without reading these.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or does not state them.
    """
    try:
        return CryoFastARConfig.from_dict(_on_the_card(path, "config"))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its card cannot be read: {error}") from error


def _on_the_card(path: str | os.PathLike[str], name: str) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get(name, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"weights {path} cannot be read: {error}") from error
    return dict(content)


def load_weights(model_class: type[Model], path: str | os.PathLike[str]) -> Model:
    """Return the network that `save_weights` wrote, in evaluation mode.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is something else, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise CheckpointError(f"there are no weights {path}; `cesped convert-weights` makes some")
    try:
        with safe_open(path, framework="pt") as file:
            card = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"weights {path} cannot be read: it is no safetensors file, or only a part of one "
            f"({error}); make it again with `cesped convert-weights`"
        ) from error
    if card.get("what") != _MARK or card.get("format") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} holds no CryoFastAR of this program (format {card.get('format')!r}, wanted "
            f"{FORMAT_VERSION!r}); make it with `cesped convert-weights`"
        )
    try:
        config = CryoFastARConfig.from_dict(json.loads(card["config"]))
        convention = MapConvention.parse(card["convention"])
        normalization = ViewNormalization.parse(card["normalization"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its card cannot be read: {error}") from error
    return fill(
        model_class, config, state, str(path), convention=convention, normalization=normalization
    )
