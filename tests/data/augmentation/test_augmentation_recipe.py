"""Recipes: what the packaged ones say, and what is refused in one's own."""

import pytest
import torch
import yaml

from cesped.data.augmentation import Augmenter, load_plan, plan_names
from cesped.data.augmentation.geometric import Shifts, Turns, Zooms
from cesped.data.augmentation.grey import Erasing, GaussianNoise, UniformNoise
from cesped.data.augmentation.schedules import Probability
from cesped.errors import OptionError

ONE = {"inPlaneRotations": {"p": 0.5, "kwargs": {"maxDegrees": 20}}}


def by_name(plan):
    return {one.name: one for one in plan.operations}


def test_the_default_is_appendix_b_of_the_paper():
    plan = by_name(load_plan(None))
    assert list(plan) == list(by_name(load_plan("paper")))
    probabilities = {name: one.probability.after(0) for name, one in plan.items()}
    assert probabilities == {
        "inPlaneShifts": 0.5,
        "inPlaneRotations": 0.5,
        "inPlaneRotations90": 1.0,
        "randomUnifNoise": 0.2,
        "randomGaussNoise": 0.2,
        "sizePerturbation": 0.2,
        "erasing": 0.1,
    }
    operations = {name: one.operation for name, one in plan.items()}
    assert vars(operations["inPlaneShifts"]) == vars(Shifts(0.05))
    assert vars(operations["inPlaneRotations"]) == vars(Turns(20))
    assert vars(operations["randomUnifNoise"]) == vars(UniformNoise(2))
    assert vars(operations["randomGaussNoise"]) == vars(GaussianNoise(0.5))
    assert vars(operations["sizePerturbation"]) == vars(Zooms(0.05))
    assert vars(operations["erasing"]) == vars(Erasing(scale=(0, 0.02)))


@pytest.mark.parametrize("name", plan_names())
def test_packaged_recipes_run(name):
    augmenter = Augmenter(name, torch.Generator().manual_seed(0))
    images, rotations, origins_px = augmenter.augment(
        torch.randn(64, 1, 24, 24), torch.eye(3).expand(64, 3, 3)
    )
    assert images.isfinite().all()
    assert (augmenter.plan.min_rounds, augmenter.plan.max_rounds) == (1, 1)
    assert float(origins_px.abs().max()) > 0
    assert float(rotations.det().sub(1).abs().max()) < 1e-5


def test_a_file_of_the_published_layout(tmp_path):
    path = tmp_path / "mine.yaml"
    schedule = {"type": "linear_up", "kwargs": {"max_prob": 0.4, "scheduler_steps": 1000}}
    operations = {
        "inPlaneRotations90": {"kwargs": {}, "p": 1.0},
        "randomGaussNoise": {"kwargs": {"scale": 0.5}, "p": 0.1, "probScheduler": schedule},
    }
    content = {"min_n_augm_per_img": 1, "max_n_augm_per_img": 3, "operations": operations}
    path.write_text(yaml.safe_dump(content))
    for recipe in (path, str(path), content):
        plan = load_plan(recipe)
        assert (plan.min_rounds, plan.max_rounds) == (1, 3)
        assert by_name(plan)["randomGaussNoise"].probability == Probability(0.1, 0.4, 1000)
        assert load_plan(plan) is plan


def wrong(**changes):
    return {"operations": {"inPlaneRotations": {**ONE["inPlaneRotations"], **changes}}}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("papper", "there is no augmentation recipe 'papper'; use paper, published, or the path"),
        ({}, "must hold `operations`"),
        ({"operations": ["inPlaneRotations"]}, "must hold `operations`"),
        ({"operation": {}}, "has no 'operation'; did you mean 'operations'"),
        ({"operations": {"inPlaneRotation": {"p": 1}}}, "did you mean 'inPlaneRotations"),
        ({"operations": {"erasing": 0.5}}, "erasing must hold names and values, found 0.5"),
        ({"operations": {"erasing": {}}}, "erasing has no p"),
        (wrong(p=1.5), "inPlaneRotations: p is 1.5; use a probability"),
        (wrong(p="often"), "p is 'often'"),
        (wrong(kwargs={"degrees": 3}), "inPlaneRotations cannot be made with {'degrees': 3}"),
        (wrong(kwargs={"maxDegrees": -3}), "inPlaneRotations: maxDegrees is -3"),
        (wrong(kwargs=[1]), "kwargs must hold names and values"),
        (wrong(probability=1), "has no 'probability'"),
        (wrong(operation=Turns(3)), "without kwargs"),
        (wrong(kwargs=None, operation=3), "must be an object of"),
        (wrong(probScheduler="linear_up"), "give it `type` and `kwargs`"),
        (wrong(probScheduler={"type": "up", "kwargs": {}}), "'up' is not a ProbabilitySchedule"),
        (
            wrong(probScheduler={"type": "linear_up", "kwargs": {"min_prob": 0}}),
            "it needs max_prob and scheduler_steps",
        ),
        (
            wrong(
                probScheduler={
                    "type": "linear_down",
                    "kwargs": {"min_prob": 0.7, "scheduler_steps": 5},
                }
            ),
            "linear_down from p = 0.5 to min_prob = 0.7",
        ),
        (
            wrong(
                probScheduler={
                    "type": "linear_up",
                    "kwargs": {"max_prob": 0.7, "scheduler_steps": 0},
                }
            ),
            "scheduler_steps is 0; use 1 or more images",
        ),
        ({"operations": ONE, "min_n_augm_per_img": 2}, "min_n_augm_per_img is 2, above"),
        ({"operations": ONE, "max_n_augm_per_img": 1.5}, "max_n_augm_per_img is 1.5"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(recipe, message):
    with pytest.raises(OptionError, match=message):
        load_plan(recipe)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"operations: [", "is not YAML"),
        (b"", "must hold names and values, found None"),
        (b"\xff\xfe\x00", "is not text|is not YAML"),
        (b"- a\n- b\n", "must hold names and values"),
    ],
)
def test_files_that_are_no_recipes_are_refused(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=message):
        load_plan(path)
