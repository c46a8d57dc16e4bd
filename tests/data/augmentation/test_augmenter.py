"""`Augmenter` on batches, on another device, and as a dataset's augmenter."""

from contextlib import nullcontext

import fake_entry as fake
import numpy as np
import pytest
import torch
from second_device import back, second_device, there
from torch.utils.data import DataLoader

from cesped import ParticlesRelionStarDataset
from cesped.data.augmentation import Augmenter
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.errors import GeometryError, OptionError
from cesped.vocabulary import CtfCorrection, Normalization

ALL = {
    "operations": {
        "randomGaussNoise": {"p": 0.5, "kwargs": {"scale": 0.5}},
        "randomUnifNoise": {"p": 0.5, "kwargs": {"scale": 2.0}},
        "inPlaneRotations90": {"p": 1.0},
        "inPlaneRotations": {"p": 0.5, "kwargs": {"maxDegrees": 20}},
        "inPlaneShifts": {"p": 0.5, "kwargs": {"maxShiftFraction": 0.05}},
        "sizePerturbation": {"p": 0.5, "kwargs": {"maxSizeFraction": 0.05}},
        "oppositeViews": {"p": 0.5},
        "gaussianBlur": {"p": 0.5, "kwargs": {"scale": 2}},
        "erasing": {"p": 0.5, "kwargs": {"scale": [0.0, 0.02]}},
    }
}


def batch(count=8, n=24, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, n, n, generator=generator, dtype=dtype)
    return images, torch.eye(3, dtype=torch.float64).expand(count, 3, 3), torch.zeros(count, 2)


def test_new_tensors_of_the_same_kinds_are_returned():
    images, rotations, origins_px = batch()
    kept = [images.clone(), rotations.clone(), origins_px.clone()]
    changed = Augmenter(ALL).augment(images, rotations, origins_px)
    assert all(
        torch.equal(a, b) for a, b in zip(kept, (images, rotations, origins_px), strict=True)
    )
    for before, after in zip(kept, changed, strict=True):
        assert (after.shape, after.dtype, after.device) == (
            before.shape,
            before.dtype,
            before.device,
        )


def test_kernel_and_torch_augment_alike():
    """Float64 goes through torch everywhere, as float32 does on another device."""
    images, rotations, origins_px = batch(64)
    moves = {**ALL["operations"]}
    for noisy in ("randomGaussNoise", "randomUnifNoise"):  # drawn in the type of the images
        moves.pop(noisy)
    augmenter = Augmenter({"operations": moves})
    here = augmenter.augment(images, rotations, origins_px, torch.Generator().manual_seed(2))
    there = augmenter.augment(
        images.double(), rotations, origins_px, torch.Generator().manual_seed(2)
    )
    assert torch.allclose(here[0].double(), there[0], atol=1e-5)
    assert torch.equal(here[1], there[1])


def test_grey_values_may_be_drawn_from_elsewhere():
    """A device draws noise faster than it gets there; moves are the same everywhere."""
    images, rotations, origins_px = batch(64)
    augmenter = Augmenter(ALL)

    def augmented(grey_seed):
        own = None if grey_seed is None else torch.Generator().manual_seed(grey_seed)
        moves = torch.Generator().manual_seed(2)
        return augmenter.augment(images, rotations, origins_px, moves, grey_generator=own)

    first, again, other = augmented(5), augmented(5), augmented(6)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])
    assert torch.equal(augmented(None)[1], first[1])


@pytest.mark.gpu
def test_the_device_gives_the_same_numbers():
    images, rotations, origins_px = batch(64)
    preprocessor = Preprocessor(
        PreprocessingOptions(32, Normalization.NONE, CtfCorrection.NONE, 0.25), 24
    )
    augmenter = Augmenter(ALL)
    generators = [torch.Generator().manual_seed(2) for _ in range(4)]
    here = augmenter.augment(images, rotations, origins_px, generators[0])
    there = augmenter.augment(images.cuda(), rotations.cuda(), origins_px.cuda(), generators[1])
    for a, b in zip(here, there, strict=True):
        assert b.device.type == "cuda"
        assert torch.allclose(a, b.cpu(), atol=1e-5)
    here = augmenter.augment_normalised(
        images[:, 0], preprocessor, rotations, origins_px, generators[2]
    )
    there = augmenter.augment_normalised(
        images[:, 0].cuda(), preprocessor, rotations, origins_px, generators[3]
    )
    assert torch.allclose(here.images, there.images.cpu(), atol=1e-5)
    on_device = torch.Generator("cuda").manual_seed(2)
    assert augmenter.augment(images.cuda(), rotations, origins_px, on_device)[0].is_cuda


