"""Tensors into a network, without a second copy of its weights."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from ...errors import CheckpointError
from .config import CryoFastARConfig

Model = TypeVar("Model", bound=torch.nn.Module)

_SHOWN = 3


def fill(
    model_class: type[Model],
    config: CryoFastARConfig,
    state: Mapping[str, torch.Tensor],
    about: str,
    **options: Any,
) -> Model:
    """Return a network whose parameters are the tensors of `state`, in evaluation mode.

    Parameters
    ----------
    model_class, config, options : what is built
    state : all parameters by their names in this package; they are taken, not copied
    about : what they are, for messages

    Raises
    ------
    CheckpointError
        If a parameter is missing, foreign or of another shape.
    """
    if config.encoder_depth + 2 * config.decoder_depth > len(state):  # do not even build it
        raise CheckpointError(
            f"{about} holds {len(state)} tensors, and is said to be of {config.encoder_depth} "
            f"+ 2 x {config.decoder_depth} blocks: it is damaged, or of something else"
        )
    try:
        with torch.device("meta"):
            model = model_class(config, **options)
    except RuntimeError as error:  # tensors of more numbers than can be counted
        raise CheckpointError(f"{about} states sizes that no network has: {error}") from error
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is no part of it" for name in found if name not in wanted]
    faults += [
        f"{name} has shape {found[name]} in place of {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise CheckpointError(
            f"{about} does not fit a CryoFastAR of the sizes that it states: "
            f"{'; '.join(faults[:_SHOWN])}{more}"
        )
    for name, value in state.items():
        if not value.is_floating_point() or value.layout is not torch.strided:
            kind = f"{value.dtype} in layout {value.layout}"
            raise CheckpointError(f"{about}: {name} holds {kind}, no weights of a network")
        if not value.is_meta and not _is_finite(value):
            raise CheckpointError(
                f"{about}: {name} holds values that are no numbers: its training diverged, or the "
                "file is damaged; use earlier weights, or fetch them again"
            )
    model.load_state_dict(dict(state), assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()


def _is_finite(value: torch.Tensor) -> bool:
    """Return whether all numbers are finite: least and largest are found in one pass.

    `torch.isfinite` makes tensors on its way, which for weights of two gigabytes takes seconds.
    """
    if not value.numel():
        return True
    least, largest = torch.aminmax(value.float() if value.itemsize < 2 else value)
    return math.isfinite(float(least)) and math.isfinite(float(largest))  # NaN is handed on
