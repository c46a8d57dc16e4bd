"""Samples: one by one, in batches, and through augmenters of both kinds."""

import pickle

import fake_entry as fake
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cesped.data.augmentation import AugmentedBatch
from cesped.data.dataset import ParticlesDataset


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return fake.write_fake_entry(tmp_path_factory.mktemp("samples"), "FAKE", n_particles=8)


@pytest.fixture
def dataset(entry):
    return ParticlesDataset("FAKE", 0, entry.benchmark_dir, image_size=28)


class Magnifier:
    """Augments a batch: turns by 90 degrees in the plane, says it has magnified twice."""

    def __init__(self):
        self.seen = None

    def augment_normalised(self, images, preprocessor, rotations, origins_raw_px, generator=None):
        self.seen = images.shape, origins_raw_px
        turn = torch.from_numpy(Rotation.from_euler("z", 90, degrees=True).as_matrix())
        return AugmentedBatch(
            preprocessor.resampled(images),
            rotations @ turn,
            2 * preprocessor.magnification * origins_raw_px,
            np.full(len(images), 2.0),
        )


def test_a_batch_is_its_samples(dataset):
    items = [5, 0, -1, 5]
    batch = dataset.batch(items)
    samples = dataset.__getitems__(items)
    assert batch.images.shape == (4, 1, 28, 28)
    for row, (iid, image, (rotation, origin, confidence), metadata) in enumerate(samples):
        assert iid == metadata["rlnImageName"]
        torch.testing.assert_close(image, batch.images[row], atol=1e-6, rtol=0)
        assert torch.equal(rotation, batch.rotations[row])
        assert torch.equal(origin, batch.origins_angst[row])
        assert torch.equal(confidence, batch.confidence[row])
        assert metadata["pixel_size_angst"] == float(batch.pixel_size_angst[row])
        alone = dataset[items[row]]
        torch.testing.assert_close(alone[1], image, atol=2e-5, rtol=1e-5)
        assert alone[3] == metadata
        assert {type(value) for value in metadata.values()} <= {str, int, float}
    with pytest.raises(IndexError, match="particle 8 of 8"):
        dataset.batch([0, 8])


def test_no_items_make_an_empty_batch(dataset):
    assert dataset.batch([]).images.shape == (0, 1, 28, 28)
    assert dataset.__getitems__([]) == []


def test_metadata_of_a_batch_follows_updates_of_some_rows(dataset):
    ids = list(dataset.particles.ids)
    dataset.updateMd([ids[3]], shifts=np.array([[1.0, -2.0]]), confidence=np.array([0.25]))
    metadata = [sample[3] for sample in dataset.__getitems__([2, 3])]
    assert metadata[1]["rlnOriginXAngst"] == 1.0
    assert metadata[1]["rlnParticleFigureOfMerit"] == 0.25
    assert "rlnParticleFigureOfMerit" not in metadata[0]
    assert dataset.getIdx(3)[1]["rlnOriginYAngst"] == -2.0


def test_a_callable_of_the_published_kind_is_asked_for_each_image(dataset):
    asked = []

    def augmenter(image, euler_deg, shift_fraction):
        asked.append((image.shape, euler_deg.shape, shift_fraction.shape))
        return -image, euler_deg + torch.tensor([0.0, 0.0, 90.0]), 2 * shift_fraction, ["all"]

    plain = dataset.batch([1, 4])
    dataset.augmenter = augmenter
    changed = dataset.batch([1, 4])
    assert asked == 2 * [((1, 28, 28), (3,), (2,))]
    assert torch.equal(changed.images, -plain.images)
    torch.testing.assert_close(changed.origins_angst, 2 * plain.origins_angst)
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    np.testing.assert_allclose(changed.rotations, plain.rotations.numpy() @ turn, atol=1e-6)


def test_an_augmenter_of_batches_gets_full_boxes_and_says_what_it_magnified(dataset, entry):
    plain = dataset.batch([1, 4])
    dataset.augmenter = Magnifier()
    changed = dataset.batch([1, 4])
    shape, origins_raw_px = dataset.augmenter.seen
    assert shape == (2, 32, 32)
    expected_px = entry.poses[0].origins_angst[[1, 4]] / fake.PIXEL_SIZE_ANGST
    np.testing.assert_allclose(origins_raw_px, expected_px, rtol=1e-6)
    torch.testing.assert_close(changed.images, plain.images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(changed.pixel_size_angst, plain.pixel_size_angst / 2)
    # the origin stays what it is in angstrom: twice the pixels, half the size
    torch.testing.assert_close(changed.origins_angst, plain.origins_angst)
    assert dataset[1][3]["pixel_size_angst"] == float(changed.pixel_size_angst[0])


def test_a_pickled_dataset_gives_the_same_samples(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[6][3] == dataset[6][3]
    assert torch.equal(copy[6][1], dataset[6][1])
