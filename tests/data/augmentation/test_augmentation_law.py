"""The law of augmentation: a changed image is the projection at its new pose and pixel size."""

import exact_projections as exact
import fake_entry as fake
import numpy as np
import pytest
import torch

from cesped.data.augmentation import Augmenter
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.data.samples import load_batch
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.physics.density import density_from_atoms
from cesped.physics.projection import Projector
from cesped.vocabulary import CtfCorrection, Normalization

MOVES = {
    "inPlaneShifts": {"p": 1, "kwargs": {"maxShiftFraction": 0.05}},
    "inPlaneRotations": {"p": 1, "kwargs": {"maxDegrees": 20}},
    "inPlaneRotations90": {"p": 1},
    "sizePerturbation": {"p": 1, "kwargs": {"maxSizeFraction": 0.05, "minSizeFraction": -0.05}},
    "oppositeViews": {"p": 0.5},
}
GREYS = {
    "randomUnifNoise": {"p": 1, "kwargs": {"scale": 0.1}},
    "randomGaussNoise": {"p": 1, "kwargs": {"scale": 0.05}},
    "gaussianBlur": {"p": 1, "kwargs": {"scale": 0.6}},
    "erasing": {"p": 1, "kwargs": {"scale": [0.0, 0.002], "ratio": [0.3, 2.3]}},
}
ALL_MOVES = [*({name: values} for name, values in MOVES.items()), MOVES]
NAMES = [*MOVES, "together"]


def plain(box, size=None, crop=0.0):
    options = PreprocessingOptions(size, Normalization.NONE, CtfCorrection.NONE, crop)
    return Preprocessor(options, box)


def augmented(operations, poses, preprocessor, seed=4, **rounds):
    """Return images, poses and pixel sizes after augmentation of exact projections."""
    before = exact.PIXEL_SIZE_ANGST
    changed = Augmenter({"operations": operations, **rounds}).augment_normalised(
        exact.projections(poses, preprocessor.box),
        preprocessor,
        torch.from_numpy(poses.rotations),
        torch.from_numpy(poses.origins_angst / before),
        torch.Generator().manual_seed(seed),
    )
    after = preprocessor.pixel_size_after(before) / changed.scale
    origins_angst = changed.origins_px.numpy() * after[:, None]
    return changed.images, Poses(changed.rotations.numpy(), origins_angst, poses.confidence), after


@pytest.mark.parametrize("operations", ALL_MOVES, ids=NAMES)
@pytest.mark.parametrize("box", [48, 49])
def test_every_move_is_the_projection_at_the_new_pose(operations, box):
    poses = fake.fake_poses(12, np.random.default_rng(5))
    exact.check_law(*augmented(operations, poses, plain(box)))


@pytest.mark.parametrize("operations", ALL_MOVES, ids=NAMES)
@pytest.mark.parametrize(("box", "size", "crop"), [(64, 72, 0.25), (65, 41, 0.25), (63, 64, 0.2)])
def test_the_law_holds_through_crop_and_resize(operations, box, size, crop):
    poses = fake.fake_poses(6, np.random.default_rng(6))
    exact.check_law(*augmented(operations, poses, plain(box, size, crop)))


@pytest.mark.parametrize("operation", GREYS)
def test_greys_leave_the_pose_alone(operation):
    """Weak noise, a slight blur and a small patch: the image is that of the pose it came with."""
    poses = fake.fake_poses(12, np.random.default_rng(7))
    images, after, pixel_size = augmented({operation: GREYS[operation]}, poses, plain(48))
    assert np.array_equal(after.rotations, poses.rotations)
    np.testing.assert_allclose(after.origins_angst, poses.origins_angst, atol=1e-12)
    assert (pixel_size == exact.PIXEL_SIZE_ANGST).all()
    expected = exact.projections(poses, 48)
    assert not torch.allclose(images, expected, atol=1e-3)
    if operation == "erasing":  # what is left is the image
        changed = ((images - expected).abs() > 1e-4).float().mean(dim=(1, 2))
        assert float(changed.max()) < 0.005
    else:
        assert float(exact.correlations(images, expected).min()) >= 0.995


def test_all_operations_together_through_crop_and_resize():
    poses = fake.fake_poses(12, np.random.default_rng(8))
    greys = {name: GREYS[name] for name in ("randomUnifNoise", "randomGaussNoise", "gaussianBlur")}
    images, after, pixel_size = augmented({**GREYS, **MOVES}, poses, plain(64, 72, 0.25))
    expected = exact.projections(after, 72, pixel_size)
    assert float(exact.correlations(images, expected).median()) >= 0.98
    images, after, pixel_size = augmented({**greys, **MOVES}, poses, plain(64, 72, 0.25))
    expected = exact.projections(after, 72, pixel_size)
    assert float(exact.correlations(images, expected).min()) >= 0.99
    # noise moves what is found in one image, but not on average
    pairs = zip(images, expected, strict=True)
    shifts = np.array([exact.found_shift_px(image, reference) for image, reference in pairs])
    assert np.abs(shifts.mean(axis=0)).max() < 0.02


