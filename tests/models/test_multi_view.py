"""Models of many views: sets out of batches, labels of symmetric particles, frames by anchors."""

import numpy as np
import pytest
import torch

from cesped.errors import OptionError
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.models.anchors import frames_of_anchors, nearest_to_reference
from cesped.models.multi_view import MultiViewModel, RelativePoses

MIRROR = np.diag([1.0, 1.0, -1.0])
PIXEL = 2.5


class Knowing(MultiViewModel):
    """Reads pose and shift out of the pixels; answers relative to view 0, if told with errors."""

    def __init__(self, symmetry, **options):
        super().__init__(symmetry, **options)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.encoded = [], 0
        self.mirrored, self.wrong_turn = False, torch.eye(3)

    def set_loss(self, views):
        self.seen.append(views)
        return self.weight.square()

    def encode(self, images):
        self.encoded += len(images)
        return images.flatten(1)[:, :11]

    def relative_poses(self, features, image_size_px):
        assert image_size_px == 4
        rotations = features[..., :9].unflatten(-1, (3, 3))
        # the same wrong turn of the reference in all that it says
        found = (rotations[:, :1] @ self.wrong_turn).transpose(-1, -2) @ rotations
        if self.mirrored:
            mirror = torch.tensor(MIRROR, dtype=found.dtype)
            found = mirror @ found @ mirror
        return RelativePoses(found, features[..., 9:11], torch.full(found.shape[:2], 0.75))


def particles(count, seed=0):
    """Return images that say what they are, with poses and shifts [px]."""
    rng = np.random.default_rng(seed)
    rotations = torch.tensor(random_rotations(count, rng), dtype=torch.float32)
    shifts = torch.tensor(rng.uniform(-2, 2, (count, 2)), dtype=torch.float32)
    images = torch.zeros(count, 1, 4, 4)
    images.view(count, 16)[:, :9] = rotations.flatten(1)
    images.view(count, 16)[:, 9:11] = shifts
    return images, rotations, shifts


def knowing(symmetry="C1", **options):
    model = Knowing(symmetry, **{"views": 5, "anchors": 7, "references": 3, **options})
    model.pixel_size_angst = PIXEL
    model.take_anchors(*particles(model.anchors, seed=1))
    return model


@pytest.mark.parametrize("pool", ["anchors", "any"])
def test_a_batch_becomes_sets_in_its_order(pool):
    model = knowing(reference_pool=pool, views=4)
    images, rotations, shifts = particles(10)
    trust = torch.linspace(0.1, 1.0, 10)
    model.loss(images, rotations, trust, shifts_angst=-PIXEL * shifts)
    (sets,) = model.seen
    own = sets.images[:, 1:] if pool == "anchors" else sets.images
    index = torch.arange(own.shape[0] * own.shape[1]) % 10  # the last is filled up
    torch.testing.assert_close(own.flatten(0, 1), images[index])
    poses = sets.images.flatten(2)[..., :9].unflatten(-1, (3, 3))
    torch.testing.assert_close(sets.rotations, poses[:, :1].transpose(-1, -2) @ poses)
    torch.testing.assert_close(sets.shifts_px, sets.images.flatten(2)[..., 9:11])
    worth = sets.trust[:, 1:] if pool == "anchors" else sets.trust
    torch.testing.assert_close(worth.flatten(), trust[index])
    known = {tuple(image.flatten().tolist()) for image in model.anchor_images[:3]}
    first = {tuple(image.flatten().tolist()) for image in sets.images[:, 0]}
    assert (first <= known) is (pool == "anchors")


def test_views_grow_in_stages_of_equal_length():
    model = knowing(views=12, first_views=2)
    grown = []
    for step in range(8):
        model.progress = step / 8
        grown.append(model.views_now())
    assert grown == [2, 2, 4, 4, 8, 8, 12, 12]
    assert model.eval().views_now() == 12
    assert knowing(views=12).views_now() == 12


