"""The presets `paper` and `strong` as they are, through the command line: one step, one batch.

256 px, the whole encoder, every table: what the sizes of the other tests leave out.
"""

import numpy as np
import pytest
import torch
from tiny_runs import make_tiny_entry

from cesped.cli.main import main
from cesped.data.conventions import read_predictions
from cesped.models.encoders.resnet import ResNet
from cesped.models.image2sphere.presets import PRESETS
from cesped.training.checkpoint import load_checkpoint
from cesped.training.history import read_csv

pytestmark = pytest.mark.slow  # 25 s of a core and 2.7 GB each

#: All that a processor cannot have of the recipes: large batches, and the download of weights.
ON_A_PROCESSOR = {
    "data.batch_size": "2",
    "trainer.accumulate_grad_batches": "1",
    "trainer.accelerator": "cpu",
    "trainer.max_steps": "1",
    "trainer.steps_per_round": "1",
}


@pytest.mark.parametrize("name", ["paper", "strong"])
def test_a_step_and_a_prediction_at_full_size(name, session_benchmark_dir, tmp_path):
    make_tiny_entry(session_benchmark_dir, "TINY-6", particles=6)
    settings = {**ON_A_PROCESSOR, "model.weights": str(published_file(name, tmp_path))}
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    run = tmp_path / "run"
    words = ["train", "--target", "TINY-6", "--halfset", "0", "--recipe", name]
    words += ["--benchmarkDir", str(session_benchmark_dir), "--outdir", str(run), *options]
    assert main(words) == 0

    row = read_csv(run / "log.csv")[-1]
    assert row.step == 1
    assert np.isfinite([row.train_loss, row.val_loss]).all()
    model, card = load_checkpoint(run / "model.ckpt")
    assert card.preprocessing["image_size"] == model.input_px == 256
    assert model.encoder.conv1.in_channels == 1 + len(PRESETS[name]["sigmas_px"])
    _, poses, *_ = read_predictions(run / "predictions_1.star")
    assert poses.rotations.shape == (6, 3, 3)
    assert np.all((poses.confidence > 0) & (poses.confidence <= 1))


def published_file(name, folder):
    """Write what stands for torchvision's file: its names, three channels, and a classifier."""
    torch.manual_seed(0)
    encoder = ResNet(PRESETS[name]["encoder"])
    state = {**encoder.state_dict(), "fc.weight": torch.zeros(2, 2048), "fc.bias": torch.zeros(2)}
    torch.save(state, folder / "published.pth")
    return folder / "published.pth"
