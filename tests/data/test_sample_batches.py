"""Batches are those of torch's own collation, and slabs are never written while somebody looks."""

import copy
import gc
import os
import pickle

import pytest
import torch
from fake_entry import write_fake_entry
from torch.utils.data import DataLoader, Subset, default_collate

from cesped.data.dataset import ParticlesDataset
from cesped.data.sample_batches import ParticleSample, SampleBatch
from cesped.data.shared_slabs import MOST_SLABS, SlabPool, images_in


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    fake = write_fake_entry(tmp_path_factory.mktemp("entries"), n_particles=40)
    return ParticlesDataset("FAKE", 0, benchmarkDir=fake.benchmark_dir)


def plain(sample):
    """Return a sample as torch knows nothing of it."""
    name, image, pose, metadata = sample
    return name, image, pose, dict(metadata)


def assert_same(batch, expected, atol=0.0):
    assert list(batch[0]) == list(expected[0])
    torch.testing.assert_close(batch[1], expected[1], rtol=0, atol=atol)
    for pose, wanted in zip(batch[2], expected[2], strict=True):
        torch.testing.assert_close(pose, wanted, rtol=0, atol=0)
    assert list(batch[3]) == list(expected[3])
    for name, wanted in expected[3].items():
        if isinstance(wanted, torch.Tensor):
            torch.testing.assert_close(batch[3][name], wanted, rtol=0, atol=0)
        else:
            assert list(batch[3][name]) == list(wanted)


class TestCollation:
    def test_is_that_of_torch(self, dataset):
        samples = dataset.__getitems__([3, 1, 7])
        expected = default_collate([plain(sample) for sample in samples])
        batch = default_collate(samples)
        assert_same(batch, expected)
        assert isinstance(batch, list)
        assert isinstance(samples[0], tuple)

    def test_does_not_copy_images_that_were_prepared_together(self, dataset):
        samples = dataset.__getitems__([3, 1, 7])
        assert default_collate(samples)[1].data_ptr() == samples[0][1].data_ptr()

    @pytest.mark.parametrize("choice", [[2, 0, 1], [0, 1], [0, 0, 1], [1]])
    def test_of_other_orders_and_parts_is_what_they_hold(self, dataset, choice):
        samples = [dataset.__getitems__([3, 1, 7])[place] for place in choice]
        assert_same(default_collate(samples), default_collate([plain(s) for s in samples]))

    def test_of_samples_of_different_calls(self, dataset):
        samples = [dataset[4], dataset[2], dataset.__getitems__([5, 6])[1]]
        assert_same(default_collate(samples), default_collate([plain(s) for s in samples]))

    def test_sees_what_was_changed_in_an_image(self, dataset):
        samples = dataset.__getitems__([3, 1])
        samples[1][1].fill_(7.0)
        assert (default_collate(samples)[1][1] == 7.0).all()

    def test_sees_a_sample_that_was_made_anew(self, dataset):
        samples = dataset.__getitems__([3, 1])
        name, image, pose, metadata = samples[0]
        samples[0] = ParticleSample((name, image + 1.0, pose, metadata))
        torch.testing.assert_close(default_collate(samples)[1][0], image + 1.0)

    def test_samples_and_batches_are_pickled_and_copied_whole(self, dataset):
        samples = dataset.__getitems__([3, 1])
        again = pickle.loads(pickle.dumps(samples))
        assert again[0].batch is None
        assert_same(default_collate(again), default_collate(samples))
        batch = default_collate(samples)
        assert_same(pickle.loads(pickle.dumps(batch)), batch)
        assert isinstance(copy.copy(batch), SampleBatch)


#: Of images that processes with other numbers of threads prepared.
ROUNDING = 1e-4


class TestWorkers:
    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_batches_that_are_kept_are_never_overwritten(self, dataset, method):
        loader = DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context=method)
        kept = list(loader)  # more batches than a worker has slabs
        assert len(kept) > 2 * MOST_SLABS
        for batch, expected in zip(kept, DataLoader(dataset, batch_size=3), strict=True):
            assert_same(batch, expected, atol=ROUNDING)

    def test_views_outlive_their_batch(self, dataset):
        loader = DataLoader(dataset, batch_size=3, num_workers=1, persistent_workers=True)
        expected = torch.cat([batch[1][1:2] for batch in DataLoader(dataset, batch_size=3)])
        for _ in range(2):
            views = [batch[1][1:2].numpy() for batch in loader]
            gc.collect()
            seen = torch.cat([torch.from_numpy(view) for view in views])
            torch.testing.assert_close(seen, expected, rtol=0, atol=ROUNDING)

    def test_parts_of_a_dataset_and_an_epoch_left_early(self, dataset):
        part = Subset(dataset, range(5, 20))
        loader = DataLoader(part, batch_size=4, num_workers=2, persistent_workers=True)
        next(iter(loader))
        for batch, expected in zip(loader, DataLoader(part, batch_size=4), strict=True):
            assert_same(batch, expected, atol=ROUNDING)


class TestSlabs:
    def test_a_free_slab_is_used_again_and_one_in_use_is_not(self):
        pool = SlabPool()
        first = torch.arange(12.0).view(3, 4)
        slab = pool.filled(first)
        images = images_in(slab, first.shape, first.dtype)
        row = images[1]
        other = pool.filled(first + 1)
        assert other.data_ptr() != slab.data_ptr()
        del images
        assert pool.filled(first + 2).data_ptr() not in (slab.data_ptr(), other.data_ptr())
        torch.testing.assert_close(row, first[1])
        del row
        assert pool.filled(first[:2]).data_ptr() == slab.data_ptr()

    def test_keeps_no_more_than_it_needs(self):
        pool = SlabPool()
        pointers = [pool.filled(torch.zeros(5)).data_ptr() for _ in range(3 * MOST_SLABS)]
        assert len(set(pointers[-MOST_SLABS:])) == MOST_SLABS
        assert len(pool._slabs) == MOST_SLABS

    def test_a_larger_batch_needs_another_slab(self):
        pool = SlabPool()
        small = pool.filled(torch.zeros(5))
        images_in(small, torch.Size([5]), torch.float32)  # gone at once: free
        assert pool.filled(torch.zeros(500)).numel() > small.numel()
        assert pool.filled(torch.zeros(5)).data_ptr() == small.data_ptr()

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_forked_process_frees_nothing_of_its_parent(self):
        images = images_in(slab := SlabPool().filled(torch.ones(4)), torch.Size([4]), torch.float32)
        child = os.fork()
        if child == 0:
            del images
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        assert slab[0] == 1
        del images
        assert slab[0] == 0

    def test_numbers_of_eight_bytes(self):
        values = torch.arange(6, dtype=torch.float64).view(2, 3)
        slab = SlabPool().filled(values)
        torch.testing.assert_close(images_in(slab, values.shape, values.dtype), values)
