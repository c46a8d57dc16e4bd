"""The optimizer is the paper's; the running mean of the weights is what it says."""

import contextlib

import numpy as np
import pytest
import torch
from plain_cnn import PlainCnn
from second_device import back, second_device, there
from tiny_runs import cnn_recipe

from cesped.errors import OptionError
from cesped.geometry.rotations import random_rotations
from cesped.training.module import PoseModule, WeightAverage
from cesped.training.quiet_lightning import make_trainer, quiet_lightning
from cesped.training.recipe import load_recipe


def trainer_of(recipe, tmp_path):
    with quiet_lightning():
        return make_trainer(recipe, 3, tmp_path)


def test_the_optimizer_is_that_of_the_paper():
    module = PoseModule(PlainCnn("C1"), load_recipe("paper"), total_steps=10)
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.RAdam
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-3, 1e-5)
    assert len(group["params"]) == len(list(module.model.parameters()))


def test_settings_reach_the_trainer(tmp_path):
    trainer = trainer_of(load_recipe("paper", {"trainer.accelerator": "cpu"}), tmp_path)
    assert trainer.gradient_clip_val == 5.0
    assert trainer.accumulate_grad_batches == 1
    assert trainer.world_size == 1
    recipe = cnn_recipe(
        optimizer__gradient_clip=0.0,
        trainer__accumulate_grad_batches=4,
        trainer__precision="bf16-mixed",
        trainer__devices=2,
        trainer__num_nodes=3,
    )
    trainer = trainer_of(recipe, tmp_path)
    assert trainer.gradient_clip_val is None
    assert trainer.accumulate_grad_batches == 4
    assert trainer.precision == "bf16-mixed"
    assert trainer.world_size == 6
    assert trainer.strategy._ddp_kwargs["broadcast_buffers"] is False


def test_ways_to_work_together_that_would_lose_the_run_are_refused(tmp_path):
    for strategy in ("ddp_spawn", "fsdp", "dpp"):
        with pytest.raises(OptionError, match="use one of: auto, ddp, ddp_find"):
            trainer_of(cnn_recipe(trainer__strategy=strategy, trainer__devices=2), tmp_path)
    unused = cnn_recipe(trainer__strategy="ddp_find_unused_parameters_true", trainer__devices=2)
    assert trainer_of(unused, tmp_path).strategy._ddp_kwargs["find_unused_parameters"] is True
    alone = trainer_of(cnn_recipe(trainer__strategy="ddp"), tmp_path)
    assert alone.world_size == 1


def test_processes_that_nobody_asked_for_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(OptionError, match=r"set trainer\.devices to the number on each machine"):
        trainer_of(cnn_recipe(), tmp_path)


def test_a_plateau_halves_the_rate_for_good():
    module = PoseModule(PlainCnn("C1"), load_recipe("paper"), total_steps=10)
    chosen = module.configure_optimizers()
    schedule = chosen["lr_scheduler"]["scheduler"]
    module.halve_rate()
    chosen["optimizer"].step()
    schedule.step()
    assert schedule.get_last_lr() == [pytest.approx(5e-4)]
    again = PoseModule(PlainCnn("C1"), load_recipe("paper"), total_steps=10)
    chosen = again.configure_optimizers()  # before the state comes, as Lightning does
    again.load_state_dict(module.state_dict())
    assert float(again.get_buffer("rate_scale")) == 0.5
    chosen["optimizer"].step()
    chosen["lr_scheduler"]["scheduler"].step()
    assert chosen["lr_scheduler"]["scheduler"].get_last_lr() == [pytest.approx(5e-4)]


def test_the_mean_of_the_weights_runs_behind_them():
    model = PlainCnn("C1")
    start = {name: value.clone() for name, value in model.named_parameters()}
    average = WeightAverage(model)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(1.0)
    average.update(model, decay=0.75)
    named = average.named(model.state_dict())
    for name, value in start.items():
        torch.testing.assert_close(named[name], value + 0.25)
    assert "network.1.running_mean" in named  # of the statistics of batches too
    assert "network.1.num_batches_tracked" not in named


def test_exchanged_twice_all_weights_are_back():
    model = PlainCnn("C1")
    average = WeightAverage(model)
    with torch.no_grad():
        model.network[0].weight.add_(1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    average.swap(model)
    torch.testing.assert_close(model.network[0].weight, before["network.0.weight"] - 1.0)
    average.swap(model)
    for name, value in model.state_dict().items():
        assert value.equal(before[name]), name


def test_what_predicts_is_the_mean():
    recipe = cnn_recipe(trainer__average_decay=0.9)
    module = PoseModule(PlainCnn("C1"), recipe, total_steps=10)
    with torch.no_grad():
        module.model.network[0].weight.add_(1.0)
    mean = module.predicting_weights()["network.0.weight"]
    torch.testing.assert_close(mean, module.model.network[0].weight - 1.0)
    plain = PoseModule(PlainCnn("C1"), cnn_recipe(trainer__average_decay=0.0), total_steps=10)
    assert plain.predicting_weights()["network.0.weight"].equal(plain.model.network[0].weight)


def test_a_batch_is_augmented_where_it_is(monkeypatch):
    """On the stand-in for a GPU, which knows no autocast: the same images, poses and origins."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    augmentation = PoseModule(
        PlainCnn("C1"), cnn_recipe(augmentation__noise_std=0.1), total_steps=10
    ).augmentation
    batch = (
        torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.from_numpy(random_rotations(6, np.random.default_rng(0))).float(),
        torch.tensor([[1.0, 2.0]]).expand(6, 2),
    )
    expected = augmentation(*batch, torch.Generator().manual_seed(1))
    with second_device():
        far = augmentation(*map(there, batch), torch.Generator().manual_seed(1))
        found = [back(tensor) for tensor in far]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
