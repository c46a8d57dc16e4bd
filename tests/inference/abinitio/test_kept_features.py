"""Encoded chunks on the disk: what is there is used, what is anything else is not."""

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.data.particle_images import ParticleImages
from cesped.data.preprocessing import PreprocessingOptions
from cesped.errors import GeometryError
from cesped.inference.abinitio import kept_features
from cesped.inference.abinitio.kept_features import FeatureFolder, encode_particles
from cesped.models.cryofastar.model import CryoFastAR
from cesped.vocabulary import CtfCorrection, Normalization


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    entry = write_fake_entry(tmp_path_factory.mktemp("kept"), n_particles=20)
    return read_particle_table(entry.star(0), entry.folder)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(kept_features, "CHUNK", 8)
    torch.manual_seed(0)
    return CryoFastAR("tiny").eval()


def images_of(table, size=None):
    recipe = PreprocessingOptions(size, Normalization.NONE, CtfCorrection.NONE, 0.0)
    return ParticleImages(table, recipe)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_are_used_as_they_are(table, model, tmp_path, dtype):
    model.trunk_to(dtype)
    plain, reused = encode_particles(model, images_of(table))
    assert (len(plain), reused, plain.features.dtype) == (20, 0, dtype)
    kept = FeatureFolder(tmp_path / "kept", "all this")
    first, reused = encode_particles(model, images_of(table), kept=kept)
    assert reused == 0
    assert torch.equal(first.features, plain.features)
    (tmp_path / "kept" / "from_000000008.npy").unlink()
    again, reused = encode_particles(
        model, images_of(table), kept=FeatureFolder(tmp_path / "kept", "all this")
    )
    assert reused == 12
    assert torch.equal(again.features, plain.features)
    assert (again.rows, again.columns) == (4, 4)
    kept.remove()
    assert not (tmp_path / "kept").exists()


def test_chunks_of_anything_else_are_thrown_away(table, model, tmp_path):
    encode_particles(model, images_of(table), kept=FeatureFolder(tmp_path, "one"))
    kept = FeatureFolder(tmp_path, "another")
    assert [path.name for path in tmp_path.iterdir()] == ["made_from.json"]
    encode_particles(model, images_of(table), kept=kept)
    # a chunk of another size or a damaged one is made again
    np.save(tmp_path / "from_000000000.npy", np.zeros((8, 16, 4), np.uint8))
    (tmp_path / "from_000000008.npy").write_bytes(b"\x93NUMPY")
    _, reused = encode_particles(model, images_of(table), kept=kept)
    assert reused == 4


def test_images_that_do_not_fit_are_refused_before_any_is_read(table, model):
    with pytest.raises(GeometryError, match="multiples of 8 px"):
        encode_particles(model, images_of(table, 20))
