"""Trained models on disk: weights with all that says what they are for.

A checkpoint is one file of `torch.save`, read with `weights_only`: nothing in it is executed.
"""

import importlib.metadata
import io
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import CespedError, CheckpointError
from ..io.files import atomic_path
from ..models.registry import PoseModel, build_model

#: Raised when the content of a checkpoint changes its meaning.
FORMAT_VERSION = 1
_MARK = "cesped pose model"


@dataclass(frozen=True)
class CheckpointCard:
    """What a trained model is and where it comes from.

    Parameters
    ----------
    model : configuration that rebuilds the network, its name and symmetry among it
    target, halfset : the particles that it was trained on
    preprocessing : what its images need (see `prepared.preprocessing_to_dict`)
    recipe : of the training, resolved
    steps : optimizer steps done
    validation : figures of the validation particles at that step
    package_version : of the program that wrote it
    pixel_size_angst : of the prepared images that it learned from; None in older checkpoints
    box : of the raw images [px]; None in older checkpoints
    learned_before : target and half of every model whose weights this one began with, and of
        those that they began with
    """

    model: dict[str, Any]
    target: str
    halfset: int
    preprocessing: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    package_version: str = ""
    pixel_size_angst: float | None = None
    box: int | None = None
    learned_before: tuple[tuple[str, int], ...] = ()

    @property
    def symmetry(self) -> str:
        """Point group that the model was built for."""
        return str(self.model["symmetry"])

    def knows(self, target: str, halfset: int) -> bool:
        """Return whether the poses of these particles went into the weights, now or before."""
        learned = [(self.target, self.halfset), *self.learned_before]
        return (target, halfset) in [(name, half) for name, half in learned]


def save_checkpoint(
    path: str | os.PathLike[str], card: CheckpointCard, weights: dict[str, torch.Tensor]
) -> Path:
    """Write a trained model, whole or not at all, and return its path.

    Raises
    ------
    DiskFullError
        If the disk is full; nothing is left behind.
    """
    values = asdict(card)
    values["package_version"] = values["package_version"] or importlib.metadata.version("cesped")
    content = {
        "what": _MARK,
        "format": FORMAT_VERSION,
        "card": values,
        "weights": {name: value.detach().cpu() for name, value in weights.items()},
    }
    write_torch_file(path, content)
    return Path(path)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[PoseModel, CheckpointCard]:
    """Return the model of a checkpoint, in evaluation mode on the CPU, and its card.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is something else, or does not fit this version's model.
    """
    if Path(path).suffix == ".safetensors" and Path(path).is_file():
        raise CheckpointError(
            f"{path} holds weights, not a model that knows an entry; give the model.ckpt of "
            "`cesped train --model cryofastar --model.weights` with them, or pose particles of a "
            "star file with `cesped abinitio --weights`"
        )
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("what") != _MARK:
        raise CheckpointError(
            f"{path} is no model of this package; give the model.ckpt that `cesped train` wrote"
        )
    if content.get("format") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {content.get('format')}, this version reads {FORMAT_VERSION}; it "
            f"was written by cesped {content.get('card', {}).get('package_version', '?')}: use "
            "that version, or train again"
        )
    try:
        card = CheckpointCard(**content["card"])
        model = build_model(**card.model)
        model.load_state_dict(content["weights"])
    except (CespedError, RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} does not fit the models of this version: {error}; it was written by cesped "
            f"{content.get('card', {}).get('package_version', '?')}"
        ) from error
    return model.eval(), card


def write_torch_file(path: str | os.PathLike[str], content: Any) -> None:
    """Write tensors and plain values, whole or not at all.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    buffer = io.BytesIO()  # torch's own file writer loses the reason when a disk is full
    torch.save(content, buffer)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Return what `write_torch_file` wrote; nothing in the file is executed.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, or holds more than tensors and plain values.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"there is no checkpoint {path}; train a model first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for damaged files
        # torch's own words are left out: they advise to load without `weights_only`
        reason = (
            "it is damaged, or holds more than tensors and plain values"
            if zipfile.is_zipfile(path)
            else "it is not a file of torch.save, or only a part of one"
        )
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {reason}; give the "
            "model.ckpt that `cesped train` wrote, or train again"
        ) from error
