"""An entry and a recipe so small that a whole training run takes a second or two."""

import contextlib

from plain_cnn import PlainCnn
from small_cryofastar import SETTINGS

from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DemoSpecification
from cesped.models import registry
from cesped.training.recipe import load_recipe

TARGET = "TINY"


def make_tiny_entry(benchmark_dir, name=TARGET, symmetry="C1", particles=40):
    return make_entry(
        DemoSpecification(
            name=name,
            symmetry=symmetry,
            n_particles_per_half=particles,
            box=24,
            pixel_size_angst=6.0,
            n_atoms=120,
            radius_angst=50.0,
            resolution_angst=16.0,
        ),
        benchmark_dir,
    )


TINY = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "model.widths": [4, 8, 8],
    "model.l_max": 2,
    "model.sphere_features": 8,
    "model.so3_features": 4,
    "model.projector_order": 1,
    "model.filter_order": 1,
    "model.grid_order": 1,
    "trainer.max_steps": 12,
    "trainer.steps_per_round": 4,
    "trainer.accelerator": "cpu",
}


def tiny_recipe(**overrides):
    return load_recipe("demo", TINY, {k.replace("__", "."): v for k, v in overrides.items()})


def cnn_recipe(**overrides):
    """Return a recipe of the third-party model of the documents, which takes less time still."""
    if "plain_cnn" not in registry._REGISTERED:
        registry.register_model("plain_cnn")(PlainCnn)
    own = {"model.name": "plain_cnn", "model.widths": [8, 16], "optimizer.lr": 0.003}
    kept = ("data.", "trainer.")
    values = {key: value for key, value in TINY.items() if key.startswith(kept)} | own
    return load_recipe("demo", values, {k.replace("__", "."): v for k, v in overrides.items()})


def views_recipe(**overrides):
    """Return a recipe of CryoFastAR as a model of the benchmark, which takes a second."""
    kept = ("data.", "trainer.")
    values = {key: value for key, value in TINY.items() if key.startswith(kept)} | SETTINGS
    return load_recipe(
        "cryofastar_demo", values, {k.replace("__", "."): v for k, v in overrides.items()}
    )


class KilledError(Exception):
    """Stands for the death of the process."""


class KillAt:
    """A `Progress` that dies when the training has done so many steps."""

    def __init__(self, step):
        self.step = step

    def die(self):
        raise KilledError

    @contextlib.contextmanager
    def task(self, description, total):
        done = 0

        def advance(units):
            nonlocal done
            done += units
            if description.startswith("Training") and done >= self.step:
                self.die()

        yield advance
