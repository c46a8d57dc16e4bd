"""Recipes of stages: those that come with the package, single settings, and faults."""

import pytest

from cesped.errors import OptionError
from cesped.training.views.recipe import load_views_recipe, recipe_names

STAGE = "stages: [{steps: 2}]"


def test_recipes_of_the_package_follow_the_paper():
    assert recipe_names() == ["cpu", "demo", "progressive", "small"]
    paper = load_views_recipe("progressive")
    views = [stage.views for stage in paper.stages]
    assert [stage.source for stage in paper.stages] == ["maps"] * 2 + ["shards"] * 5 + ["particles"]
    assert views == sorted(views)
    assert (views[0], views[-1]) == (2, 32)
    assert paper.stages[0].snr is None
    assert paper.stages[0].maps == 1
    simulated = paper.stages[2:-1]
    assert max(stage.snr[1] for stage in simulated) == 10
    assert min(stage.snr[0] for stage in simulated) == 0.1
    assert all(stage.defocus_angst and stage.max_shift_px == 10 for stage in simulated)
    images = [stage.steps * stage.batch * stage.views for stage in paper.stages]
    assert sum(images[2:-1]) == 113_600 * 100 * 1000
    assert images[-1] == pytest.approx(4 * 30_000 * 1000, rel=1e-4)


@pytest.mark.parametrize("name", ["cpu", "small", "progressive"])
def test_what_a_network_has_not_seen_begins_with_references_of_one_orientation(name):
    stages = load_views_recipe(name).stages
    clean = next(stage for stage in stages if stage.defocus_angst is None)
    with_ctf = next(stage for stage in stages if stage.defocus_angst is not None)
    assert clean.reference_within_deg == with_ctf.reference_within_deg == (0, 180)


def test_single_settings_change_a_stage_and_a_section():
    changed = load_views_recipe(
        "demo", {"stages.2.snr": "[0.5, 2]", "stages.2.lr": "1e-5", "trainer.bfloat16": "true"}
    )
    plain = load_views_recipe("demo")
    assert changed.stages[1].snr == (0.5, 2.0)
    assert changed.stages[1].lr == 1e-5
    assert changed.trainer.bfloat16 is True
    assert changed.stages[0] == plain.stages[0]
    assert changed.total_steps == plain.total_steps


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data: {image_size: 32}", "has no stages; give a list"),
        ("stages: []", "has no stages"),
        ("stages: [{views: 2}]", "stage 1 does not say how many steps"),
        ("stages: [{steps: 2, veiws: 3}]", "did you mean 'views'"),
        ("stages: [3]", "stage 1 must hold names and values"),
        ("stages: [{steps: 2, views: 1}]", "stage 1: views is 1; it must be 2 or more"),
        ("stages: [{steps: 0}]", "steps is 0; it must be 1 or more"),
        ("stages: [{steps: 2, snr: [2, 1]}]", "the lower first"),
        ("stages: [{steps: 2, snr: [0, 1]}]", "two numbers above 0"),
        ("stages: [{steps: 2, snr: 3}]", "must be a range such as"),
        ("stages: [{steps: 2, lr: 0}]", "lr is 0.0; it must be above 0"),
        ("stages: [{steps: 2, max_shift_px: -1}]", "max_shift_px is -1.0"),
        ("stages: [{steps: 2, source: maps3}]", "'maps3' is not a ViewOrigin"),
        ("stages: [{steps: 2, source: particles, snr: [1, 2]}]", "snr has no effect on particles"),
        (
            "stages: [{steps: 2, defocus_angst: [1, 2], ctf_table: a.csv}]",
            "give defocus_angst or ctf_table, not both",
        ),
        (f"{STAGE}\nmodle: {{}}", "did you mean 'model'"),
        (f"{STAGE}\ntrainer: {{parts: 3}}", "do not come apart into trainer.parts 3"),
        (f"{STAGE}\ntrainer: {{seed: -1}}", "trainer.seed is -1; it must be 0 or more"),
        (f"{STAGE}\ndata: {{held_out_share: 1}}", "use a share between 0 and 1"),
        (f"{STAGE}\nloss: {{alpha: 0}}", "loss.alpha is 0.0; it must be above 0"),
        ("stages: [{steps: 2, source: shards, sets: 3}]", "sets has no effect on shards"),
        ("stages: [{steps: 2, reference_within_deg: [0, 190]}]", "give two angles from 0 to 180"),
        ("stages: [{steps: 2, reference_share: 0}]", "use a share above 0"),
        (f"{STAGE}\ntrainer: {{strategy: deepspeed}}", "use one of: auto, ddp, fsdp"),
        (f"{STAGE}\ntrainer: {{devices: 0}}", "trainer.devices is 0; it must be above 0"),
        (f"{STAGE}\ndata: {{shard_lanes: 0}}", "data.shard_lanes is 0"),
        (f"{STAGE}\nparticles: [{{halfset: 0}}]", "particles 1: give a target, which is an entry"),
        (f"{STAGE}\nparticles: [{{target: a}}]", "say which halfset of a is learned from"),
        (f"{STAGE}\nparticles: [{{target: a, halfset: 2}}]", "halfset is 2; it must be 0 or 1"),
        (f"{STAGE}\nparticles: [{{target: a, halfset: 0, root: x}}]", "an entry knows its root"),
        (f"{STAGE}\nparticles: [{{star: a, weight: 0}}]", "weight is 0.0; it must be above 0"),
        (f"{STAGE}\nparticles: [{{star: a, max_particles: 1}}]", "it must be 2 or more"),
        (f"{STAGE}\nparticles: 3", "particles must be a list of datasets"),
        ("stages: [", "is not YAML"),
    ],
)
def test_faults_of_a_recipe_are_named(tmp_path, text, complaint):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        load_views_recipe(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("stages.3.steps", "the recipe has stages 1 to 2"),
        ("steps", "is no setting of a recipe of stages"),
        ("trainer.sed", "did you mean 'seed'"),
    ],
)
def test_faults_of_single_settings_are_named(name, complaint):
    with pytest.raises(OptionError) as caught:
        load_views_recipe("demo", {name: "1"})
    assert complaint in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(OptionError, match="use cpu, demo, progressive, small, or the path"):
        load_views_recipe("nosuch")
