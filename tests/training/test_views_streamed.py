"""Sets of views from shards: exact labels, each structure once, the same after any interruption."""

import numpy as np
import pytest
import torch
from second_device import ELSEWHERE, back, second_device
from tiny_shards import BOX, PIXEL, write_shards
from tiny_views import tiny_stages

from cesped.data.shards.lanes import ShardLane
from cesped.data.simulation.optics import OpticsRanges
from cesped.errors import GeometryError, MetadataError, OptionError, ShardError
from cesped.io.shards import Block, ShardWriter, read_shard, read_shard_from, stated_checksum
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane, shift_phase
from cesped.training.views.learning import train_views
from cesped.training.views.sets import TRAINING, VALIDATION, StreamedSource
from cesped.training.views.streamed import ShardViews, StreamOptions

STREAM = (0, 1, TRAINING)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), shards=5, structures=4)


def source_of(paths, batch=4, lanes=2, buffer=3, uses=1, **more):
    return ShardViews(paths, batch, BOX, StreamOptions(lanes, buffer, uses, 1), **more)


def names_of(paths, lane, lanes, count, **more):
    reader = ShardLane(paths, lane, lanes, (7,), **{"buffer": 3, **more})
    return [reader.draw().block.name for _ in range(count)]


def test_lanes_share_all_structures_out(paths):
    epoch = [names_of(paths, lane, 2, count) for lane, count in ((0, 12), (1, 8))]
    # a lane's buffer may hold one of the next epoch already: what it gave at first is of this one
    assert not {*epoch[0][:9]} & {*epoch[1][:5]}
    alone = names_of(paths, 0, 1, 20, buffer=1)
    assert sorted(alone) == sorted(b.name for path in paths for b in read_shard(path))
    assert names_of(paths, 0, 1, 40, buffer=1)[20:] != alone  # shards are shuffled otherwise


def test_a_buffer_shuffles_and_repeats_as_often_as_asked(paths):
    drawn = names_of(paths, 0, 1, 120, buffer=4, uses=3)
    names, counts = np.unique(drawn[:48], return_counts=True)
    assert len(names) >= 16
    assert counts.max() <= 3
    assert drawn[:3] != [drawn[0]] * 3


@pytest.mark.parametrize("at", [0, 1, 5, 17, 29])
def test_a_lane_goes_on_from_its_state(paths, at):
    lane = ShardLane(paths, 1, 2, (3,), buffer=3, uses=2)
    names = []
    for count in range(40):
        if count == at:
            state = lane.state
        names.append(lane.draw().block.name)
    again = ShardLane(paths, 1, 2, (3,), buffer=3, uses=2, state=state)
    assert [again.draw().block.name for _ in range(40 - at)] == names[at:]


def test_a_set_is_of_one_structure_with_its_poses(paths):
    source = source_of(paths)
    assert isinstance(source, StreamedSource)
    batch = source.draw([0, 1, 2, 3], 4, STREAM)
    blocks = [block for path in paths for block in read_shard(path)]
    for images, rotations, shifts in zip(
        batch.images[:, :, 0], batch.rotations, batch.shifts_px, strict=True
    ):
        found = [
            (block, row)
            for image in images
            for block in blocks
            for row, stored in enumerate(block.arrays["images"])
            if np.array_equal(stored.astype(np.float32) * 2.0, image.numpy())
        ]
        assert len({block.name for block, _ in found}) == 1
        assert len({row for _, row in found}) == len(found) == 4
        for place, (block, row) in enumerate(found):
            np.testing.assert_array_equal(rotations[place], block.arrays["rotations"][row])
            np.testing.assert_allclose(
                shifts[place], -block.arrays["origins_angst"][row] / PIXEL, rtol=1e-6
            )
    source.close()


