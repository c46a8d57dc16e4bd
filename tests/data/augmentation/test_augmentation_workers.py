"""Data-loader workers: schedules that advance, draws that differ, and runs that repeat."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from cesped.data.augmentation import Augmenter
from cesped.data.augmentation.schedules import ImageCounter, Probability

#: Adds what cannot be overlooked to every image, with a probability that rises from 0 to 1.
RISING = {
    "operations": {
        "randomGaussNoise": {
            "p": 0.0,
            "kwargs": {"scale": 1.0},
            "probScheduler": {
                "type": "linear_up",
                "kwargs": {"max_prob": 1.0, "scheduler_steps": 64},
            },
        }
    }
}
TURNS = {"operations": {"inPlaneRotations": {"p": 1, "kwargs": {"maxDegrees": 180}}}}


class Blank(Dataset):
    """Blank images, augmented: what was drawn is seen in the rotations."""

    def __init__(self, augmenter, count=32):
        self.augmenter = augmenter
        self.count = count

    def __len__(self):
        return self.count

    def __getitems__(self, items):
        images, rotations, _ = self.augmenter.augment(
            torch.zeros(len(items), 1, 6, 6), torch.eye(3).expand(len(items), 3, 3)
        )
        return list(zip(images, rotations, strict=True))


def loader(augmenter, workers=2, method="fork", persistent=False, seed=5):
    return DataLoader(
        Blank(augmenter),
        batch_size=4,
        num_workers=workers,
        multiprocessing_context=method if workers else None,
        persistent_workers=persistent,
        generator=torch.Generator().manual_seed(seed),
    )


def drawn_angles(batches):
    rotations = torch.cat([rotations for _, rotations in batches])
    return torch.atan2(rotations[:, 0, 1], rotations[:, 0, 0]).numpy()


WORKERS = [(0, None, False), (2, "fork", False), (2, "fork", True), (2, "spawn", True)]


@pytest.mark.parametrize(("workers", "method", "persistent"), WORKERS)
def test_schedules_advance_with_the_images_of_all_workers(workers, method, persistent):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0) if method == "spawn" else None
    augmenter = Augmenter(RISING, generator)
    batches = loader(augmenter, workers, method, persistent)
    changed = []
    for epoch in range(4):
        changed.append(sum(int((images != 0).any()) for images, _ in batches))
        assert augmenter.images_seen == 32 * (epoch + 1)
    assert changed[0] < 8  # of 8 batches; the first of each worker never changes
    assert changed[2:] == [8, 8]  # p = 1 after 64 images
    noisy = torch.cat([images for images, _ in batches]).flatten(1).any(dim=1)
    assert bool(noisy.all())


@pytest.mark.parametrize("seeded", [True, False], ids=["own generator", "torch's"])
@pytest.mark.parametrize(("workers", "method", "persistent"), WORKERS[:3])
def test_draws_differ_between_workers_and_epochs_and_repeat(workers, method, persistent, seeded):
    def run():
        torch.manual_seed(3)
        generator = torch.Generator().manual_seed(1) if seeded else None
        batches = loader(Augmenter(TURNS, generator), workers, method, persistent)
        return [drawn_angles(batches) for _ in range(2)]

    first, second = run(), run()
    np.testing.assert_array_equal(first, second)
    everything = np.concatenate(first)
    assert len(np.unique(everything)) == len(everything)  # no worker and no epoch draws again


def test_a_generator_of_ones_own_decides_with_workers_too():
    angles = [
        drawn_angles(loader(Augmenter(TURNS, torch.Generator().manual_seed(seed))))
        for seed in (1, 2)
    ]
    assert not set(angles[0]) & set(angles[1])


def test_a_training_that_resumes_goes_on_with_its_schedule():
    augmenter = Augmenter(RISING)
    assert augmenter.images_seen == 0
    augmenter.images_seen = 64
    images, *_ = augmenter.augment(torch.zeros(16, 1, 6, 6), torch.eye(3).expand(16, 3, 3))
    assert bool(images.flatten(1).any(dim=1).all())
    assert augmenter.images_seen == 80
    still, *_ = augmenter.augment(
        torch.zeros(16, 1, 6, 6), torch.eye(3).expand(16, 3, 3), images_seen=0
    )
    assert not still.any()
    assert augmenter.images_seen == 80


def test_without_schedules_nothing_is_counted_and_nothing_shared():
    augmenter = Augmenter("paper")
    augmenter.augment(torch.zeros(2, 1, 8, 8), torch.eye(3).expand(2, 3, 3))
    augmenter.images_seen = 7
    assert augmenter.images_seen == 0


def test_an_augmenter_survives_pickling():
    augmenter = Augmenter(RISING, torch.Generator().manual_seed(8))
    augmenter.images_seen = 640
    copy = pickle.loads(pickle.dumps(augmenter))
    assert copy.images_seen == 640
    blank = torch.zeros(3, 1, 6, 6), torch.eye(3).expand(3, 3, 3)
    for _ in range(2):
        assert torch.equal(copy.augment(*blank)[0], augmenter.augment(*blank)[0])
    seeds = [one._generator.initial_seed() for one in (augmenter, copy)]
    assert seeds == [8, 8]  # workers seed theirs from it


def test_probabilities_go_straight_from_start_to_end():
    rising, falling = Probability(0.1, 0.5, 200), Probability(0.9, 0.3, 10)
    assert [rising.after(seen) for seen in (0, 100, 200, 10**9)] == pytest.approx(
        [0.1, 0.3, 0.5, 0.5]
    )
    assert [falling.after(seen) for seen in (0, 5, 50)] == pytest.approx([0.9, 0.6, 0.3])
    assert not Probability(0.3, 0.3).changes


def test_the_counter_starts_again_where_it_is_told():
    counter = ImageCounter()
    counter.add(3)
    counter.add(4)
    assert counter.total() == 7
    counter.restart(100)
    counter.add(1)
    assert counter.total() == 101