def test_several_rounds_are_one_move():
    poses = fake.fake_poses(12, np.random.default_rng(9))
    rounds = {"min_n_augm_per_img": 2, "max_n_augm_per_img": 3}
    exact.check_law(*augmented(MOVES, poses, plain(64), **rounds))


def test_the_law_has_teeth():
    """With the old pose, or an origin that does not turn, or the old pixel size, it fails."""
    poses = fake.fake_poses(8, np.random.default_rng(5), shift_angst=9.0)
    moves = {**MOVES, "sizePerturbation": {"p": 1, "kwargs": {"maxSizeFraction": 0.05}}}
    images, after, pixel_size = augmented(moves, poses, plain(48))
    unturned = Poses(after.rotations, poses.origins_angst, poses.confidence)
    for wrong, size in ((poses, pixel_size), (unturned, pixel_size), (after, 3.0)):
        with pytest.raises(AssertionError):
            exact.check_law(images, wrong, size)


@pytest.mark.parametrize("box", [48, 49])
def test_a_map_projected_at_the_new_pose_is_the_augmented_image(box):
    """As a user would check it: with the package's own projector, and the mean pixel size."""
    zoom = {"p": 1, "kwargs": {"maxSizeFraction": 0.04, "minSizeFraction": 0.04}}
    balls = np.random.default_rng(3).uniform(-28, 28, (40, 3))

    def volume(pixel_size_angst):
        return density_from_atoms(balls, np.ones(40), box, pixel_size_angst, 12.0)

    poses = fake.fake_poses(12, np.random.default_rng(10))
    images, rotations, origins_px = Augmenter(
        {"operations": {**MOVES, "sizePerturbation": zoom}}
    ).augment(
        Projector(volume(3.0)).project(poses.rotations, poses.origins_angst / 3.0)[:, None],
        torch.from_numpy(poses.rotations),
        torch.from_numpy(poses.origins_angst / 3.0),
        torch.Generator().manual_seed(1),
    )
    expected = Projector(volume(3.0 / 1.04)).project(rotations, origins_px)
    assert float(exact.correlations(images[:, 0], expected).min()) >= 0.995
    for image, reference in zip(images[:, 0], expected, strict=True):
        assert np.abs(exact.found_shift_px(image, reference)).max() < 0.02


def test_the_published_call_moves_pose_and_image_alike():
    box = 48
    for seed in range(6):
        poses = fake.fake_poses(1, np.random.default_rng(seed))
        image = exact.projections(poses, box)
        euler = torch.from_numpy(rotation_to_euler(poses.rotations)[0])
        fraction = torch.from_numpy(poses.origins_angst[0] / (3.0 * box))
        given = [image.clone(), euler.clone(), fraction.clone()]
        augmenter = Augmenter({"operations": MOVES}, torch.Generator().manual_seed(seed))
        moved, new_euler, new_fraction, applied = augmenter(image, euler, fraction)
        assert all(torch.equal(a, b) for a, b in zip(given, (image, euler, fraction), strict=True))
        (name, values), *greys = applied
        assert (name, greys) == ("move", [])
        pixel_size = 3.0 / values["scale"]
        origin_angst = new_fraction.numpy()[None] * box * pixel_size
        rotation = euler_to_rotation(new_euler.numpy())[None]
        exact.check_law(moved, Poses(rotation, origin_angst, np.ones(1)), pixel_size)


class ExactImages:
    """Images of a table that are exact projections, in place of files."""

    def __init__(self, table, poses, preprocessor):
        self.table, self.preprocessor = table, preprocessor
        self._images = exact.projections(poses, preprocessor.box)

    def normalised(self, rows):
        return self._images[torch.from_numpy(rows)]


def test_samples_of_a_dataset_obey_the_law():
    """Origins in angstrom and the pixel size that the sample states belong together."""
    poses = fake.fake_poses(8, np.random.default_rng(11))

    class Table:
        pixel_size_angst = np.full(8, 3.0)

    images = ExactImages(Table, poses, plain(64, 60, 0.2))
    rows = np.array([5, 0, 3])
    batch = load_batch(images, rows, poses, Augmenter({"operations": MOVES}))
    after = Poses(
        batch.rotations.double().numpy(), batch.origins_angst.double().numpy(), np.ones(3)
    )
    assert len(set(batch.pixel_size_angst.tolist())) == 3
    exact.check_law(batch.images[:, 0], after, batch.pixel_size_angst.numpy())
