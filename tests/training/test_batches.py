"""The stream of batches is a pure function of seed and step."""

import numpy as np
import pytest

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
        rounds += [(step, rows.tolist()) for step, rows in stream]
    other = BatchStream(np.arange(20), 6, seed=0, steps_per_round=6)
    steps = []
    for number in range(2):
        other.set_epoch(number)
        steps += [(step, rows.tolist()) for step, rows in other]
    assert rounds == steps


def test_processes_share_a_batch():
    whole = BatchStream(np.arange(50), 8, seed=1)
    parts = [BatchStream(np.arange(50), 8, seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    together = np.concatenate([part.batch(3) for part in parts])
    assert sorted(together) == sorted(whole.batch(3))
    in_order = [BatchesInOrder(np.arange(11), 4, rank, 2) for rank in (0, 1)]
    seen = [row for part in in_order for _, rows in part for row in rows]
    assert sorted(seen) == list(range(11))


@pytest.mark.parametrize(("count", "share"), [(10, 0.7), (2, 0.9), (3, 0.01), (1000, 0.7)])
def test_the_division_leaves_no_one_out(count, share):
    train, validation = split_rows(count, share, seed=113)
    assert len(train) >= 1
    assert len(validation) >= 1
    assert sorted([*train, *validation]) == list(range(count))
    again, _ = split_rows(count, share, seed=113)
    np.testing.assert_array_equal(train, again)
