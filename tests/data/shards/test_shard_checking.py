"""A folder of shards is checked as a whole, and never mixed from two runs."""

import shutil

import numpy as np
import pytest

from cesped import errors
from cesped.cli.main import main
from cesped.data.shards.checking import check_folder
from cesped.data.shards.making import make_shards
from cesped.data.shards.plan import ShardPlan, shards_in, structures_in
from cesped.data.simulation.plan import SimulationPlan


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    structures = folder / "curated"
    structures.mkdir()
    for number in range(5):
        positions = np.random.default_rng(number).normal(scale=8, size=(30, 3))
        (structures / f"s{number}.pdb").write_text(
            "".join(
                f"ATOM  {row:5d}  CA  ALA A{row:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00"
                "           C\n"
                for row, (x, y, z) in enumerate(positions, 1)
            )
        )
    make_shards(plan_of(structures), folder / "out")
    return structures, folder / "out"


def plan_of(structures, per_shard=2, images=3):
    simulation = SimulationPlan(n_particles=images, has_ctf=False)
    return ShardPlan(structures, structures_in(structures), simulation, 32, per_shard)


@pytest.fixture
def shards(made, tmp_path):
    return shutil.copytree(made[1], tmp_path / "out")


def test_a_folder_that_is_whole(shards):
    found = check_folder(shards)
    assert (found.n_shards, found.n_structures, found.faults) == (3, 5, [])


def test_every_fault_is_told_at_once(shards, capsys):
    paths = shards_in(shards)
    content = bytearray(paths[0].read_bytes())
    content[-2000] ^= 1
    paths[0].write_bytes(content)
    paths[1].unlink()
    (shards / "shard-000001.shard.partial").write_bytes(b"x")
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    assert main(["shards", "check", str(shards)]) == 1
    told = capsys.readouterr().err
    assert "4 faults" in told
    for part in ("torn or damaged", "shard-000001.shard is missing", "not finished", "000002"):
        assert part in told


def test_a_shard_that_is_there_twice(shards):
    shutil.copy(shards / "shard-000000.shard", shards / "shard-000001.shard")
    (fault,) = check_folder(shards).faults
    assert "s0.pdb is in shard-000000.shard and in shard-000001.shard" in fault


@pytest.mark.parametrize("other", [{"per_shard": 5}, {"images": 4}])
def test_shards_of_another_plan_are_neither_overwritten_nor_mixed(made, shards, other):
    before = [path.read_bytes() for path in shards_in(shards)]
    with pytest.raises(errors.OptionError, match="were made of other structures"):
        make_shards(plan_of(made[0], **other), shards)
    assert [path.read_bytes() for path in shards_in(shards)] == before


def test_a_shard_that_was_cut_is_made_again(made, shards):
    path = shards_in(shards)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    make_shards(plan_of(made[0]), shards)
    assert path.read_bytes() == whole
