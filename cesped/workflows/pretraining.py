"""Learning first on projections of the training half's own map.

The half is reconstructed with its known poses; the map is projected from everywhere, with the
contrast transfer and the shifts of the half's particles and with as much noise as they have; a
model learns on these images before it sees the real ones. Real particles crowd some views and
leave out others, their labels are not exact, and there is one noise for each: none of this is so
for projections. Nothing but the training half enters. The projections are made once and stored
until they were learned, or drawn anew in each step, on the device that trains, and not stored.
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
    import numpy as np

    from ..data.entry_checks import EntryHalf
    from ..reconstruction.own_map import OwnMap
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
    from ..training.ranks import gathered, is_main_process
    from ..training.run_folder import MODEL_NAME

    entry = open_entry(target, halfset, benchmark_dir, progress)
    folder = Path(run_dir) / FOLDER
    checkpoint = folder / "run" / MODEL_NAME
    made_from = {
        "entry": sha256_of_file(entry.star_path),
        "symmetry": entry.symmetry,
        "projections": recipe.pretraining.projections,
        "coloured_noise": recipe.pretraining.coloured_noise,
        "seed": recipe.trainer.seed,
        "version": package_version(),
    }
    kind = _Drawn if recipe.pretraining.on_the_fly else _Stored
    work = kind(entry, folder, recipe, made_from, benchmark_dir, progress)

    def train() -> None:
        if is_main_process():
            work.prepare()
        # other processes have not met the main one yet, so they look for what it makes
        while not (checkpoint.is_file() or work.is_prepared()):
            time.sleep(_PATIENCE_S)
        work.train(checkpoint.parent)

    whole_recipe = {**made_from, "recipe": recipe.to_dict()}
    if is_main_process():
        run_once(checkpoint, whole_recipe, train)
        work.clean()
    elif not is_made(checkpoint, whole_recipe):
        train()
    gathered(np.zeros(1))  # all wait for the file that the main process writes
    return checkpoint


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is needed to learn on projections, and what it was made from."""

    entry: "EntryHalf"
    folder: Path
    recipe: "TrainingRecipe"
    made_from: dict[str, object]
    benchmark_dir: str | os.PathLike[str] | None
    progress: Progress


class _Stored(_Work):
    """Projections as half an entry of their own."""

    @property
    def _name(self) -> str:
        return f"{self.entry.target}-projections"

    @property
    def _star(self) -> Path:
        name = f"particles_{self.entry.halfset}.star"
        return self.folder / "entries" / self._name / name

    @property
    def _stack(self) -> Path:
        return self._star.with_suffix(".mrcs")

    def prepare(self) -> None:
        if not self._stack.is_file():
            self._star.unlink(missing_ok=True)
        run_once(
            self._star,
            self.made_from,
            lambda: project_half(self.entry, self._star, self.recipe, self.progress),
        )

    def is_prepared(self) -> bool:
        return self._stack.is_file() and is_made(self._star, self.made_from)

    def train(self, run: Path) -> None:
        from ..training.fit import train_half

        recipe = recipe_on_projections(self.recipe, self.entry)
        entries = self.folder / "entries"
        train_half(self._name, self.entry.halfset, run, recipe, entries, self.progress)

    def clean(self) -> None:
        self._stack.unlink(missing_ok=True)


class _Drawn(_Work):
    """The half's own map, which images are drawn from as they are needed."""

    @property
    def _map(self) -> Path:
        return self.folder / f"own_map_{self.entry.halfset}.mrc"

    def prepare(self) -> None:
        run_once(
            self._map,
            self.made_from,
            lambda: write_own_map(self.entry, self._map, self.recipe, self.progress),
        )

    def is_prepared(self) -> bool:
        return is_made(self._map, self.made_from)

    def train(self, run: Path) -> None:
        from ..training.fit import train_half

        recipe = recipe_drawn_from(self._map, self.recipe)
        entry = self.entry
        train_half(entry.target, entry.halfset, run, recipe, self.benchmark_dir, self.progress)

    def clean(self) -> None:
        pass  # the map is small, and says what was learned


