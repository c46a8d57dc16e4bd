"""Tensors into a network, without a second copy of its weights."""

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
    with torch.device("meta"):
        model = model_class(config, **options)
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
    strange = [name for name, value in state.items() if not value.is_floating_point()]
    if strange:
        raise CheckpointError(f"{about}: {strange[0]} holds {state[strange[0]].dtype}, no weights")
    model.load_state_dict(dict(state), assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()