def test_a_second_device_gives_the_same_numbers(monkeypatch):
    """The way that a GPU takes, without one."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows real ones alone
    images, rotations, origins_px = batch(64)
    preprocessor = Preprocessor(
        PreprocessingOptions(32, Normalization.NONE, CtfCorrection.NONE, 0.25), 24
    )
    augmenter = Augmenter(ALL)
    generators = [torch.Generator().manual_seed(2) for _ in range(4)]
    here = augmenter.augment(images, rotations, origins_px, generators[0])
    with second_device():
        far = augmenter.augment(there(images), there(rotations), there(origins_px), generators[1])
    for a, b in zip(here, far, strict=True):
        torch.testing.assert_close(back(b), a, atol=1e-5, rtol=0)
    here = augmenter.augment_normalised(
        images[:, 0], preprocessor, rotations, origins_px, generators[2]
    )
    with second_device():
        far = augmenter.augment_normalised(
            there(images[:, 0]), preprocessor, rotations, origins_px, generators[3]
        )
    torch.testing.assert_close(back(far.images), here.images, atol=1e-5, rtol=0)


def test_noise_is_as_strong_as_the_background_where_pixels_were_averaged():
    """A recipe means the same for every size of image."""
    noise_alone = {"operations": {"randomGaussNoise": {"p": 1, "kwargs": {"scale": 0.5}}}}
    deviations = {}
    for size in (32, 64, 128):
        options = PreprocessingOptions(size, Normalization.NONE, CtfCorrection.NONE, 0.0)
        changed = Augmenter(noise_alone).augment_normalised(
            torch.zeros(200, 64, 64),
            Preprocessor(options, 64),
            torch.eye(3).expand(200, 3, 3),
            torch.zeros(200, 2),
            torch.Generator().manual_seed(1),
        )
        deviations[size] = float(changed.images.std())
    assert deviations[64] == pytest.approx(0.5 / np.sqrt(3), rel=0.1)
    assert deviations[32] == pytest.approx(deviations[64] / 2, rel=0.02)
    assert deviations[128] == pytest.approx(deviations[64], rel=0.02)


def test_no_image_and_no_operation():
    nothing = Augmenter({"operations": {}})
    images, rotations, origins_px = batch(3)
    changed, turned, moved = nothing.augment(images, rotations, origins_px)
    assert torch.allclose(changed, images, atol=1e-5)
    assert torch.equal(turned, rotations)
    assert torch.equal(moved, origins_px)
    none = Augmenter(ALL).augment(images[:0], rotations[:0])
    assert [tuple(part.shape) for part in none] == [(0, 1, 24, 24), (0, 3, 3), (0, 2)]
    never = Augmenter({**ALL, "min_n_augm_per_img": 0, "max_n_augm_per_img": 0})
    assert torch.equal(never.augment(images, rotations)[1], rotations)


def test_shapes_that_do_not_fit_are_refused():
    images, rotations, origins_px = batch(4)
    with pytest.raises(GeometryError, match=r"4 images need rotations \(4, 3, 3\)"):
        Augmenter(ALL).augment(images, rotations[:3], origins_px)
    with pytest.raises(GeometryError, match=r"found \(4, 3, 3\) and \(4, 3\)"):
        Augmenter(ALL).augment(images, rotations, torch.zeros(4, 3))
    with pytest.raises(OptionError, match="oversampling is 0"):
        Augmenter(ALL, oversampling=0)


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    entry = fake.write_fake_entry(tmp_path_factory.mktemp("entries"), n_particles=24)
    return entry.star(0)


def opened(star, **options):
    return ParticlesRelionStarDataset(star, star.parent, "C1", **options)


def test_a_dataset_gives_augmented_samples(star):
    dataset = opened(star, image_size_factor_for_crop=0.25)
    plain = dataset[3]
    dataset.augmenter = Augmenter(
        {"operations": {"sizePerturbation": {"p": 1, "kwargs": {"maxSizeFraction": 0.05}}}},
        torch.Generator().manual_seed(0),
    )
    iid, image, (rotation, shift_angst, confidence), metadata = dataset[3]
    assert iid == plain[0]
    assert image.shape == plain[1].shape
    assert torch.equal(rotation, plain[2][0])
    assert torch.equal(confidence, plain[2][2])
    # a zoom moves the content by more pixels, which are smaller: in angstrom nothing changes
    assert torch.allclose(shift_angst, plain[2][1], atol=1e-5)
    assert 1 / 1.05 <= metadata["pixel_size_angst"] / plain[3]["pixel_size_angst"] < 1
    assert {**metadata, "pixel_size_angst": 0} == {**plain[3], "pixel_size_angst": 0}


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_augment_a_dataset_and_the_run_repeats(star, method):
    def run():
        dataset = opened(star, ctf_correction="phase_flip")
        dataset.augmenter = Augmenter("paper", torch.Generator().manual_seed(4))
        loader = DataLoader(
            dataset,
            batch_size=6,
            num_workers=2,
            multiprocessing_context=method,
            persistent_workers=True,
            generator=torch.Generator().manual_seed(1),
        )
        return [torch.cat([batch[1] for batch in loader]) for _ in range(2)]

    first, second = run()
    assert first.shape == (24, 1, 32, 32)
    assert not torch.equal(first, second)
    assert torch.equal(first, run()[0])
