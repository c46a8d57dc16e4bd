"""Workers of a DataLoader: every way to start them gives the same samples, with fresh seeds."""

import pickle

import fake_entry as fake
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from cesped.data.augmentation import Augmenter
from cesped.data.dataset import ParticlesDataset

N_PARTICLES = 12


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return fake.write_fake_entry(
        tmp_path_factory.mktemp("workers"), "FAKE", n_particles=N_PARTICLES
    )


def add_a_number(image, euler_deg, shift_fraction):
    """A user's augmentation, as the published package calls it, drawing from torch's own source."""
    return image + torch.rand(()), euler_deg, shift_fraction, []


def images_of(entry, epochs=1, augmenter=None, seed=7, **options):
    """Return `(epochs, P, n, n)` images and all ids, as a loader with such workers gives them."""
    dataset = ParticlesDataset("FAKE", 0, entry.benchmark_dir)
    dataset.augmenter = augmenter
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(dataset, batch_size=3, generator=generator, **options)
    images, ids = [], []
    for _ in range(epochs):
        batches = list(loader)
        images.append(torch.cat([batch[1] for batch in batches])[:, 0])
        ids += [name for batch in batches for name in batch[0]]
    return torch.stack(images), ids


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(entry, method):
    alone, ids = images_of(entry)
    options = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": method}
    shared, shared_ids = images_of(entry, epochs=2, **options)
    assert shared_ids == 2 * ids
    for epoch in shared:
        torch.testing.assert_close(
            epoch, alone[0], atol=2e-5, rtol=1e-5
        )  # numbers of threads differ


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("augmenter", [add_a_number, Augmenter()], ids=["callable", "batched"])
def test_seeds_differ_by_worker_and_epoch_and_come_again(entry, augmenter, persistent):
    options = {"num_workers": 2, "persistent_workers": persistent}
    plain = images_of(entry)[0][0]
    first, second = images_of(entry, epochs=2, augmenter=augmenter, **options)[0]
    assert not torch.equal(first, second)
    again = images_of(entry, epochs=2, augmenter=augmenter, **options)[0]
    torch.testing.assert_close(again, torch.stack([first, second]), atol=0, rtol=0)
    other = images_of(entry, augmenter=augmenter, seed=8, **options)[0][0]
    assert not torch.equal(other, first)
    if augmenter is add_a_number:  # batches go to the workers in turn
        drawn = (first - plain).mean(dim=(1, 2)).numpy()
        assert len(np.unique(drawn.round(4))) == N_PARTICLES


def test_a_worker_draws_on_when_its_process_goes_on(entry):
    torch.manual_seed(5)
    first, second = images_of(entry, epochs=2, augmenter=add_a_number)[0]
    torch.manual_seed(5)
    again = images_of(entry, epochs=2, augmenter=add_a_number)[0]
    assert not torch.equal(first, second)
    torch.testing.assert_close(again, torch.stack([first, second]), atol=0, rtol=0)


def test_metadata_of_a_batch_is_that_of_torch_from_every_worker(entry):
    dataset = ParticlesDataset("FAKE", 0, entry.benchmark_dir)
    expected = default_collate([dict(dataset[row][3]) for row in range(4)])
    for n_workers in (0, 1):
        batch = next(iter(DataLoader(dataset, batch_size=4, num_workers=n_workers)))
        metadata = batch[3]
        assert isinstance(metadata, dict)
        assert list(metadata) == list(expected)
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(metadata[name], value)
                assert metadata[name].dtype == value.dtype
            else:
                assert metadata[name] == value
    again = pickle.loads(pickle.dumps(metadata))
    assert torch.equal(again["rlnDefocusU"], metadata["rlnDefocusU"])


def test_rows_with_a_column_more_do_not_make_a_batch(entry):
    dataset = ParticlesDataset("FAKE", 0, entry.benchmark_dir)
    dataset.updateMd([dataset.particles.ids[0]], confidence=np.array([0.5]))
    with pytest.raises(KeyError, match="rlnParticleFigureOfMerit"):
        default_collate([dataset[0][3], dataset[1][3]])
