"""Misread poses are told beside figures that look like those of a bad model."""

from dataclasses import dataclass

import numpy as np
import pytest

from cesped.evaluation.misread import notes_on_misreadings
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import (
    axis_angle_rotations,
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
)
from cesped.vocabulary import PredictionType

COUNT = 150
FRAME = axis_angle_rotations([0.6, 0.0, 0.8], 40.0)


@dataclass
class Particles:
    pixel_size_angst: np.ndarray


@dataclass
class Half:
    """What the notes ask of a half of an entry and its predictions."""

    truth: Poses
    predicted: Poses
    table: Particles


def notes(
    turned=lambda rotations, rng: rotations,
    moved=lambda origins: origins,
    prediction_type=PredictionType.SO3,
    error_deg=3.0,
    count=COUNT,
    only_half=None,
):
    """Return what is said of predictions that are near the truth, and then changed."""
    halves, errors_deg = [], []
    for number in (0, 1):
        rng = np.random.default_rng(number)
        truth = Poses(random_rotations(count, rng), rng.normal(0, 9, (count, 2)), np.ones(count))
        near = truth.rotations @ rotations_about_random_axes(count, error_deg, rng)
        origins = truth.origins_angst + 0.1 * error_deg * rng.normal(size=(count, 2))
        if only_half in (None, number):
            near, origins = turned(near, rng), moved(origins)
        predicted = Poses(near, origins, np.ones(count))
        halves.append(Half(truth, predicted, Particles(np.full(count, 3.0))))
        errors_deg.append(geodesic_distance_deg(truth.rotations, near))
    return notes_on_misreadings(tuple(halves), tuple(errors_deg), prediction_type, "C1", seed=0)


MISREADINGS = {
    "transposed": (lambda r, rng: r.transpose(0, 2, 1), "rotations are transposed"),
    "radians": (
        lambda r, rng: euler_to_rotation(np.radians(rotation_to_euler(r))),
        "angles are in radians",
    ),
    "other hand": (lambda r, rng: r @ np.diag([-1.0, -1.0, 1.0]), "mirror image of the map"),
    "frame": (lambda r, rng: FRAME @ r, "another frame: their map is turned by"),
    "rows off by one": (lambda r, rng: np.roll(r, 1, axis=0), "rows are off by one"),
    "random": (lambda r, rng: random_rotations(len(r), rng), "no better than shuffled ones"),
}


@pytest.mark.parametrize("name", MISREADINGS)
def test_poses_that_are_far_off_for_a_reason(name):
    turned, expected = MISREADINGS[name]
    (said,) = notes(turned)
    assert said.startswith("Predictions of half 0, and likewise of half 1: ")
    assert expected.lower() in said.lower()
    assert "cesped doctor --predictions" in said


def test_a_half_is_named_if_the_other_is_right():
    (said,) = notes(MISREADINGS["transposed"][0], only_half=1)
    assert said.startswith("Predictions of half 1: The rotations are transposed")


@pytest.mark.parametrize("error_deg", [3.0, 24.0])
def test_honest_predictions_are_let_be(error_deg):
    for prediction_type in PredictionType:
        assert notes(error_deg=error_deg, prediction_type=prediction_type) == ()


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        (lambda o: -o, "both signs are changed"),
        (lambda o: o[:, ::-1], "x and y are exchanged"),
        (lambda o: o / 3.0, "taken as pixels, not angstrom"),
    ],
)
def test_shifts_that_are_misread(moved, expected):
    (said,) = notes(moved=moved, prediction_type=PredictionType.SO3XR2)
    assert expected in said
    # they are not scored otherwise
    assert notes(moved=moved, prediction_type=PredictionType.SO3) == ()


def test_the_known_poses_themselves():
    (said,) = notes(error_deg=0.0)
    assert "They are the known poses themselves" in said


def test_a_handful_of_particles_tells_nothing():
    assert notes(MISREADINGS["transposed"][0], count=12) == ()
