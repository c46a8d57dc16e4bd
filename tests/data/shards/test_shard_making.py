"""Shards of structures: the images of the plan, whatever the parts, gone on with after any end."""

import json
import os

import numpy as np
import pytest
from torch.utils.data import DataLoader

from cesped import errors
from cesped.cli.main import main
from cesped.data.shards import making
from cesped.data.shards.making import make_shards, structure_block
from cesped.data.shards.plan import ShardPlan, parse_part, shards_in, structures_in
from cesped.data.shards.reading import ShardStream, iterate_shards
from cesped.data.simulation.plan import SimulationPlan, draw_halves
from cesped.data.simulation.structure_map import map_of_atoms
from cesped.io.atoms import read_atoms
from cesped.io.shards import check_shard, read_shard
from cesped.physics.projection import Projector
from cesped.vocabulary import PixelType


def write_structure(path, seed):
    positions = np.random.default_rng(seed).normal(scale=8, size=(30, 3))
    lines = [
        f"ATOM  {row:5d}  CA  ALA A{row:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C\n"
        for row, (x, y, z) in enumerate(positions, 1)
    ]
    path.write_text("".join(lines))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "curated"
    folder.mkdir()
    for number in range(5):
        write_structure(folder / f"s{number}.pdb", number)
    return folder


def plan_of(folder, **options):
    simulation = SimulationPlan(n_particles=6, has_ctf=False)
    return ShardPlan(
        folder, structures_in(folder), **{"simulation": simulation, "box": 32, **options}
    )


def test_clean_images_are_projections_at_the_poses_that_stand_beside_them(folder):
    plan = plan_of(folder, stored_as=PixelType.FLOAT32)
    block = structure_block(plan, "s1.pdb")
    volume, pixel_size, _ = map_of_atoms(read_atoms(folder / "s1.pdb"), "s1", 32)
    assert block.facts["pixel_size_angst"] == pixel_size
    expected = Projector(volume).project(block.arrays["rotations"]).numpy()
    images = block.arrays["images"] * block.facts["scale"]
    np.testing.assert_allclose(images, expected, atol=1e-4 * expected.max())
    assert block.arrays["images"].std() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(np.linalg.det(block.arrays["rotations"]), 1, atol=1e-5)
    assert not block.arrays["origins_angst"].any()


def test_shifts_ctfs_and_noise_on_request(folder):
    simulation = SimulationPlan(n_particles=6, max_shift_px=4.0, snr=0.5)
    block = structure_block(plan_of(folder, simulation=simulation), "s1.pdb")
    drawn = draw_halves(
        plan_of(folder, simulation=simulation).simulation_of("s1.pdb"),
        block.facts["pixel_size_angst"],
    )[0]
    np.testing.assert_allclose(block.arrays["origins_angst"], drawn.poses.origins_angst, rtol=1e-6)
    defocus_u = block.arrays["ctf"][:, making.CTF_FIELDS.index("defocus_u_angst")]
    np.testing.assert_allclose(defocus_u, drawn.ctf.defocus_u_angst, rtol=1e-6)
    assert block.facts["sigma"] > 0
    assert block.arrays["images"].dtype == np.float16


def contents(out):
    return {path.name: path.read_bytes() for path in shards_in(out)}