@pytest.mark.parametrize("symmetry", ["C1", "C4", "D2", "T"])
def test_the_label_of_a_symmetric_view_is_the_nearest_to_the_reference(symmetry):
    group = point_group(symmetry)
    rng = np.random.default_rng(3)
    rotations = random_rotations(24, rng).reshape(4, 6, 3, 3)
    operators = torch.tensor(group.operators)
    found = nearest_to_reference(torch.tensor(rotations), operators).numpy()
    for one, chosen in zip(rotations, found, strict=True):
        for view, mate in zip(one, chosen, strict=True):
            equal = group.operators @ view
            angles = geodesic_distance_deg(equal, one[0])
            assert geodesic_distance_deg(mate, one[0]) == pytest.approx(angles.min(), abs=1e-6)
            assert geodesic_distance_deg(equal, mate).min() < 1e-6
    # what stands in the star file is one of the equal poses, and which does not matter
    other = group.operators[rng.integers(0, group.order, (4, 6))] @ rotations
    other[:, 0] = rotations[:, 0]
    again = nearest_to_reference(torch.tensor(other), operators).numpy()
    np.testing.assert_allclose(again, found, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_exact_relative_poses_give_exact_absolute_ones(mirrored, count):
    model = knowing().eval()
    model.mirrored = mirrored
    images, rotations, shifts = particles(count)
    found = model.predict(images)
    assert geodesic_distance_deg(found.rotations.numpy(), rotations.numpy()).max() < 0.05
    torch.testing.assert_close(found.shifts_angst, -PIXEL * shifts, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.confidence, torch.full((count,), 0.75))


def test_an_error_that_a_reference_makes_everywhere_is_taken_off_by_the_anchors():
    model = knowing().eval()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.4, 0.1], [0.4, 0, 0], [-0.1, 0, 0]]))
    model.wrong_turn = turn
    images, rotations, _ = particles(9)
    found = model.predict(images)
    assert geodesic_distance_deg(found.rotations.numpy(), rotations.numpy()).max() < 0.05
    few = knowing(anchors=3, references=1).eval()  # too few to doubt a known pose
    few.wrong_turn = turn
    assert geodesic_distance_deg(few.predict(images).rotations, rotations).min() > 20


def test_guesses_move_no_frame_and_flip_no_hand():
    rng = np.random.default_rng(8)
    known = random_rotations(12, rng)
    found = random_rotations(36, rng).reshape(3, 12, 3, 3)
    frames = frames_of_anchors(known, found, np.ones((3, 12)), point_group("C1"), torch.zeros(3, 1))
    np.testing.assert_allclose(frames.rotations, known[:3])
    assert not frames.mirrored
    assert frames.residual_deg > 30


@pytest.mark.parametrize("symmetry", ["C3", "D2"])
def test_frames_of_symmetric_particles_are_right_up_to_the_group(symmetry):
    rng = np.random.default_rng(4)
    group = point_group(symmetry)
    known = random_rotations(8, rng)
    equal = group.operators[rng.integers(0, group.order, 8)] @ known
    found = np.swapaxes(known[:2], 1, 2)[:, None] @ equal[None]
    frames = frames_of_anchors(known, found, np.ones((2, 8)), group, torch.zeros(2, 1))
    assert symmetric_distance_deg(frames.rotations, known[:2], group).max() < 1e-5


def test_every_image_is_encoded_once():
    model = knowing().eval()
    model.predict(particles(20)[0])
    assert model.encoded == 20 + 7  # with the anchors
    model.predict(particles(20)[0])
    assert model.encoded == 40 + 7
    model.load_state_dict(model.state_dict())  # other weights may have come
    model.predict(particles(20)[0])
    assert model.encoded == 60 + 14


def test_anchors_travel_with_the_weights():
    model = knowing().eval()
    other = Knowing("C1", views=5, anchors=7, references=3, pixel_size_angst=PIXEL).eval()
    with pytest.raises(OptionError, match="has no anchors"):
        other.predict(particles(2)[0])
    other.load_state_dict(model.state_dict())
    images = particles(6)[0]
    torch.testing.assert_close(
        other.predict(images).rotations, model.predict(images).rotations, atol=0, rtol=0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 1}, "views is 1; it must be 2 or more"),
        ({"references": 0}, "references is 0"),
        ({"anchors": 2, "references": 3}, "references is 3, of 2 anchors"),
        ({"first_views": 9, "views": 8}, "first_views is 9; use 2 up to views, 8"),
        ({"reference_pool": "all"}, "use 'anchors' or 'any'"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Knowing("C1", **options)


def test_without_a_pixel_size_or_shifts_it_says_what_it_needs():
    model = Knowing("C1")
    images, rotations, shifts = particles(3)
    with pytest.raises(OptionError, match="pixel size"):
        model.loss(images, rotations, torch.ones(3), shifts_angst=shifts)
    with pytest.raises(OptionError, match="give shifts_angst"):
        model.loss(images, rotations, torch.ones(3))
