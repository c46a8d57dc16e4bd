"""A prepared dataset gives the samples that the raw one gives, to all who take them."""

import os
import pickle
import shutil

import numpy as np
import pytest
import starfile
import torch
from fake_entry import write_star_30
from sets import make_entry
from torch.utils.data import DataLoader

from cesped.data.augmentation import Augmenter
from cesped.data.dataset import ParticlesDataset, ParticlesRelionStarDataset
from cesped.data.prepared.dataset import PreparedDataset
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions
from cesped.errors import MetadataError, OptionError, StaleImagesError
from cesped.vocabulary import PixelType

SIZE, CROP = 20, 0.25


def prepare(entry, folder, stored_as=PixelType.FLOAT32, **options):
    raw = ParticlesDataset(entry.name, 0, entry.benchmark_dir)
    done = PreprocessingOptions(**{"image_size": SIZE, "crop_fraction": CROP, **options})
    return prepare_images(raw.particles, folder / "particles_0", done, stored_as, "C1")


def raw_dataset(entry, **options):
    settings = {"image_size": SIZE, "image_size_factor_for_crop": CROP, **options}
    return ParticlesDataset(entry.name, 0, entry.benchmark_dir, **settings)


@pytest.fixture
def entry(tmp_path):
    return make_entry(tmp_path / "raw")


@pytest.fixture
def datasets(entry, tmp_path):
    files = prepare(entry, tmp_path / "set")
    return raw_dataset(entry), PreparedDataset(files.star)


def assert_same_sample(found, expected):
    assert found[0] == expected[0]
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], expected[1], atol=2e-5, rtol=0)  # other batches round so
    for mine, other in zip(found[2], expected[2], strict=True):
        assert torch.equal(mine, other)
    assert found[3] == expected[3]


def test_samples_are_those_of_the_raw_particles(datasets):
    raw, prepared = datasets
    assert len(prepared) == len(raw) == 11
    for mine, other in zip(
        prepared.__getitems__(range(11)), raw.__getitems__(range(11)), strict=True
    ):
        assert_same_sample(mine, other)
    assert_same_sample(prepared[-1], raw[-1])
    assert prepared[3][3]["pixel_size_angst"] == pytest.approx(3.0 * 24 / 20)


def test_properties_are_those_of_the_raw_dataset(datasets):
    raw, prepared = datasets
    for name in ("symmetry", "image_size", "sampling_rate", "ctf_correction"):
        assert getattr(prepared, name) == getattr(raw, name)
    assert prepared.stackFname.endswith("set/particles_0.mrcs")
    assert prepared.options.crop_fraction == CROP
    np.testing.assert_allclose(prepared.getIdx(2)[0], raw[2][1][0].numpy(), atol=2e-5)


def test_relion_30_particles_keep_their_columns_and_saved_poses(entry, tmp_path):
    write_star_30(entry.star(0), entry.poses[0], entry.ctf[0], "particles_0.mrcs")
    files = prepare(entry, tmp_path / "set")
    raw, prepared = raw_dataset(entry), PreparedDataset(files.star)
    assert_same_sample(prepared[4], raw[4])
    for dataset, name in ((raw, "raw.star"), (prepared, "prepared.star")):
        dataset.updateMd(list(dataset.particles.ids), shifts=np.full((11, 2), 6.0))
        dataset.saveMd(tmp_path / name)
    assert (tmp_path / "raw.star").read_text() == (tmp_path / "prepared.star").read_text()
    assert starfile.read(tmp_path / "prepared.star")["rlnOriginX"].tolist() == pytest.approx(
        [2.0] * 11
    )


def test_predictions_saved_from_either_are_the_same(datasets, tmp_path):
    for dataset, name in zip(datasets, ("raw.star", "prepared.star"), strict=True):
        ids = list(dataset.particles.ids)
        dataset.updateMd(ids, torch.eye(3).expand(11, 3, 3), torch.ones(11, 2), torch.ones(11))
        dataset.saveMd(tmp_path / name)
    assert (tmp_path / "raw.star").read_text() == (tmp_path / "prepared.star").read_text()


