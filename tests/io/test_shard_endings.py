"""Shards whose process died, or whose disk lost bytes, at the very end."""

import numpy as np
import pytest

from cesped.io.shards import Block, ShardWriter, check_shard, label_of, read_shard


@pytest.fixture
def path(tmp_path):
    shard = tmp_path / "a.shard"
    with ShardWriter(shard, "plan") as writer:
        for number in range(3):
            writer.append(Block(f"b{number}", {}, {"x": np.arange(5.0) + number}))
    return shard


def test_a_kill_between_the_end_and_the_name_costs_nothing(path):
    whole = path.read_bytes()
    path.rename(path.with_name("a.shard.partial"))
    with ShardWriter(path, "plan") as writer:
        assert writer.n_blocks == 3
    assert path.read_bytes() == whole
    assert check_shard(path) == 3


def test_a_kill_between_the_end_and_the_name_can_be_gone_on_from(path):
    path.rename(path.with_name("a.shard.partial"))
    with ShardWriter(path, "plan") as writer:
        writer.append(Block("more", {}, {}))
    assert [block.name for block in read_shard(path)] == ["b0", "b1", "b2", "more"]


def test_a_shard_that_was_cut_is_not_finished(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert label_of(path) is None, length
    path.write_bytes(whole + b"\0")
    assert label_of(path) is None
    path.write_bytes(whole)
    assert label_of(path) == "plan"
