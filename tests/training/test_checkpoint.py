"""Checkpoints: what is in them, and what is refused."""

import pickle

import pytest
import torch
from small_cryofastar import SIZES

from cesped.errors import CheckpointError
from cesped.models.cryofastar.config import CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.registry import build_model
from cesped.training.checkpoint import (
    CheckpointCard,
    load_checkpoint,
    read_torch_file,
    save_checkpoint,
    write_torch_file,
)

OPTIONS = {
    "encoder": "compact",
    "widths": [4, 4, 4],
    "l_max": 1,
    "sphere_features": 4,
    "so3_features": 2,
    "projector_order": 1,
    "filter_order": 0,
    "grid_order": 0,
}


@pytest.fixture
def model():
    return build_model("image2sphere", "D2", **OPTIONS)


def card_of(model):
    preprocessing = {
        "image_size": 16,
        "normalization": "noiseStats",
        "ctf_correction": "phase_flip",
        "crop_fraction": 0.25,
    }
    return CheckpointCard(model.config, "11120", 0, preprocessing)


def test_a_checkpoint_gives_the_model_back(model, tmp_path):
    path = save_checkpoint(tmp_path / "m.ckpt", card_of(model), model.state_dict())
    loaded, card = load_checkpoint(path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
    assert card.symmetry == "D2"
    assert card.package_version


def test_damaged_foreign_and_missing_files_are_refused(model, tmp_path):
    path = save_checkpoint(tmp_path / "m.ckpt", card_of(model), model.state_dict())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"m\.ckpt cannot be read"):
        load_checkpoint(path)
    write_torch_file(path, {"state_dict": {}})
    with pytest.raises(CheckpointError, match="is no model of this package"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_weights_of_views_are_told_from_a_model(tmp_path):
    weights = tmp_path / "weights.safetensors"
    CryoFastAR(CryoFastARConfig.from_dict(SIZES)).save(weights)
    with pytest.raises(CheckpointError, match=r"--model cryofastar --model\.weights"):
        load_checkpoint(weights)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        read_torch_file(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


def test_weights_of_another_model_are_refused(model, tmp_path):
    other = build_model("image2sphere", "D2", **{**OPTIONS, "so3_features": 3})
    path = save_checkpoint(tmp_path / "m.ckpt", card_of(model), other.state_dict())
    with pytest.raises(CheckpointError, match="does not fit the models of this version"):
        load_checkpoint(path)


def test_a_newer_format_is_refused(model, tmp_path):
    path = save_checkpoint(tmp_path / "m.ckpt", card_of(model), model.state_dict())
    content = read_torch_file(path)
    write_torch_file(path, {**content, "format": 99})
    with pytest.raises(CheckpointError, match="has format 99"):
        load_checkpoint(path)