@pytest.mark.parametrize("stored_as", list(PixelType))
def test_what_is_left_to_crop_and_resize_is_done_when_reading(entry, tmp_path, stored_as):
    files = prepare(entry, tmp_path / "set", stored_as, image_size=None, crop_fraction=0.0)
    raw = raw_dataset(entry)
    prepared = PreparedDataset(files.star, SIZE, CROP)
    tolerance = 2e-5 if stored_as is PixelType.FLOAT32 else 2e-3
    for mine, other in zip(prepared, raw, strict=True):
        torch.testing.assert_close(mine[1], other[1], atol=tolerance, rtol=1e-3)
        assert mine[3]["pixel_size_angst"] == pytest.approx(other[3]["pixel_size_angst"])


def test_an_augmenter_does_to_both_the_same(entry, tmp_path):
    """Prepared at the full box, cropped when read: nothing is missing at the edges."""
    files = prepare(entry, tmp_path / "set", image_size=None, crop_fraction=0.0)
    raw, prepared = raw_dataset(entry), PreparedDataset(files.star, SIZE, CROP)
    batches = []
    for dataset in (raw, prepared):
        dataset.augmenter = Augmenter(generator=torch.Generator().manual_seed(5))
        batches.append(dataset.batch(range(11)))
    assert prepared._images.preprocessor.noise_deviation == raw._images.preprocessor.noise_deviation
    for mine, other in zip(*batches, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_with_workers_give_every_particle(datasets, workers):
    raw, prepared = datasets
    loader = DataLoader(prepared, batch_size=4, num_workers=workers)
    ids, images, poses, metadata = zip(*loader, strict=True)
    assert [name for batch in ids for name in batch] == list(raw.particles.ids)
    torch.testing.assert_close(torch.cat(images), raw.batch(range(11)).images, atol=2e-5, rtol=0)
    assert poses[0][0].shape == (4, 3, 3)
    assert metadata[0]["pixel_size_angst"].shape == (4,)


def test_a_copy_for_another_process_is_whole(datasets):
    _, prepared = datasets
    expected = prepared[5]
    assert_same_sample(pickle.loads(pickle.dumps(prepared))[5], expected)


def test_a_changed_source_is_refused_unless_it_does_not_matter(entry, tmp_path):
    files = prepare(entry, tmp_path / "set")
    stack = entry.folder / "particles_0.mrcs"
    os.utime(stack, ns=(1, 1))
    with pytest.raises(StaleImagesError, match=r"out of date: the stack was changed since: .*mrcs"):
        PreparedDataset(files.star)
    assert len(PreparedDataset(files.star, check_source=False)) == 11
    entry.star(0).write_text(entry.star(0).read_text() + "\n")
    with pytest.raises(StaleImagesError, match="star file is not what it was"):
        PreparedDataset(files.star)


def test_the_source_may_be_gone_or_the_set_moved(entry, tmp_path):
    files = prepare(entry, tmp_path / "set")
    expected = PreparedDataset(files.star)[7]
    (entry.folder / "particles_0.mrcs").unlink()
    assert_same_sample(PreparedDataset(files.star)[7], expected)
    shutil.rmtree(entry.folder)
    (tmp_path / "set").rename(tmp_path / "moved")
    assert_same_sample(PreparedDataset(tmp_path / "moved" / "particles_0.mrcs")[7], expected)


def test_without_a_symmetry_one_must_be_given(entry, tmp_path):
    table = raw_dataset(entry).particles
    files = prepare_images(table, tmp_path / "set" / "mine", PreprocessingOptions())
    with pytest.raises(OptionError, match="states no symmetry"):
        PreparedDataset(files.star)
    assert PreparedDataset(files.star, symmetry="d2").symmetry == "D2"


def test_the_exported_star_file_is_not_corrected_twice(entry, tmp_path):
    files = prepare(entry, tmp_path / "set")
    with pytest.raises(MetadataError, match="twice"):
        ParticlesRelionStarDataset(files.star, files.folder, "C1", ctf_correction="phase_flip")
    plain = ParticlesRelionStarDataset(files.star, files.folder, "C1", perImg_normalization="none")
    assert torch.equal(plain[3][1], PreparedDataset(files.star)[3][1])


def test_a_table_of_another_length_is_recognised(entry, tmp_path):
    files = prepare(entry, tmp_path / "set")
    lines = files.source_star.read_text().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if "@" in line)
    shorter = "".join(lines[:last])
    files.source_star.write_text(shorter + "#" * (files.source_star.stat().st_size - len(shorter)))
    with pytest.raises(StaleImagesError, match="10 particles for 11 prepared images"):
        PreparedDataset(files.star)
