"""A small project that every door accepts, the doors, and what a refusal must look like."""

import gzip
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import fake_entry as fake
import mrcfile
import numpy as np
import pytest
import torch

from cesped.cli.main import main
from cesped.data.dataset import ParticlesDataset
from cesped.errors import CespedError
from cesped.io.star import read_star, write_star
from cesped.models.prediction import PosePrediction
from cesped.models.registry import PoseModel, build_model, register_model
from cesped.training.checkpoint import CheckpointCard, save_checkpoint

BOX = 16
N_PARTICLES = 6
NAME = "E"
_PREPROCESSING = {
    "image_size": BOX,
    "normalization": "noiseStats",
    "ctf_correction": "phase_flip",
    "crop_fraction": 0.0,
}


@register_model("upright")
class Upright(PoseModel):
    """Predicts no turn at all; its one weight is what a checkpoint needs."""

    def __init__(self, symmetry, width=1):
        super().__init__(symmetry, width=width)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def loss(self, images, rotations, confidence):
        return (self.weight * images).square().mean()

    def predict(self, images):
        count = len(images)
        return PosePrediction(torch.eye(3).repeat(count, 1, 1), torch.ones(count), None)


@dataclass(frozen=True)
class Project:
    """An entry, its predictions, a map and a model below one folder; `out` is for results."""

    folder: Path

    @property
    def bench(self):
        return self.folder / "bench"

    @property
    def entry(self):
        return self.bench / NAME

    @property
    def star(self):
        return self.entry / "particles_0.star"

    @property
    def stack(self):
        return self.entry / "particles_0.mrcs"

    @property
    def out(self):
        return self.folder / "out"

    def predictions(self, half):
        return self.folder / f"predicted_{half}.star"

    @property
    def map(self):
        return self.folder / "map.mrc"

    @property
    def checkpoint(self):
        return self.folder / "model.ckpt"

    def listing(self):
        """Return every file and folder with its size and its time: what a refusal must not move."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            if path.is_file()
            else None
            for path in self.folder.rglob("*")
        }

    def edit_star(self, change, star=None):
        """Rewrite a star file with `change(particles)` in place of its particles."""
        star = star or self.star
        tables = read_star(star)
        write_star(star, tables | {"particles": change(tables["particles"])})

    def edit_images(self, change):
        with mrcfile.mmap(self.stack, mode="r+") as mrc:
            change(mrc.data)


def write_project(folder):
    entry = fake.write_fake_entry(
        folder / "bench", NAME, n_particles=N_PARTICLES, box=BOX, with_mask=True
    )
    project = Project(folder)
    for half in (0, 1):
        shutil.copy(entry.star(half), project.predictions(half))
    write_map(project.map)
    write_checkpoint(project.checkpoint)
    return project


def write_map(path, box=BOX, pixel_size_angst=fake.PIXEL_SIZE_ANGST, seed=0):
    values = np.random.default_rng(seed).normal(size=(box, box, box)).astype(np.float32)
    with mrcfile.new(path, values, overwrite=True) as mrc:
        mrc.voxel_size = pixel_size_angst
    return path


def write_checkpoint(path, symmetry="C1", halfset=1, target=NAME):
    model = build_model("upright", symmetry)
    card = CheckpointCard(model.config, target, halfset, _PREPROCESSING)
    return save_checkpoint(path, card, model.state_dict())


def read_dataset(project):
    """Read every sample, as a program that imports the package would."""
    dataset = ParticlesDataset(NAME, 0, benchmarkDir=project.bench)
    for item in range(len(dataset)):
        dataset[item]


DOORS = {
    "add": lambda p: ["add", p.star, "--name", "NEW", "--halfset", 0, "--symmetry", "C1"],
    "show": lambda p: ["show", NAME, "--out", p.out / "show.png"],
    "dataset": read_dataset,
    "reconstruct": lambda p: ["reconstruct", "--star", p.star, "--out", p.out / "map.mrc"],
    "project": lambda p: [
        *("project", "--map", p.map, "--star", p.star, "--out", p.out / "projected.mrcs"),
    ],
    "fsc": lambda p: ["fsc", p.map, p.entry / "mask.mrc", "--out", p.out / "fsc"],
    "evaluate": lambda p: [
        *("evaluate", "--targetName", NAME, "--predictionType", "SO3", "--n_cpus", 1),
        *("--half0PredsFname", p.predictions(0), "--half1PredsFname", p.predictions(1)),
        *("--outdir", p.out / "evaluation"),
    ],
    "infer": lambda p: [
        *("infer", "--target", NAME, "--halfset", 0, "--ckpt_path", p.checkpoint),
        *("--out", p.out / "predicted.star"),
    ],
    "train": lambda p: [
        *("train", "--target", NAME, "--halfset", 0, "--outdir", p.out / "run"),
        *("--recipe", "demo", "--data.image_size", BOX, "--data.image_size_factor_for_crop", 0),
        *("--skip_other_half_inference",),
        *("--model.name", "upright", "--model.preset", "none"),
        *("--trainer.max_steps", 1, "--trainer.steps_per_round", 1),
    ],
}
#: Doors that find particles by the name of an entry.
BY_ENTRY = ("show", "dataset", "evaluate", "infer", "train")
#: Doors that read the images of particles.
WITH_IMAGES = ("add", "reconstruct", *BY_ENTRY)
#: Doors that read a star file of particles.
WITH_STAR = (*WITH_IMAGES, "project")


def go_through(door, project, *more):
    """Run a command line of `door` on `project`, and return its exit code."""
    words = DOORS[door](project)
    if door in ("add", *BY_ENTRY):
        words = [*words, "--benchmarkDir", project.bench]
    return main([str(word) for word in (*words, *more)])


def refuse(door, project, capsys, *more):
    """Return the one message with which a door refuses `project`, having touched nothing."""
    before = project.listing()
    if door == "dataset":
        with pytest.raises(CespedError) as caught:
            read_dataset(project)
        message = str(caught.value)
    else:
        code = go_through(door, project, *more)
        printed = capsys.readouterr()
        assert (code, printed.out) == (1, ""), printed
        messages = [line for line in printed.err.splitlines() if "error:" in line]
        assert len(messages) == 1, printed.err
        assert "Traceback" not in printed.err
        # a step that was under way may say that it stopped; nothing else is printed
        rest = [line for line in printed.err.splitlines() if line not in messages]
        assert all(re.search(r": (stopped after|done in) [0-9.]+ s$", line) for line in rest), rest
        message = messages[0].removeprefix("cesped: error: ")
    assert project.listing() == before
    assert str(project.folder) in message  # names the file
    assert re.search(r"[;:,.] \w+", message)  # and goes on to what can be done
    assert len(message) < 3000
    return message


def write_info(project, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (project.entry / "info_0.json").write_text(text)


def cut(path, n_bytes):
    path.write_bytes(path.read_bytes()[:n_bytes])


def as_folder(path):
    path.unlink()
    path.mkdir()


def packed(path):
    path.write_bytes(gzip.compress(path.read_bytes()))


def assert_says(message, pattern):
    assert re.search(pattern, message, re.DOTALL), f"{pattern!r} is not in: {message}"
