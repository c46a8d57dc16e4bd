"""The dataset: what a sample holds, workers, updates, faults."""

import pickle

import fake_entry as fake
import mrcfile
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from cesped import errors
from cesped.data.dataset import ParticlesDataset, ParticlesRelionStarDataset
from cesped.geometry.rotations import geodesic_distance_deg


@pytest.fixture
def entry(tmp_path):
    return fake.write_fake_entry(tmp_path, "FAKE", n_particles=10)


@pytest.fixture
def dataset(entry):
    return ParticlesDataset("FAKE", 0, benchmarkDir=entry.benchmark_dir)


def raw(entry, halfset=0, **options):
    return ParticlesRelionStarDataset(
        entry.star(halfset), entry.folder, "C1", perImg_normalization="none", **options
    )


def test_poses_of_the_samples(entry, dataset):
    for row in (0, 7, -1):
        iid, _, (rotation, shift, _), _ = dataset[row]
        assert iid == f"{row % 10 + 1:06d}@particles_0.mrcs"
        assert geodesic_distance_deg(rotation.numpy(), entry.poses[0].rotations[row]) < 1e-4
        np.testing.assert_allclose(shift, entry.poses[0].origins_angst[row], rtol=1e-6)


def test_untouched_images_are_the_stack(entry):
    images = torch.stack([sample[1] for sample in raw(entry)])
    assert torch.equal(images[:, 0], torch.from_numpy(entry.images[0]))


def test_image_agrees_with_its_pose_after_crop_and_resize(tmp_path):
    entry = fake.write_fake_entry(tmp_path, "CLEAN", n_particles=6, box=48, snr=1e6)
    for size in (30, 31, 48):
        dataset = ParticlesDataset("CLEAN", 1, entry.benchmark_dir, image_size=size)
        for _, image, _, metadata in dataset:
            row = int(metadata["rlnImageName"].partition("@")[0]) - 1
            alone = entry.poses[1].select([row])
            # pixel size and centre of the sample alone must explain where the balls are
            pixel_size = metadata["pixel_size_angst"]
            balls = fake.project_balls(
                entry.balls_angst, entry.weights, alone, size, pixel_size, 1.3 * 3 / pixel_size
            )
            flipped = fake.apply_ctf(balls, entry.ctf[1].select([row]), pixel_size)
            flipped = fake.apply_ctf(flipped, entry.ctf[1].select([row]), pixel_size)
            correlation = np.corrcoef(flipped.ravel(), image.numpy().ravel())[0, 1]
            assert correlation > 0.9
        assert dataset.sampling_rate == pytest.approx(3 * 36 / size)


def test_iteration_and_bounds(dataset):
    assert len(list(dataset)) == 10
    for row in (10, -11):
        with pytest.raises(IndexError, match="of 10 in"):
            dataset[row]


def test_batched_fetch_equals_single(dataset):
    together = dataset.__getitems__([3, 1, 8])
    for row, (iid, image, pose, metadata) in zip((3, 1, 8), together, strict=True):
        alone = dataset[row]
        assert iid == alone[0]
        assert torch.allclose(image, alone[1], atol=1e-5)
        assert torch.equal(pose[0], alone[2][0])
        assert metadata == alone[3]


def test_pickled_copy_reads_the_same(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[4][1], dataset[4][1])


def test_spawned_workers(dataset):
    loader = DataLoader(dataset, batch_size=5, num_workers=1, multiprocessing_context="spawn")
    images = torch.cat([batch[1] for batch in loader])
    assert torch.allclose(images, torch.stack([s[1] for s in dataset]), atol=1e-5)


def test_raw_image_and_row(entry, dataset):
    image, metadata = dataset.getIdx(2)
    np.testing.assert_array_equal(image, entry.images[0][2])
    assert metadata["rlnImageName"] == "000003@particles_0.mrcs"


def test_updates_show_in_samples_and_leave_the_rest(dataset, tmp_path):
    before = dataset.particles
    rotation = Rotation.random(2, random_state=3).as_matrix()
    ids = ["000005@particles_0.mrcs", "000002@particles_0.mrcs"]
    dataset.updateMd(ids, angles=rotation, confidence=[0.5, 2.0])
    assert torch.allclose(dataset[1][2][0], torch.tensor(rotation[1], dtype=torch.float32))
    np.testing.assert_array_equal(before.poses.rotations[0], dataset.particles.poses.rotations[0])
    assert geodesic_distance_deg(before.poses.rotations[1], rotation[1]) > 1
    assert dataset[1][3]["rlnParticleFigureOfMerit"] == 2.0
    euler = Rotation.from_matrix(rotation[1]).as_euler("ZYZ", degrees=True)
    assert dataset[1][3]["rlnAngleTilt"] == pytest.approx(euler[1])
    assert "rlnParticleFigureOfMerit" not in dataset[0][3]
    dataset.saveMd(tmp_path / "out.star")
    saved = fake.starfile.read(tmp_path / "out.star")["particles"]["rlnParticleFigureOfMerit"]
    assert saved.tolist() == [1, 2, 1, 1, 0.5, 1, 1, 1, 1, 1]


