"""The plan of a recipe: its steps, images, operations and hours, before anything is learned."""

import re

import pytest
import torch

from cesped.cli.main import main
from cesped.errors import OptionError
from cesped.models.cryofastar.model import CryoFastAR
from cesped.training.views.recipe import load_views_recipe
from cesped.workflows.view_plan import matmul_tflops, plan_lines, weight_count


def hours_of(lines):
    return [float(re.search(r"([\d.e+-]+) h( on .*)?$", line)[1]) for line in lines[:-2]]


def test_the_paper_s_scheme_takes_the_paper_s_three_weeks(capsys):
    """At the rate that its stated inference times come to, without checkpointing."""
    words = ["--trainer.devices", "8", "--trainer.num_nodes", "4", "--tflops", "33.8"]
    words += ["--trainer.checkpointing", "false", "--outdir", "unused", "--plan"]
    assert main(["train-views", "--recipe", "progressive", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[2].startswith("Stage 3: 1,109,375 steps of 1024 sets x 2 views, shards, SNR 5 to")
    assert "2,272,000,000 images" in lines[2]
    together = re.search(r"([\d.]+) h on 32 device\(s\) of 33.8 TFLOP/s in bfloat16", lines[-2])
    weeks = float(together[1]) / 24 / 7
    assert 2.5 < weeks < 3.5
    assert sum(hours_of(lines)) == pytest.approx(float(together[1]), rel=1e-3)
    assert lines[-1].startswith("Weights, gradients and optimizer: 7.9 GiB;")


def test_recomputing_costs_a_third_more_and_twice_the_devices_half_the_time():
    recipe = {"trainer.checkpointing": "false"}
    plain = hours_of(plan_lines(load_views_recipe("cpu", recipe), "cpu", 0.1))
    again = hours_of(
        plan_lines(load_views_recipe("cpu", {"trainer.checkpointing": "true"}), "cpu", 0.1)
    )
    two = hours_of(plan_lines(load_views_recipe("cpu", {"trainer.devices": "2"}), "cpu", 0.1))
    assert again == pytest.approx([4 / 3 * hours for hours in plain], rel=1e-3)
    assert two == pytest.approx([hours / 2 for hours in plain], rel=1e-3)


def test_without_a_rate_it_is_measured(capsys):
    lines = plan_lines(load_views_recipe("demo"), "cpu")
    assert "half of the" in lines[-2]
    assert 1e-4 < matmul_tflops(torch.device("cpu"), bfloat16=False) < 100


def test_weights_are_counted_without_being_made():
    made = sum(weight.numel() for weight in CryoFastAR("tiny").parameters())
    assert weight_count(load_views_recipe("demo")) == made


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match=r"no GPU here|is none"):
        plan_lines(load_views_recipe("demo"), "cuda9x")