def write_own_map(
    entry: "EntryHalf", path: Path, recipe: "TrainingRecipe", progress: Progress = SILENT
) -> None:
    """Write the map that half an entry has of itself, and how strong it is as JSON beside it.

    Parameters
    ----------
    entry : the half; nothing else is read
    path : MRC file to write
    recipe : of the seed
    progress : told of every particle
    """
    from ..io.mrc import write_volume

    found, _ = _own_map(entry, recipe, progress)
    facts = {
        "map_of": f"half {entry.halfset} of {entry.target}",
        "snr": found.snr,
        "map_resolution_angst": found.resolution_angst,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    write_volume(path, found.volume, found.pixel_size_angst)


def _own_map(
    entry: "EntryHalf", recipe: "TrainingRecipe", progress: Progress
) -> "tuple[OwnMap, np.random.Generator]":
    """Return the map, and the random numbers that come after those that split the half."""
    import numpy as np

    from ..data.conventions import read_particle_table
    from ..reconstruction.backends import make_reconstructor
    from ..reconstruction.own_map import own_map

    table = read_particle_table(entry.star_path, entry.root_dir)
    table.require_ctf()
    generator = np.random.default_rng([recipe.trainer.seed, _SEED_OF_PROJECTIONS])
    engine = make_reconstructor(Backend.NATIVE)
    return own_map(table, entry.symmetry, engine, generator, progress=progress), generator


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
    Directions are uniform; origins and CTFs are those of particles drawn at random; noise has the
    strength and, unless the recipe wants it white, the spectrum that is found in the images.
    """
    import numpy as np

    from ..data.conventions import read_particle_table
    from ..data.simulation.stack import simulate_stack
    from ..geometry.poses import Poses
    from ..geometry.rotations import random_rotations

    table = read_particle_table(entry.star_path, entry.root_dir)
    ctf = table.require_ctf()
    count = recipe.pretraining.projections
    found, generator = _own_map(entry, recipe, progress)
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
        spectrum=found.noise if recipe.pretraining.coloured_noise else None,
        progress=progress,
    )


def recipe_on_projections(recipe: "TrainingRecipe", entry: "EntryHalf") -> "TrainingRecipe":
    """Return how to train on projections: as on the particles, but for length and rate.

    Projections come with their whole CTF. Where that of the particles was corrected before they
    came into the entry, it is corrected in the same way here.
    """
    from ..data.conventions import read_particle_table

    done = read_particle_table(entry.star_path, entry.root_dir).ctf_correction_done
    data = dataclasses.replace(recipe.data, cache_dir=None)
    if done is not CtfCorrection.NONE:
        data = dataclasses.replace(data, ctf_correction=str(done))
    return dataclasses.replace(_ahead(recipe), data=data)


def recipe_drawn_from(path: Path, recipe: "TrainingRecipe") -> "TrainingRecipe":
    """Return how to train on images drawn from the half's own map, which `write_own_map` wrote.

    The strength of the noise is that which the half's parts found in each other's images.
    """
    from ..training.sections import SimulationRecipe

    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    simulation = SimulationRecipe(
        map=str(path),
        free_of_other_half=True,
        snr=float(facts["snr"]),
        coloured_noise=recipe.pretraining.coloured_noise,
        epoch_images=recipe.pretraining.projections,
    )
    return dataclasses.replace(_ahead(recipe), simulation=simulation)


def _ahead(recipe: "TrainingRecipe") -> "TrainingRecipe":
    """Return the recipe with the length and the rate that come before its own."""
    from ..training.sections import PretrainingRecipe

    ahead, trainer, optimizer = recipe.pretraining, recipe.trainer, recipe.optimizer
    return dataclasses.replace(
        recipe,
        trainer=dataclasses.replace(trainer, max_steps=ahead.max_steps or trainer.max_steps),
        optimizer=dataclasses.replace(optimizer, lr=ahead.lr or optimizer.lr),
        pretraining=PretrainingRecipe(),
    )
