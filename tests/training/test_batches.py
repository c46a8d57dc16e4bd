"""The stream of batches is a pure function of seed and step."""

import numpy as np
import pytest

from cesped.errors import OptionError
from cesped.training.batches import BatchesInOrder, BatchStream, split_rows


def test_every_particle_comes_once_an_epoch():
    rows = np.arange(100, 130)
    stream = BatchStream(rows, 7, seed=3)
    drawn = np.concatenate([stream.batch(step) for step in range(30)])
    for epoch in range(7):
        assert sorted(drawn[30 * epoch : 30 * (epoch + 1)]) == list(rows)
    assert not np.array_equal(drawn[:30], drawn[30:60])


def test_rounds_go_on_where_the_last_one_ended():
    stream = BatchStream(np.arange(20), 6, seed=0, steps_per_round=4)
    rounds = []
    for number in range(3):
        stream.set_epoch(number)
        rounds += [(step, rows.tolist()) for step, rows, _ in stream]
    other = BatchStream(np.arange(20), 6, seed=0, steps_per_round=6)
    steps = []
    for number in range(2):
        other.set_epoch(number)
        steps += [(step, rows.tolist()) for step, rows, _ in other]
    assert rounds == steps


def shares_of_step(stream, step):
    return [list(rows) for found, rows, _ in stream if found == step]


def test_processes_share_a_batch():
    whole = BatchStream(np.arange(50), 8, seed=1)
    parts = [BatchStream(np.arange(50), 8, seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    together = [row for part in parts for rows in shares_of_step(part, 3) for row in rows]
    assert sorted(together) == sorted(whole.batch(3))
    assert all(len(part) == len(whole) for part in parts)
    in_order = [BatchesInOrder(np.arange(11), 4, rank, 2) for rank in (0, 1)]
    seen = [row for part in in_order for _, rows, _ in part for row in rows]
    assert sorted(seen) == list(range(11))


def test_a_batch_in_parts_is_the_same_batch_in_the_same_shares():
    """One process in four parts, two in two parts, four: the same shares of the same step."""
    divisions = [
        [BatchStream(np.arange(50), 16, 1, None, rank, world, 4 // world) for rank in range(world)]
        for world in (1, 2, 4)
    ]
    shares = [
        [
            (which.share, list(which.rows))
            for stream in streams
            for which in stream
            if which.step == 2
        ]
        for streams in divisions
    ]
    assert shares[0] == shares[1] == shares[2]
    assert [share for share, _ in shares[0]] == [0, 1, 2, 3]
    assert len(divisions[0][0]) == 4 * divisions[0][0].steps_per_round


def test_every_copy_of_a_particle_is_in_the_same_share():
    stream = BatchStream(np.arange(30), 12, seed=0, parts=2, copies=3)
    seen = []
    for step in range(15):  # 4 particles each: two epochs
        shares = [stream.batch(step, share) for share in (0, 1)]
        for rows in shares:
            assert len(rows) == 6
            assert (rows.reshape(3, 2) == rows[:2]).all()
        seen += [row for rows in shares for row in rows[:2]]
    assert sorted(seen) == sorted([*range(30), *range(30)])
    assert stream.steps_per_epoch == round(30 / 4)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(OptionError, match=r"batch_size is 10; it must be a multiple of 4: 2 proc"):
        BatchStream(np.arange(30), 10, seed=0, world_size=2, copies=2)


@pytest.mark.parametrize(("count", "share"), [(10, 0.7), (2, 0.9), (3, 0.01), (1000, 0.7)])
def test_the_division_leaves_no_one_out(count, share):
    train, validation = split_rows(count, share, seed=113)
    assert len(train) >= 1
    assert len(validation) >= 1
    assert sorted([*train, *validation]) == list(range(count))
    again, _ = split_rows(count, share, seed=113)
    np.testing.assert_array_equal(train, again)