def test_parts_make_what_one_process_makes(folder, tmp_path):
    plan = plan_of(folder, structures_per_shard=2)
    assert plan.n_shards == 3
    whole = make_shards(plan, tmp_path / "one")
    assert (whole.n_shards, whole.n_structures, whole.failed) == (3, 5, [])
    for part in (1, 0):
        make_shards(plan, tmp_path / "two", (part, 2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [check_shard(path) for path in shards_in(tmp_path / "one")] == [2, 2, 1]


def test_a_structure_has_the_same_images_in_any_shard(folder):
    one = structure_block(plan_of(folder, structures_per_shard=2), "s3.pdb")
    other = structure_block(plan_of(folder, structures_per_shard=5), "s3.pdb")
    np.testing.assert_array_equal(one.arrays["images"], other.arrays["images"])
    neighbour = structure_block(plan_of(folder), "s4.pdb")
    assert np.abs(one.arrays["rotations"] - neighbour.arrays["rotations"]).max() > 0.1


def test_goes_on_after_an_interruption(folder, tmp_path, monkeypatch):
    plan = plan_of(folder, structures_per_shard=3)
    make_shards(plan, tmp_path / "whole")
    real, seen = making.structure_block, []

    def stopping(plan, name):
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(plan, name)

    monkeypatch.setattr(making, "structure_block", stopping)
    with pytest.raises(KeyboardInterrupt):
        make_shards(plan, tmp_path / "out")
    make_shards(plan, tmp_path / "out")
    assert seen == ["s0.pdb", "s1.pdb", "s2.pdb", "s2.pdb", "s3.pdb", "s4.pdb"]
    assert contents(tmp_path / "whole") == contents(tmp_path / "out")
    make_shards(plan, tmp_path / "out")
    assert len(seen) == 6
    with pytest.raises(errors.OptionError, match="other options"):
        make_shards(plan_of(folder, structures_per_shard=3, box=48), tmp_path / "out")
    assert len(seen) == 6


def test_a_structure_that_is_none_is_told_and_passed_over(folder, tmp_path):
    (folder / "s2.pdb").write_text("junk")
    made = make_shards(plan_of(folder), tmp_path / "out")
    assert [name for name, _ in made.failed] == ["s2.pdb"]
    (path,) = shards_in(tmp_path / "out")
    assert [block.name for block in read_shard(path)][2] == "s2.pdb"
    assert [block.name for block in iterate_shards([path])] == [
        "s0.pdb", "s1.pdb", "s3.pdb", "s4.pdb",
    ]  # fmt: skip


def test_files_that_cannot_be_projected_end_nothing(folder, tmp_path, capsys):
    text = (folder / "s0.pdb").read_text()
    (folder / "empty.pdb").write_text(text.replace("  1.00 10.00", "  0.00 10.00"))
    (folder / os.fsdecode(b"bad\xff.pdb")).write_text(text)
    (folder / "gone.pdb").symlink_to(folder / "nowhere.pdb")
    (folder / "folder.pdb").mkdir()
    args = ["shards", "make", str(folder), "--out", str(tmp_path / "out")]
    assert main([*args, "--images", "3", "--box", "32"]) == 0
    told = capsys.readouterr().out
    assert "empty.pdb: the atoms of" in told
    assert "bad\\udcff.pdb" in told
    (shard,) = shards_in(tmp_path / "out")
    assert [bool(block.arrays) for block in read_shard(shard)] == [False, False] + [True] * 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_every_structure_once(folder, tmp_path, workers):
    make_shards(plan_of(folder, structures_per_shard=1), tmp_path / "out")
    names = []
    for rank in (0, 1):
        stream = ShardStream(tmp_path / "out", seed=3, rank=rank, world_size=2)
        for sample in DataLoader(stream, batch_size=None, num_workers=workers):
            names.append(sample["name"])
            assert sample["images"].shape == (6, 32, 32)
            assert sample["images"].dtype.is_floating_point
            assert sample["ctf"].shape == (6, 9)
    assert sorted(names) == [f"s{number}.pdb" for number in range(5)]


def test_epochs_are_shuffled_otherwise(folder, tmp_path):
    make_shards(plan_of(folder, structures_per_shard=1), tmp_path / "out")
    stream = ShardStream(tmp_path / "out", seed=0)
    orders = set()
    for epoch in range(4):
        stream.set_epoch(epoch)
        orders.add(tuple(sample["name"] for sample in stream))
    assert len(orders) > 1
    plain = [sample["name"] for sample in ShardStream(tmp_path / "out")]
    assert plain == sorted(plain)


def test_a_shard_that_is_cut_is_found_while_it_is_read(folder, tmp_path):
    make_shards(plan_of(folder), tmp_path / "out")
    (path,) = shards_in(tmp_path / "out")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(errors.ShardError, match="again"):
        list(ShardStream(tmp_path / "out"))


def test_parts_by_word_by_torchrun_and_by_slurm(monkeypatch):
    assert parse_part(None) == (0, 1)
    assert parse_part("3/16") == (2, 16)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert parse_part(None) == (5, 8)
    for name, value in (("ID", "12"), ("MIN", "10"), ("COUNT", "4")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert parse_part(None) == (2, 4)
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", "13")
    assert parse_part(None) == (2, 4)
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", "17")  # --array=10-12,17
    with pytest.raises(errors.OptionError, match="from 10 to 17, do not follow"):
        parse_part(None)
    assert parse_part("1/2") == (0, 2)
    for text in ("0/2", "3/2", "x", "1"):
        with pytest.raises(errors.OptionError, match="is no part"):
            parse_part(text)


def test_plans_that_cannot_be(folder, tmp_path):
    with pytest.raises(errors.OptionError, match="at least 1"):
        plan_of(folder, structures_per_shard=0)
    with pytest.raises(errors.OptionError, match="how many images"):
        plan_of(folder, simulation=SimulationPlan(poses_path=tmp_path / "x.star"))
    with pytest.raises(errors.MissingFileError, match="is no folder"):
        structures_in(tmp_path / "none")
    with pytest.raises(errors.MissingFileError, match="no finished shards"):
        shards_in(tmp_path)


def test_a_full_disk_is_seen_before_the_work(folder, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(errors.DiskFullError, match="GiB"):
        make_shards(plan_of(folder), tmp_path / "out")


def test_the_door(folder, tmp_path, capsys):
    words = ["shards", "make", str(folder), "--out", str(tmp_path / "out"), "--box", "32"]
    words += ["--images", "4", "--per-shard", "2"]
    assert main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("5 structures x 4 images of 32 x 32 px, float16: 3 shards, 0.00 GiB\n")
    assert "hours of one core" in shown
    assert not (tmp_path / "out").exists()
    assert main([*words, "--part", "1/2"]) == 0
    assert "Part 1 of 2: 2 shards of 3 structures" in capsys.readouterr().out
    assert main(words) == 0
    capsys.readouterr()
    assert main(["shards", "check", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == "3 shards of 5 structures are whole.\n"
    path = shards_in(tmp_path / "out")[1]
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert main(["shards", "check", str(tmp_path / "out")]) == 1
    assert path.name in capsys.readouterr().err
    ctf = tmp_path / "ctf.csv"
    names = making.CTF_FIELDS[:6]
    ctf.write_text(f"{','.join(names)}\n9000,9000,0,300,2.7,0.1\n")
    words[4] = str(tmp_path / "noisy")
    assert main([*words, "--ctf", str(ctf), "--snr", "0.1", "--max-shift", "2"]) == 0
    block = next(read_shard(shards_in(tmp_path / "noisy")[0]))
    assert set(block.arrays["ctf"][:, 0]) == {9000}
    assert json.dumps(block.facts)
