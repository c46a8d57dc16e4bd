"""CryoFastAR's weights in one safetensors file, with all that says what they are."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...errors import CheckpointError
from ...io.files import atomic_path
from ...vocabulary import MapConvention, ViewNormalization
from .config import CryoFastARConfig
from .loading import fill

if TYPE_CHECKING:
    from .model import CryoFastAR

Model = TypeVar("Model", bound="CryoFastAR")

_MARK = "cesped cryofastar"
#: Raised when the content of a file changes its meaning.
FORMAT_VERSION = "1"


def save_weights(model: "CryoFastAR", path: str | os.PathLike[str]) -> None:
    """Write a network's weights, sizes, convention and normalisation, whole or not at all.

    Raises
    ------
    DiskFullError, UnwritableError
        If it cannot be written.
    """
    from safetensors.torch import save_file

    card = {
        "what": _MARK,
        "format": FORMAT_VERSION,
        "config": json.dumps(model.config.to_dict()),
        "convention": model.convention.value,
        "normalization": model.normalization.value,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata=card)


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
