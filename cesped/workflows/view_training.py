"""Train CryoFastAR on sets of views: checks a recipe against what it draws from, and begins."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, OptionError
from ..progress import SILENT, Progress
from ..vocabulary import ViewOrigin
from .view_sources import ViewInputs, ViewSources

if TYPE_CHECKING:
    from ..training.views.learning import ViewTraining
    from ..training.views.recipe import ViewsRecipe


def train_on_views(
    outdir: str | os.PathLike[str],
    recipe: "ViewsRecipe",
    inputs: ViewInputs,
    *,
    device: str = "auto",
    start_from: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: Progress = SILENT,
) -> "ViewTraining":
    """Train through all stages of a recipe into `outdir`; one that was stopped goes on.

    Parameters
    ----------
    outdir : for `weights.safetensors`, `log.csv`, `learning_curve.png`, `provenance.json` and the
        unfinished state.
    recipe : see `cesped.training.views.recipe`.
    inputs : what is drawn from.
    device : auto, cpu, cuda, cuda:1.
    start_from : weights to begin with.
    resume : False to begin anew in a folder that holds a training.

    Raises
    ------
    OptionError
        If a stage has nothing to draw from, or there is no such device.
    GeometryError
        If a map has another box than the recipe's images.
    CheckpointError
        If `outdir` holds another training, or `start_from` learned from the other half.
    MissingFileError, MrcFileError, StructureFileError, EntryNotFoundError
        If an input is not there or cannot be read.
    """
    from ..inference.predict import chosen_device
    from ..io.files import check_writable
    from ..training.views.learning import train_views
    from ..training.views.run_folder import LOG_NAME
    from ..training.views.team import Team

    place = chosen_device(device)
    check_writable(Path(outdir) / LOG_NAME)
    _check_stages(recipe, inputs)
    if start_from is not None:
        for dataset in inputs.datasets(recipe):
            if dataset.target is not None:
                _check_unseen(start_from, dataset.target, dataset.halfset)
    team = Team(recipe.trainer, place)
    progress = progress if team.is_main else SILENT
    sources = ViewSources(recipe, inputs, team, progress)
    return train_views(
        outdir,
        recipe,
        sources.of_stage,
        inputs=sources.stamps(),
        team=team,
        start_from=start_from,
        resume=resume,
        progress=progress,
    )


def _check_stages(recipe: "ViewsRecipe", inputs: ViewInputs) -> None:
    count = len(inputs.maps) + len(inputs.structures)
    for number, stage in enumerate(recipe.stages, start=1):
        if stage.origin is ViewOrigin.PARTICLES:
            if not inputs.datasets(recipe):
                raise OptionError(
                    f"stage {number} of the recipe learns from particles; give --target and "
                    "--halfset, or a list `particles` in the recipe"
                )
        elif stage.origin is ViewOrigin.SHARDS:
            if inputs.shards is None:
                raise OptionError(
                    f"stage {number} of the recipe draws from shards; give the folder that "
                    "`cesped shards make` wrote with --shards"
                )
        elif count < (stage.maps or 1):
            raise OptionError(
                f"stage {number} of the recipe draws from {stage.maps or 'some'} maps, {count} "
                "were given; give more with --map or --structure, or set "
                f"--stages.{number}.maps"
            )


def _check_unseen(start_from: str | os.PathLike[str], target: str, halfset: int | None) -> None:
    """Refuse weights that learned, now or before, from the other half of the same entry."""
    from ..models.cryofastar.weights import facts_of_weights

    facts: Mapping[str, Any] | None = facts_of_weights(start_from)
    while facts:
        for entry in _learned_from(facts.get("inputs", {})):
            if entry.get("target") == target and entry.get("halfset") != halfset:
                raise CheckpointError(
                    f"{start_from} learned from half {entry['halfset']} of {target}; halves must "
                    "not meet: begin with other weights"
                )
        facts = facts.get("began_with")


def _learned_from(inputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if inputs.get("entry"):
        yield inputs["entry"]
    yield from inputs.get("datasets", ())
