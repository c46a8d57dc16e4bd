"""Shards: what was written is read, and what was cut or damaged is found."""

import numpy as np
import pytest

from cesped.errors import DiskFullError, MissingFileError, ShardError
from cesped.io import shards
from cesped.io.shards import Block, ShardWriter, check_shard, label_of, read_shard

BLOCKS = [
    Block(
        f"b{number}",
        {"scale": number / 3, "text": "Å"},
        {
            "x": np.arange(12, dtype=np.float16).reshape(3, 4) + number,
            "n": np.array([number], ">i4"),
            "none": np.zeros((0, 2)),
        },
    )
    for number in range(3)
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.shard"


def write(path, blocks=BLOCKS, label="a"):
    with ShardWriter(path, label) as shard:
        for block in blocks[shard.n_blocks :]:
            shard.append(block)


def same(found, wanted):
    assert [block.name for block in found] == [block.name for block in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.facts == other.facts
        assert list(one.arrays) == list(other.arrays)
        for name, values in one.arrays.items():
            np.testing.assert_array_equal(values, other.arrays[name])
            assert values.dtype == other.arrays[name].dtype.newbyteorder("<")
            assert values.shape == other.arrays[name].shape


def test_round_trip(path):
    write(path)
    same(list(read_shard(path)), BLOCKS)
    assert check_shard(path) == 3
    assert label_of(path) == "a"
    assert [item.name for item in path.parent.iterdir()] == ["a.shard"]


def test_an_empty_shard(path):
    write(path, [])
    assert list(read_shard(path)) == []
    assert check_shard(path) == 0


def break_off(path, blocks, label="a"):
    """Leave what a process leaves that was interrupted after some blocks."""
    shard = ShardWriter(path, label)
    shard.__enter__()
    for block in blocks:
        shard.append(block)
    shard.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def test_goes_on_after_an_interruption_to_the_same_bytes(path, tmp_path):
    break_off(path, BLOCKS[:2])
    assert not path.exists()
    write(path)
    write(tmp_path / "whole.shard")
    assert path.read_bytes() == (tmp_path / "whole.shard").read_bytes()
    assert check_shard(path) == 3


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_a_torn_block_is_cut_off(path, tmp_path, lost):
    break_off(path, BLOCKS[:2])
    partial = path.with_name("a.shard.partial")
    partial.write_bytes(partial.read_bytes()[:-lost])
    with ShardWriter(path, "a") as shard:
        assert shard.n_blocks == 1
        for block in BLOCKS[1:]:
            shard.append(block)
    write(tmp_path / "whole.shard")
    assert path.read_bytes() == (tmp_path / "whole.shard").read_bytes()


@pytest.mark.parametrize("content", [b"", b"junk", shards.MAGIC, shards.MAGIC + b"\1\0\0\0{"])
def test_leavings_that_are_none_are_not_used(path, content):
    path.with_name("a.shard.partial").write_bytes(content)
    write(path)
    assert check_shard(path) == 3


def test_leavings_of_another_label_are_not_used(path):
    break_off(path, BLOCKS[:2], label="b")
    write(path, BLOCKS[2:])
    assert [block.name for block in read_shard(path)] == ["b2"]


def test_every_cut_is_found(path):
    write(path)
    content = path.read_bytes()
    for length in (*range(0, len(content), 13), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ShardError, match=r"cut|torn|no shard"):
            list(read_shard(path))


def test_every_changed_byte_is_found(path):
    write(path, BLOCKS[:1])
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 7):
        content[place] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(ShardError):
            check_shard(path)
        content[place] ^= 0x10


def test_what_follows_the_end_is_found(path):
    write(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ShardError, match="its end says"):
        list(read_shard(path))


def test_a_block_that_is_missing_is_found(path):
    write(path)
    content = path.read_bytes()
    first, second = (content.index(b'{"name": "b%d"' % number) - 4 for number in (1, 2))
    path.write_bytes(content[:first] + content[second:])
    with pytest.raises(ShardError, match="its end says"):
        list(read_shard(path))


def test_faults(path, monkeypatch):
    with pytest.raises(MissingFileError, match="does not exist"):
        list(read_shard(path))
    assert label_of(path) is None
    with pytest.raises(ShardError, match="give numbers"):
        write(path, [Block("x", {}, {"names": np.array(["a"])})])

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", no_room)
    with pytest.raises(DiskFullError, match="are kept"):
        write(path)
