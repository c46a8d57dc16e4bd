"""Batches of numpy arrays: every particle once, in an order of the seed, in shards that agree."""

import subprocess
import sys

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.data.augmentation import Augmenter
from cesped.data.batches import iterate_batches
from cesped.data.dataset import ParticlesDataset
from cesped.data.prepared.dataset import PreparedDataset
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions
from cesped.errors import OptionError


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("raw"), n_particles=11)


@pytest.fixture(scope="module")
def dataset(entry):
    return ParticlesDataset(entry.name, 0, entry.benchmark_dir, image_size=20)


def rows_of(batches):
    return np.concatenate([batch["rows"] for batch in batches])


def test_arrays_are_those_of_the_samples(dataset):
    first, second, last = iterate_batches(dataset, 4)
    assert [len(b["images"]) for b in (first, second, last)] == [4, 4, 3]
    iid, image, (rotation, origin_angst, confidence), metadata = dataset[5]
    assert second["ids"][1] == iid
    np.testing.assert_allclose(second["images"][1], image[0], atol=2e-5)
    np.testing.assert_array_equal(second["rotations"][1], rotation)
    np.testing.assert_array_equal(second["origins_angst"][1], origin_angst)
    np.testing.assert_array_equal(second["confidence"][1], confidence[0])
    assert second["pixel_size_angst"][1] == pytest.approx(metadata["pixel_size_angst"])
    kinds = {name: (type(array), array.dtype.kind) for name, array in first.items()}
    assert kinds.pop("ids") == (np.ndarray, "U")
    assert kinds.pop("rows") == (np.ndarray, "i")
    assert set(kinds.values()) == {(np.ndarray, "f")}


def test_the_order_is_the_seeds_and_the_epochs(dataset):
    def order(**settings):
        return rows_of(iterate_batches(dataset, 4, **settings)).tolist()

    assert order() == list(range(11))
    assert order(seed=3) == order(seed=3)
    assert order(seed=3) != order(seed=4)
    assert order(seed=3, epoch=1) != order(seed=3)
    assert sorted(order(seed=3, epoch=1)) == list(range(11))


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_shards_share_the_particles(dataset, shards):
    parts = [
        rows_of(iterate_batches(dataset, 2, seed=1, shard=shard, shards=shards))
        for shard in range(shards)
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(11))
    whole = [
        [
            len(batch["rows"])
            for batch in iterate_batches(
                dataset, 2, seed=1, shard=shard, shards=shards, drop_last=True
            )
        ]
        for shard in range(shards)
    ]
    assert whole == [[2] * (11 // shards // 2)] * shards


@pytest.mark.parametrize("dtype", [np.float16, "float32", np.float64])
def test_images_come_in_the_type_asked_for(dataset, dtype):
    batch = next(iterate_batches(dataset, 3, dtype=dtype))
    assert batch["images"].dtype == np.dtype(dtype)
    assert batch["rotations"].dtype == np.float32
    np.testing.assert_allclose(batch["images"][0], dataset[0][1][0], rtol=1e-3, atol=1e-4)


def test_an_augmenter_of_the_dataset_is_used(entry):
    dataset = ParticlesDataset(entry.name, 0, entry.benchmark_dir, image_size=20)
    plain = next(iterate_batches(dataset, 11))
    dataset.augmenter = Augmenter()
    changed = next(iterate_batches(dataset, 11))
    assert np.abs(changed["rotations"] - plain["rotations"]).max() > 0.01
    assert np.abs(changed["images"] - plain["images"]).max() > 0.1


def test_a_prepared_set_gives_the_same(entry, dataset, tmp_path):
    files = prepare_images(
        dataset.particles, tmp_path / "mine", PreprocessingOptions(image_size=20), symmetry="C1"
    )
    pairs = zip(
        iterate_batches(PreparedDataset(files.star), 4, seed=2),
        iterate_batches(dataset, 4, seed=2),
        strict=True,
    )
    for mine, other in pairs:
        for name in other:
            if name == "images":  # rounded differently in other batches
                np.testing.assert_allclose(mine[name], other[name], atol=2e-5)
            else:
                np.testing.assert_array_equal(mine[name], other[name])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2, "shard": 2, "shards": 2}, "shard is 2 of 2"),
        ({"batch_size": 2, "dtype": np.int32}, "dtype is int32; use one of float16"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(dataset, settings, said):
    with pytest.raises(OptionError, match=said):
        iterate_batches(dataset, **settings)


BARE = """
import sys
for name in {blocked}:
    sys.modules[name] = None
from cesped.data.batches import iterate_batches
from cesped.data.dataset import ParticlesDataset
from cesped.data.prepared.dataset import PreparedDataset
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions
dataset = ParticlesDataset("FAKE", 0, sys.argv[1])
files = prepare_images(dataset.particles, sys.argv[2], PreprocessingOptions(), symmetry="C1")
for source in (dataset, PreparedDataset(files.star)):
    print(next(iterate_batches(source, 4, seed=1))["images"].shape)
"""


def test_what_trains_models_and_draws_is_not_needed(entry, tmp_path):
    blocked = ["lightning", "matplotlib", "plotly", "e3nn", "healpy", "gemmi"]
    code = BARE.format(blocked=blocked)
    words = [sys.executable, "-c", code, str(entry.benchmark_dir), str(tmp_path / "mine")]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.stdout == "(4, 32, 32)\n(4, 32, 32)\n", finished.stderr
