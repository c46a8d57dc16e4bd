"""The model that a run begins with: from the seed, or from weights learned before."""

import os
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from ..errors import CheckpointError
from ..models.registry import PoseModel, build_model
from .checkpoint import CheckpointCard, load_checkpoint
from .raw_channel import model_options
from .recipe import TrainingRecipe


def compile_parts(model: nn.Module) -> None:
    """Let `torch.compile` translate each part of a model when it is first called.

    Its loss as a whole holds code that is no tensor algebra, such as the search for the grid's
    nearest nodes. Names of weights stay as they are.
    """
    for part in model.children():
        part.compile()


def initial_model(
    recipe: TrainingRecipe,
    symmetry: str,
    pixel_size_angst: float,
    start_from: str | os.PathLike[str] | None,
) -> tuple[PoseModel, tuple[tuple[str, int], ...]]:
    """Build the model with weights that follow from the seed, or from a checkpoint.

    Returns
    -------
    The model, and target and half of all that went into its weights before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.trainer.seed)
        chosen = recipe.model
        options = model_options(chosen, recipe.data.raw_channel)
        model = build_model(chosen.name, symmetry, chosen.preset, **options)
    if hasattr(model, "pixel_size_angst"):
        cast(Any, model).pixel_size_angst = pixel_size_angst
    learned_before = model.learned_before  # by weights that the model has read by itself
    if start_from is not None:
        trained, card = load_checkpoint(start_from)
        if _network(trained) != _network(model):
            raise CheckpointError(
                f"{start_from} holds the model {card.model}, the recipe asks for {model.config}; "
                "use the recipe it was trained with"
            )
        model.load_state_dict(trained.state_dict())
        learned_before += ((card.target, card.halfset), *card.learned_before)
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, learned_before


def _network(model: PoseModel) -> dict[str, Any]:
    return {name: value for name, value in model.config.items() if name != "pixel_size_angst"}


def check_start(
    card: CheckpointCard, path: str | os.PathLike[str], target: str, halfset: int
) -> None:
    """Refuse weights that know the particles which the new model is to predict.

    Raises
    ------
    CheckpointError
        If the other half of the entry went into them.
    """
    if card.knows(target, 1 - halfset):
        raise CheckpointError(
            f"{path} has learned from half {1 - halfset} of {target}, which a model of half "
            f"{halfset} is to predict; start from a model that has not"
        )


def check_unseen_weights(
    learned: Sequence[tuple[str, int]], recipe: TrainingRecipe, target: str, halfset: int
) -> None:
    """Refuse a model whose own weights, `model.weights`, know what it is to predict.

    Parameters
    ----------
    learned : target and half of all that went into the weights
    recipe : names them
    target, halfset : that the model is to learn from

    Raises
    ------
    CheckpointError
        If the other half of the entry went into them.
    """
    if (target, 1 - halfset) in learned:
        raise CheckpointError(
            f"{recipe.model.options.get('weights', 'the weights')} learned from half "
            f"{1 - halfset} of {target}, which a model of half {halfset} is to predict; begin with "
            "other weights"
        )
