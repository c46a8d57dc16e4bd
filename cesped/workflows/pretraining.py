"""Learning first on projections of the training half's own map.

The half is reconstructed with its known poses; the map is projected from everywhere, with the
contrast transfer and the shifts of the half's particles and with as much noise as they have; a
model learns on these images before it sees the real ones. Real particles crowd some views and
leave out others, their labels are not exact, and there is one noise for each: none of this is so
for projections. Nothing but the training half enters.
"""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.files import write_text_atomic
from ..progress import SILENT, Progress
from ..vocabulary import Backend, CtfCorrection
from .steps import is_made, run_once

if TYPE_CHECKING:
    from ..data.entry_checks import EntryHalf
    from ..training.recipe import TrainingRecipe

FOLDER = "pretraining"
_PATIENCE_S = 0.2  # between two looks at what another process is making
_SEED_OF_PROJECTIONS = 1  # with the recipe's: not the stream that trains


def pretrain(
    target: str,
    halfset: int,
    run_dir: str | os.PathLike[str],
    recipe: "TrainingRecipe",
    *,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Train on projections of a half's own map, in `run_dir/pretraining`; return the checkpoint.

    Stopped, it goes on where it was. The images are removed once the model is there.

    Parameters
    ----------
    target, halfset : what the training itself will learn from
    run_dir : of that training
    recipe : of that training, its section `pretraining` filled in
    benchmark_dir : folder of the entries
    progress : told of every step

    Raises
    ------
    MetadataError
        If the half has no CTF, or its images do not show the map that their poses give.
    The errors of `cesped.training.fit.train_half`.
    """
    import numpy as np

    from ..data.opening import open_entry
    from ..evaluation.stamps import package_version, sha256_of_file
    from ..training.fit import train_half
    from ..training.ranks import gathered, is_main_process
    from ..training.run_folder import MODEL_NAME

    entry = open_entry(target, halfset, benchmark_dir, progress)
    folder = Path(run_dir) / FOLDER
    name, entries, run = f"{target}-projections", folder / "entries", folder / "run"
    star = entries / name / f"particles_{halfset}.star"
    stack, checkpoint = star.with_suffix(".mrcs"), run / MODEL_NAME
    made_from = {
        "entry": sha256_of_file(entry.star_path),
        "symmetry": entry.symmetry,
        "projections": recipe.pretraining.projections,
        "seed": recipe.trainer.seed,
        "version": package_version(),
    }

    def train() -> None:
        if is_main_process():
            if not stack.is_file():
                star.unlink(missing_ok=True)
            run_once(star, made_from, lambda: project_half(entry, star, recipe, progress))
        # other processes have not met the main one yet, so they look for what it makes
        while not (checkpoint.is_file() or (stack.is_file() and is_made(star, made_from))):
            time.sleep(_PATIENCE_S)
        train_half(name, halfset, run, recipe_on_projections(recipe, entry), entries, progress)

    whole_recipe = {**made_from, "recipe": recipe.to_dict()}
    if is_main_process():
        run_once(checkpoint, whole_recipe, train)
        stack.unlink(missing_ok=True)
    elif not is_made(checkpoint, whole_recipe):
        train()
    gathered(np.zeros(1))  # all wait for the file that the main process writes
    return checkpoint


def project_half(
    entry: "EntryHalf", star: Path, recipe: "TrainingRecipe", progress: Progress = SILENT
) -> None:
    """Write projections of the map of half an entry as half an entry of its own.

    Parameters
    ----------
    entry : the half; nothing else is read
    star : file to write, in a folder of its own; the stack and `info_<half>.json` come beside it
    recipe : how many, and the seed
    progress : told of every image

    Notes
    -----
    Directions are uniform; origins and CTFs are those of particles drawn at random; noise is
    white, of the strength found in the images.
    """
    import numpy as np

    from ..data.conventions import read_particle_table
    from ..data.simulation import simulate_stack
    from ..geometry.poses import Poses
    from ..geometry.rotations import random_rotations
    from ..reconstruction.backends import make_reconstructor
    from ..reconstruction.own_map import own_map

    table = read_particle_table(entry.star_path, entry.root_dir)
    ctf = table.require_ctf()
    count = recipe.pretraining.projections
    generator = np.random.default_rng([recipe.trainer.seed, _SEED_OF_PROJECTIONS])
    engine = make_reconstructor(Backend.NATIVE)
    found = own_map(table, entry.symmetry, engine, generator, progress=progress)
    drawn = generator.integers(len(table), size=count)
    origins = table.require_poses().origins_angst[drawn]
    poses = Poses(random_rotations(count, generator), origins, np.ones(count))
    star.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "symmetry": entry.symmetry,
        "root_dir": ".",
        "projections_of": f"half {entry.halfset} of {entry.target}",
        "snr": found.snr,
        "map_resolution_angst": found.resolution_angst,
    }
    info = star.with_name(f"info_{entry.halfset}.json")
    write_text_atomic(info, json.dumps(facts, indent=2) + "\n")
    simulate_stack(
        star,
        found.volume,
        found.pixel_size_angst,
        poses,
        ctf.select(drawn),
        snr=found.snr,
        generator=generator,
        progress=progress,
    )


def recipe_on_projections(recipe: "TrainingRecipe", entry: "EntryHalf") -> "TrainingRecipe":
    """Return how to train on projections: as on the particles, but for length and rate.

    Projections come with their whole CTF. Where that of the particles was corrected before they
    came into the entry, it is corrected in the same way here.
    """
    from ..data.conventions import read_particle_table
    from ..training.sections import PretrainingRecipe

    ahead, trainer, optimizer = recipe.pretraining, recipe.trainer, recipe.optimizer
    done = read_particle_table(entry.star_path, entry.root_dir).ctf_correction_done
    data = dataclasses.replace(recipe.data, cache_dir=None)
    if done is not CtfCorrection.NONE:
        data = dataclasses.replace(data, ctf_correction=str(done))
    return dataclasses.replace(
        recipe,
        data=data,
        trainer=dataclasses.replace(trainer, max_steps=ahead.max_steps or trainer.max_steps),
        optimizer=dataclasses.replace(optimizer, lr=ahead.lr or optimizer.lr),
        pretraining=PretrainingRecipe(),
    )