ID = ["000001@particles_0.mrcs"]
BAD_UPDATES = {
    "nothing": ((ID,), {}, errors.OptionError, "nothing to update"),
    "foreign": ((["9@x.mrcs"], np.eye(3)[None]), {}, errors.IdMismatchError, "'9@x.mrcs'"),
    "twice": ((ID * 2, np.eye(3)[None].repeat(2, 0)), {}, errors.IdMismatchError, "given twice"),
    "shape": ((ID, np.eye(3)), {}, errors.GeometryError, r"\(1, 3, 3\) is needed"),
    "no rotation": ((ID, 2 * np.eye(3)[None]), {}, errors.GeometryError, "angles"),
    "nan": ((ID, None, [[np.nan, 0]]), {}, errors.GeometryError, "particle 1 of 1"),
    "negative": ((ID, None, None, [-1.0]), {}, errors.MetadataError, "must not be negative"),
    "format": (
        (ID, np.eye(3)[None]),
        {"angles_format": "quaternion"},
        errors.OptionError,
        "rotmat, zyzEulerDegs",
    ),
    "unit": ((ID, None, [[0, 0]]), {"shifts_format": "px"}, errors.OptionError, "Angst"),
}


@pytest.mark.parametrize("fault", BAD_UPDATES)
def test_bad_updates_change_nothing(dataset, fault):
    arguments, options, kind, message = BAD_UPDATES[fault]
    before = dataset.particles.poses.rotations.copy()
    with pytest.raises(kind, match=message):
        dataset.updateMd(*arguments, **options)
    np.testing.assert_array_equal(dataset.particles.poses.rotations, before)


def test_saving_is_guarded(dataset, tmp_path):
    with pytest.raises(errors.OptionError, match=r"does not end in \.star"):
        dataset.saveMd(tmp_path / "x.txt")
    dataset.saveMd(tmp_path / "x.star")
    with pytest.raises(errors.EntryExistsError):
        dataset.saveMd(tmp_path / "x.star", overwrite=False)


def test_published_augmenter_protocol(dataset):
    seen = {}

    def augmenter(img, eulerDeg, shiftFraction):
        seen.update(shape=img.shape, euler=eulerDeg, fraction=shiftFraction)
        return img + 1, eulerDeg + torch.tensor([0.0, 0.0, 90.0]), shiftFraction * 0, ["done"]

    _, image, (rotation, shift, _), _ = dataset[2]
    dataset.augmenter = augmenter
    _, changed, (turned, moved, _), _ = dataset[2]
    assert seen["shape"] == (1, 32, 32)
    width_angst = dataset.image_size * dataset.sampling_rate
    np.testing.assert_allclose(seen["fraction"] * width_angst, shift, rtol=1e-5)
    assert torch.allclose(changed, image + 1)
    quarter = torch.tensor(Rotation.from_euler("z", 90, degrees=True).as_matrix())
    assert torch.allclose(turned.double(), rotation.double() @ quarter, atol=1e-6)
    assert moved.tolist() == [0, 0]


def test_normalised_background(dataset):
    _, image, _, _ = ParticlesDataset(
        "FAKE", 0, dataset.benchmarkDir, image_size_factor_for_crop=0.0
    )[0]
    axis = torch.arange(32) - 16
    outside = (axis[:, None] ** 2 + axis[None, :] ** 2) > 16**2
    assert float(image[0][outside].mean()) == pytest.approx(0, abs=1e-5)
    assert float(image[0][outside].std()) == pytest.approx(1, abs=1e-5)


def test_faulty_images_are_named(entry):
    with mrcfile.mmap(entry.folder / "particles_0.mrcs", mode="r+") as mrc:
        mrc.data[4] = 3.0
        mrc.data[6, 1, 1] = np.inf
    dataset = ParticlesDataset("FAKE", 0, entry.benchmark_dir)
    with pytest.raises(errors.ImageValueError, match=r"row 5 of .*particles_0.star .*constant"):
        dataset[4]
    with pytest.raises(errors.ImageValueError, match=r"row 7 of .*particles_0.star .*NaN or infin"):
        dataset[6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctf_correction": "flip"}, "none, phase_flip, ctf_multiply, wiener"),
        ({"image_size_factor_for_crop": -0.1}, "from 0 to 0.5"),
        ({"image_size": 0}, "at least 4"),
        ({"image_size": 40.5}, "image_size is 40.5; use a whole number"),
        ({"image_size": "40"}, "image_size is '40'; use a whole number"),
        ({"image_size_factor_for_crop": "a lot"}, "is 'a lot'; use a fraction of the box"),
    ],
)
def test_options_are_closed(entry, options, message):
    with pytest.raises(errors.OptionError, match=message):
        ParticlesDataset("FAKE", 0, entry.benchmark_dir, **options)


def test_missing_entries_say_what_to_do(tmp_path):
    with pytest.raises(errors.EntryNotFoundError, match="cesped add"):
        ParticlesDataset("NONE", 0, tmp_path)
    with pytest.raises(errors.EntryNotFoundError, match=r"record 8352275 of zenodo.org"):
        ParticlesDataset("10786", 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ctf_correction_needs_a_ctf(entry):
    fake.write_star_31(entry.star(0), entry.poses[0], entry.ctf[0], 32, rlnDefocusU=None)
    with pytest.raises(errors.MetadataError, match="no rlnDefocusU"):
        ParticlesDataset("FAKE", 0, entry.benchmark_dir)
    assert len(ParticlesDataset("FAKE", 0, entry.benchmark_dir, ctf_correction="none")) == 10


def test_particles_are_counted_in_whole_numbers(dataset):
    with pytest.raises(TypeError):
        dataset[1.7]