def test_shift_and_ctf_are_added_exactly_and_noise_as_asked(paths):
    optics = CtfParameters(15000.0, 14000.0, 30.0, 300.0, 2.7, 0.1)
    plain = source_of(paths).draw([0, 1, 2, 3], 3, STREAM)
    # the same random numbers choose the images last, so draw what is added, then undo it
    seen = source_of(paths, max_shift_px=3.0, optics=optics).draw([0, 1, 2, 3], 3, STREAM)
    blocks = [block for path in paths for block in read_shard(path)]
    transfer = ctf_half_plane(optics, BOX, PIXEL)
    for images, rotations, shifts in zip(
        seen.images[:, :, 0], seen.rotations, seen.shifts_px, strict=True
    ):
        for image, rotation, shift in zip(images, rotations, shifts, strict=True):
            block, row = next(
                (block, row)
                for block in blocks
                for row, known in enumerate(block.arrays["rotations"])
                if np.array_equal(known, rotation.numpy())
            )
            stored = torch.from_numpy(block.arrays["images"][row].astype(np.float32)) * 2.0
            added = shift.double() + torch.from_numpy(block.arrays["origins_angst"][row] / PIXEL)
            assert 0 < float(added.abs().max()) <= 3
            wanted = images_to_half_plane(stored[None]) * shift_phase(BOX, added[None]) * transfer
            torch.testing.assert_close(image, half_plane_to_images(wanted)[0], rtol=0, atol=2e-4)
    noisy = source_of(paths, snr=(0.5, 0.5)).draw([0, 1, 2, 3], 3, STREAM)
    noise = (noisy.images - noisy.clean_images).var(dim=(2, 3, 4)).mean(dim=1)
    signal = noisy.clean_images.var(dim=(2, 3, 4)).mean(dim=1)
    torch.testing.assert_close(signal / noise, torch.full((4,), 0.5), rtol=0.1, atol=0)
    assert plain.images.shape == seen.images.shape


def test_a_second_device_gets_the_same_sets(paths):
    more = {"max_shift_px": 2.0, "optics": OpticsRanges()}
    here = source_of(paths, **more).draw([0, 1, 2, 3], 3, STREAM)
    with second_device():
        there = source_of(paths, device=ELSEWHERE, **more).draw([0, 1, 2, 3], 3, STREAM)
    for name in ("images", "rotations", "shifts_px"):
        torch.testing.assert_close(
            back(getattr(there, name)), getattr(here, name), rtol=0, atol=1e-4
        )


def test_reading_ahead_changes_nothing_and_state_is_that_of_what_was_drawn(paths):
    plain, ahead = source_of(paths), source_of(paths)
    states = []
    for step in range(6):
        numbers = list(range(4 * step, 4 * step + 4))
        states.append(ahead.state())
        one = plain.draw(numbers, 3, STREAM)
        other = ahead.draw(numbers, 3, STREAM)
        ahead.expect([n + 4 for n in numbers], 3, STREAM)
        assert torch.equal(one.images, other.images)
    again = source_of(paths)
    again.restore(states[4])
    torch.testing.assert_close(
        again.draw([16, 17, 18, 19], 3, STREAM).images,
        source_of(paths).draw([16, 17, 18, 19], 3, STREAM).images,
        rtol=0, atol=0,
    )  # fmt: skip
    ahead.close()


def test_one_shard_validates_and_is_never_learned_from(paths):
    source = source_of(paths)
    held_out = source.draw(list(range(8)), 2, (0, 1, VALIDATION))
    again = source.draw([3], 2, (0, 1, VALIDATION))
    assert torch.equal(held_out.rotations[3], again.rotations[0])
    learned = torch.cat(
        [source.draw(list(range(4 * s, 4 * s + 4)), 6, STREAM).rotations for s in range(20)]
    ).flatten(0, 1)
    distance = torch.cdist(held_out.rotations.reshape(-1, 9), learned.reshape(-1, 9))
    assert float(distance.min()) > 1e-4
    assert len(torch.unique(learned.reshape(-1, 9), dim=0)) == 4 * 4 * 6


