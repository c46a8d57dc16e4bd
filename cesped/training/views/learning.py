"""Training of CryoFastAR on sets of views, stage after stage (CryoFastAR paper, section 4.2).

What is drawn at a step follows from the seed, the stage and the number of the set alone. So a
training that was killed goes on to the weights that it would have had: on a processor to the same
bytes, if it has as many threads.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError, OptionError
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.weights import facts_of_weights
from ...progress import SILENT, Progress
from ...vocabulary import ViewNormalization
from ..provenance import describe_program, file_sha256, write_provenance
from .curve import draw_curve
from .recipe import ViewsRecipe
from .run_folder import CURVE_NAME, PROVENANCE_NAME, ViewRow, ViewRunFolder
from .sections import ViewStage
from .sets import ViewSource
from .team import Team
from .work import Work

#: Settings of the trainer and of the data that change no result but by rounding.
_NO_RESULT = {
    "trainer": ("devices", "num_nodes", "strategy", "checkpointing", "compile"),
    "data": ("max_memory_gib", "cache_dir", "num_data_workers"),
}


@dataclass(frozen=True)
class ViewTraining:
    """What a training leaves.

    Parameters
    ----------
    weights : safetensors file; its header says where they come from
    rows : the log
    """

    weights: Path
    rows: tuple[ViewRow, ...]


def train_views(
    folder: str | os.PathLike[str],
    recipe: ViewsRecipe,
    source_of: Callable[[ViewStage], ViewSource],
    *,
    inputs: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    team: Team | None = None,
    start_from: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: Progress = SILENT,
) -> ViewTraining:
    """Train through all stages of a recipe, or go on with it, and write `weights.safetensors`.

    Parameters
    ----------
    folder : for weights, state, log and provenance
    recipe : how to train
    source_of : makes what a stage draws from, on the device
    inputs : what is drawn from, as JSON values that tell it apart from other inputs
    device : where to compute
    team : the processes, where sources were made for their devices; else they meet here
    start_from : weights to begin with, whose sizes then count instead of the preset's
    resume : go on with what is in `folder`; else begin anew
    progress : told of every step

    Raises
    ------
    CheckpointError
        If `folder` holds another training, or weights or state cannot be read.
    DivergedError
        If the loss is no number any more.
    OptionError, GeometryError
        If images do not suit the network, the weights want images that cannot be made here, or a
        batch cannot be divided among the processes.
    ImageValueError, MetadataError, ShardError
        If a source has images without contrast, too few particles, or a shard that was cut.
    """
    if start_from is not None and not Path(start_from).is_file():
        raise CheckpointError(f"there are no weights {start_from} to begin with")
    facts = {
        "recipe": recipe.to_dict(),
        "inputs": dict(inputs or {}),
        "start_from_sha256": None if start_from is None else file_sha256(Path(start_from)),
    }
    team = team or Team(recipe.trainer, device)
    run = ViewRunFolder(folder, {**facts, "recipe": _what_counts(recipe)})
    run.claim(resume, team.is_main)
    team.wait()
    if run.is_done:
        return ViewTraining(run.weights, tuple(run.read_log()))
    work = Work(recipe, _first_model(recipe, start_from), team, run, progress, run.read_state())
    rows = work.run_stages(source_of)
    weights = work.weights()
    if team.is_main:
        began_with = None if start_from is None else facts_of_weights(start_from)
        shown = work.pixel_sizes.as_fact()
        origin = {**facts, **shown, "program": describe_program(), "began_with": began_with}
        _finish(run, work, weights, origin)
    team.wait()
    return ViewTraining(run.weights, rows)


def _what_counts(recipe: ViewsRecipe) -> dict[str, dict[str, Any]]:
    """Return the settings that determine the result, by section."""
    return {
        section: {name: value for name, value in values.items()
                  if name not in _NO_RESULT.get(section, ())}
        for section, values in recipe.to_dict().items()
    }  # fmt: skip


def _finish(
    run: ViewRunFolder, work: Work, weights: Mapping[str, torch.Tensor], origin: dict[str, Any]
) -> None:
    """Write what a training leaves, and forget its state."""
    run.write_log(work.rows)  # a kill may have come between the last state and its log
    draw_curve(run.path / CURVE_NAME, work.rows)
    model = CryoFastAR(
        work.model.config,
        convention=work.model.convention,
        normalization=work.model.normalization,
    )
    model.load_state_dict(weights)
    model.save(run.weights, origin)
    facts = {
        "weights_sha256": file_sha256(run.weights),
        "device": str(work.team.device),
        "processes": work.team.size,
    }
    write_provenance(run.path / PROVENANCE_NAME, {**origin, **facts})
    run.forget_state()


def _first_model(recipe: ViewsRecipe, start_from: str | os.PathLike[str] | None) -> CryoFastAR:
    if start_from is not None:
        model = CryoFastAR.load(start_from)
        if model.normalization is ViewNormalization.STACK_RANGE:
            raise OptionError(
                f"{start_from} wants views normalised before CTF and noise, which real particles "
                "cannot be; begin with other weights"
            )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.trainer.seed)
            model = CryoFastAR(recipe.model.preset)
    size = recipe.data.image_size
    model.grid_of(torch.empty(1, size, size))  # refuses images that do not suit the patches
    return model