@pytest.mark.parametrize(
    ("given", "more", "error", "complaint"),
    [
        ({"ctf": (1e4, 1e4, 0, 300, 2.7, 0.1, 0, 0, 1)}, {"optics": OpticsRanges()}, OptionError,
         "has a CTF already; leave a CTF out of the stage"),
        ({"sigma": 0.3}, {"snr": (1, 2)}, OptionError, "has noise already"),
        ({"images": 2}, {}, MetadataError, "has 2 images, too few for sets of 3 views"),
        ({"shards": 1}, {}, OptionError, "1 shard is not enough"),
        ({"shards": 2}, {}, OptionError, "1 shards cannot be read as 2 lanes"),
        ({}, {"batch": 5}, OptionError, "does not come apart into data.shard_lanes 2"),
    ],
)  # fmt: skip
def test_shards_that_do_not_suit_a_stage_are_refused(tmp_path, given, more, error, complaint):
    with pytest.raises(error, match=complaint):
        source_of(write_shards(tmp_path, **given), **more).draw([0, 1], 3, STREAM)


def test_images_of_another_size_are_refused(paths):
    source = ShardViews(paths, 4, 64, StreamOptions(2, 2, 1, 1))
    with pytest.raises(GeometryError, match="has images of 32 px, and the recipe of 64"):
        source.draw([0], 2, STREAM)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_shard_is_named(tmp_path, damage):
    paths = write_shards(tmp_path, shards=4)
    for path in paths:
        content = bytearray(path.read_bytes())
        if damage == "cut":
            content = content[: len(content) * 2 // 3]
        else:
            content[len(content) // 2] ^= 1
        path.write_bytes(content)
    source = source_of(paths)

    def draw_all():
        for step in range(5):
            source.draw(list(range(4 * step, 4 * step + 4)), 2, STREAM)

    with pytest.raises(ShardError, match=r"shard-00000\d.shard"):
        draw_all()
    source.close()


def test_structures_without_images_are_passed_over_and_a_lane_of_them_is_refused(tmp_path):
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}.shard")
        with ShardWriter(paths[-1], "x") as shard:
            shard.append(Block("broken", {"error": "no atoms"}, {}))
            if number:
                shard.append(Block("fine", {}, {"x": np.zeros(2)}))
    assert ShardLane(paths, 0, 1, (0,), buffer=1).draw().block.name == "fine"
    with pytest.raises(MetadataError, match=r"no structure has images in .*0.shard"):
        ShardLane(paths[:1], 0, 1, (0,)).draw()


def test_places_in_a_shard_and_its_end(paths):
    placed = list(read_shard_from(paths[0]))
    rest = list(read_shard_from(paths[0], placed[2].start))
    assert [each.block.name for each in rest] == [each.block.name for each in placed[2:]]
    assert not list(read_shard_from(paths[0], placed[-1].stop))
    assert stated_checksum(paths[0])[0] == 4
    cut = paths[0].with_name("cut.part")
    cut.write_bytes(paths[0].read_bytes()[:-9])
    with pytest.raises(ShardError, match=r"cut.part has no end: it was cut"):
        stated_checksum(cut)
    with pytest.raises(ShardError, match=r"cut.part was cut|torn or damaged"):
        list(read_shard_from(cut, placed[2].start))


class _Killed(BaseException):
    pass


def test_a_training_on_shards_that_was_stopped_goes_on_where_it_was(tmp_path, paths):
    stage = {"steps": 9, "views": 2, "batch": 4, "lr": 1e-3, "source": "shards", "snr": [1, 2]}
    recipe = tiny_stages(stage)
    drawn = []

    def make(die_at=None, log=None):
        def of_stage(stage):
            source = source_of(paths, uses=2, snr=stage.snr)
            draw = source.draw

            def watched(numbers, views, stream):
                if log is not None and stream[-1] == TRAINING:
                    log.append(numbers[0])
                if numbers[0] == die_at and stream[-1] == TRAINING:
                    raise _Killed
                return draw(numbers, views, stream)

            source.draw = watched
            return source

        return of_stage

    whole = train_views(tmp_path / "whole", recipe, make())
    with pytest.raises(_Killed):
        train_views(tmp_path / "killed", recipe, make(die_at=28))
    again = train_views(tmp_path / "killed", recipe, make(log=drawn))
    assert drawn[0] == 24
    assert again.weights.read_bytes() == whole.weights.read_bytes()
