"""Shards of maps: the images that `cesped simulate` makes of them, beside those of structures."""

import gzip
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from cesped import errors
from cesped.cli.main import main
from cesped.data.shards.making import make_shards, structure_block
from cesped.data.shards.plan import ShardPlan, shards_in, structures_in
from cesped.data.shards.reading import ShardStream
from cesped.data.shards.sources import map_in_box, resampled
from cesped.data.simulation.plan import SimulationPlan
from cesped.data.simulation.poses import PreferredView
from cesped.io.mrc import read_volume, write_volume
from cesped.io.shards import read_shard
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom
from cesped.physics.resampling import resize_band_limited
from cesped.physics.threads import torch_threads
from cesped.vocabulary import PixelType

ATOMS = "".join(
    f"ATOM  {row:5d}  CA  ALA A{row:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C\n"
    for row, (x, y, z) in enumerate(np.random.default_rng(0).normal(scale=8, size=(30, 3)), 1)
)
PHANTOM = chain_phantom(200, 30.0, np.random.default_rng(0))


def density(box, pixel_size_angst):
    return density_from_atoms(
        PHANTOM.positions_angst, PHANTOM.weights, box, pixel_size_angst, 14.0
    ).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sources"
    (folder / "below").mkdir(parents=True)
    (folder / "a.pdb").write_text(ATOMS)
    write_volume(folder / "a.mrc", density(32, 3.0), 3.0)
    write_volume(folder / "below" / "B.MAP", density(48, 2.0), 2.0)
    (folder / "readme.txt").write_text("neither")
    return folder


def plan_of(folder, *, stored_as=PixelType.FLOAT32, **options):
    simulation = SimulationPlan(**{"n_particles": 6, "has_ctf": False, **options})
    return ShardPlan(folder, structures_in(folder), simulation, 32, stored_as=stored_as)


def pixels(block):
    return block.arrays["images"].astype(np.float64) * block.facts["scale"]


def test_a_label_covers_options_names_and_what_files_hold(folder, tmp_path):
    plan = plan_of(folder)
    others = [
        plan_of(folder, seed=1),
        plan_of(folder, snr=0.1),
        plan_of(folder, views=(PreferredView(0, 90, 10, 0.5),)),
        plan_of(folder, views=(PreferredView(0, 90, 10, 0.6),)),
        plan_of(folder, stored_as=PixelType.FLOAT16),
        replace(plan, box=48),
        replace(plan, structures=plan.structures[:2]),
    ]
    label = plan.label_of(0)
    assert len({label, *(other.label_of(0) for other in others)}) == 1 + len(others)
    shutil.copytree(folder, tmp_path / "elsewhere")  # where it lies, and since when, is no content
    assert replace(plan, root=tmp_path / "elsewhere").label_of(0) == label
    write_volume(folder / "a.mrc", -density(32, 3.0), 3.0)
    changed = plan.label_of(0)
    (folder / "a.mrc").unlink()
    assert len({label, changed, plan.label_of(0)}) == 3


@pytest.mark.parametrize("name", ["a.pdb", "below/B.MAP"])
def test_shards_of_another_file_of_the_same_name_are_another_plans(folder, tmp_path, name, capsys):
    words = ["shards", "make", str(folder), "--out", str(tmp_path / "out"), "--per-shard", "1"]
    words += ["--images", "3", "--box", "32"]
    assert main(words) == 0
    before = {path: path.read_bytes() for path in shards_in(tmp_path / "out")}
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert main(words) == 1
    told = " ".join(capsys.readouterr().err.split())
    number = structures_in(folder).index(name)
    assert "1 shards in" in told
    assert f"files that have changed since, or with other options, such as shard-00000{number}" in (
        told
    )
    assert {path: path.read_bytes() for path in shards_in(tmp_path / "out")} == before
    shards_in(tmp_path / "out")[number].unlink()
    assert main(words) == 0


def test_files_of_one_stem_are_two_structures(folder):
    plan = plan_of(folder)
    assert plan.structures == ("a.mrc", "a.pdb", "below/B.MAP")
    assert plan.n_maps == 2
    of_map, of_atoms = structure_block(plan, "a.mrc"), structure_block(plan, "a.pdb")
    assert (of_map.name, of_atoms.name) == ("a.mrc", "a.pdb")
    assert np.abs(of_map.arrays["rotations"] - of_atoms.arrays["rotations"]).max() > 0.1
    assert of_map.facts["map_box"] == 32
    assert of_map.facts["pixel_size_angst"] == 3.0
    assert "atoms" in of_atoms.facts


@pytest.mark.parametrize("poses", [(), ("--view", "20,70,10,0.7", "--max-shift", "3")])
def test_images_are_those_of_simulate(folder, tmp_path, poses):
    plan = plan_of(folder)
    if poses:
        view = PreferredView.parse(poses[1])
        plan = plan_of(folder, has_ctf=True, views=(view,), max_shift_px=3.0)
    else:
        poses = ("--no-ctf",)
    block = structure_block(plan, "a.mrc")
    seed = str(plan.simulation_of("a.mrc").seed)
    words = ["--name", "SIM-x", "--map", str(folder / "a.mrc"), "-k", "6", "--seed", seed]
    words += ["--benchmarkDir", str(tmp_path / "b"), "--threads", "1"]
    assert main(["simulate", *words, *poses]) == 0
    stack, _ = read_volume(tmp_path / "b" / "SIM-x" / "particles_0.mrcs", 3.0)
    assert np.abs(pixels(block) - stack).max() < 1e-5 * np.abs(stack).max()
    other, _ = read_volume(tmp_path / "b" / "SIM-x" / "particles_1.mrcs", 3.0)
    assert np.abs(pixels(block) - other).max() > 0.1 * np.abs(stack).max()


def test_a_resampled_map_has_the_images_of_one_sampled_so(folder):
    """Well below Nyquist 48 voxels of 2 A, resampled to 32, are the density on 32 of 3 A."""
    volume, pixel_size_angst, facts = map_in_box(folder / "below" / "B.MAP", 32)
    assert pixel_size_angst == pytest.approx(3.0)
    assert (facts["map_box"], facts["map_pixel_size_angst"]) == (48, 2.0)
    expected = density(32, 3.0)
    scale = float((volume * expected).sum() / (expected**2).sum())
    assert np.abs(volume - scale * expected).max() < 0.01 * volume.max()


@pytest.mark.parametrize(("n", "size"), [(12, 8), (8, 12), (9, 12), (12, 9), (9, 7), (11, 8)])
def test_resampling_is_that_of_images_along_every_axis(n, size):
    plane = np.random.default_rng(n).normal(size=(n, n)).astype(np.float32)
    line = np.zeros(n, dtype=np.float32)
    line[:] = 1.0  # constant along one axis: what is left is an image
    expected = resize_band_limited(torch.from_numpy(plane.copy()), size).numpy()
    for axis in range(3):
        volume = np.moveaxis(line[:, None, None] * plane, 0, axis)
        found = np.moveaxis(resampled(volume, size), axis, 0)
        assert found.shape == (size,) * 3
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-6)
    volume = np.random.default_rng(0).normal(size=(n, n, n)).astype(np.float32)
    assert resampled(volume, size).mean() == pytest.approx(volume.mean(), abs=1e-6)
    if size > n and n % 2:
        np.testing.assert_allclose(resampled(resampled(volume, size), n), volume, atol=2e-6)


def test_round_trip_through_the_reader_in_any_parts(folder, tmp_path):
    plan = replace(plan_of(folder, snr=0.5), structures_per_shard=1, stored_as=PixelType.FLOAT16)
    for part in (2, 0, 1):
        make_shards(plan, tmp_path / "parts", (part, 3))
    make_shards(plan, tmp_path / "whole")
    for one, other in zip(
        shards_in(tmp_path / "parts"), shards_in(tmp_path / "whole"), strict=True
    ):
        assert one.read_bytes() == other.read_bytes()
    samples = {sample["name"]: sample for sample in ShardStream(tmp_path / "whole")}
    assert sorted(samples) == list(plan.structures)
    for name, sample in samples.items():
        with torch_threads(1):  # as shards are made, to the last bit
            expected = structure_block(plan, name)
        np.testing.assert_array_equal(
            sample["images"].numpy(), expected.arrays["images"].astype(np.float32)
        )
        assert sample["pixel_size_angst"] == expected.facts["pixel_size_angst"]
    changed = replace(plan, simulation=replace(plan.simulation, views=(PreferredView(0, 0, 5, 1),)))
    with pytest.raises(errors.OptionError, match="other options"):
        make_shards(changed, tmp_path / "whole")


def test_preferred_views_show(folder):
    view = PreferredView(30.0, 60.0, 8.0, 0.75)
    plan = plan_of(folder, n_particles=400, views=(view,))
    towards = np.array(
        [np.sin(np.deg2rad(60)) * np.cos(np.deg2rad(30)), np.sin(np.deg2rad(60)) * 0.5, 0.5]
    )
    shares = {}
    for name, own in (("views", plan), ("uniform", plan_of(folder, n_particles=400))):
        rotations = structure_block(own, "a.mrc").arrays["rotations"]
        cosine = rotations[:, :, 2] @ towards  # what an image is seen along
        shares[name] = float((cosine > np.cos(np.deg2rad(24))).mean())
    assert 0.68 < shares["views"] < 0.88
    assert shares["uniform"] < 0.2


def write_poses(path, count, *, with_ctf):
    """A star file of poses with large shifts, all particles of the first half tilted by 30."""
    angles = np.random.default_rng(1).uniform(0, 360, size=(count, 2))
    columns = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
    columns += ["rlnImageName", "rlnOpticsGroup", "rlnRandomSubset"]
    columns += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"] if with_ctf else []
    rows = []
    for row, (rot, psi) in enumerate(angles):
        tilt, ctf = (30, 60)[row % 2], f"{9000 + row} {9000 + row} 0" if with_ctf else ""
        rows.append(f"{rot:.4f} {tilt} {psi:.4f} 90 90 {row + 1}@x.mrcs 1 {row % 2 + 1} {ctf}")
    optics = "_rlnOpticsGroup\n_rlnVoltage\n_rlnSphericalAberration\n_rlnAmplitudeContrast\n"
    optics += "_rlnImagePixelSize\n_rlnImageSize\n_rlnImageDimensionality\n"
    heads = "\n".join(f"_{name}" for name in columns)
    path.write_text(
        f"data_optics\n\nloop_\n{optics}1 300 2.7 0.1 3.0 32 2\n\n"
        f"data_particles\n\nloop_\n{heads}\n" + "\n".join(rows) + "\n"
    )
    return path


def test_poses_of_a_file(folder, tmp_path, capsys):
    poses = write_poses(tmp_path / "poses.star", 40, with_ctf=True)
    words = ["shards", "make", str(folder), "--images", "8", "--box", "32", "--poses", str(poses)]
    assert main([*words, "--out", str(tmp_path / "clean")]) == 0
    seen = []
    for block in read_shard(shards_in(tmp_path / "clean")[0]):
        tilt = np.rad2deg(np.arccos(block.arrays["rotations"][:, 2, 2]))
        np.testing.assert_allclose(tilt, 30, atol=1e-3)
        assert not block.arrays["origins_angst"].any()
        assert (block.arrays["ctf"][:, 5] == 1).all()  # amplitude contrast: no CTF
        seen.append(block.arrays["rotations"])
    assert np.abs(seen[0] - seen[1]).max() > 0.1
    assert main([*words, "--out", str(tmp_path / "ctf"), "--with-ctf"]) == 0
    block = next(read_shard(shards_in(tmp_path / "ctf")[0]))
    assert len(set(block.arrays["ctf"][:, 0])) == 8
    assert set(block.arrays["ctf"][:, 0]) <= set(range(9000, 9040, 2))
    write_poses(poses, 40, with_ctf=False)  # the same name, and other content: another plan
    assert main([*words, "--out", str(tmp_path / "clean")]) == 1
    assert "other options" in capsys.readouterr().err.replace("\n", " ")
    assert main([*words, "--view", "0,90,15,0.6", "--out", str(tmp_path / "x")]) == 1
    assert "not from both" in capsys.readouterr().err.replace("\n", " ")
    words[4] = "21"
    assert main([*words, "--out", str(tmp_path / "few")]) == 1
    assert "21 particles are wanted" in capsys.readouterr().err


def test_bad_maps_are_named_and_end_nothing(folder, tmp_path, capsys):
    whole = (folder / "a.mrc").read_bytes()
    (folder / "cut.mrc").write_bytes(whole[:-100])
    (folder / "junk.map").write_text("junk")
    (folder / "packed.map.gz").write_bytes(gzip.compress(whole))
    write_volume(folder / "flat.mrc", np.ones((32, 32, 32)), 3.0)
    write_volume(folder / "slab.mrc", np.random.default_rng(0).normal(size=(16, 32, 32)), 3.0)
    unsized = bytearray(whole)
    unsized[40:52] = bytes(12)  # the cell
    (folder / "unsized.mrc").write_bytes(unsized)
    (folder / "gone.mrc").symlink_to(folder / "nowhere.mrc")
    args = ["shards", "make", str(folder), "--out", str(tmp_path / "out")]
    assert main([*args, "--images", "3", "--box", "24"]) == 0
    told = capsys.readouterr().out
    for name, why in {
        "cut.mrc": "is truncated",
        "junk.map": "less than an MRC header",
        "packed.map.gz": "unpack it first",
        "flat.mrc": "is constant",
        "slab.mrc": "has 16 x 32 x 32 voxels",
        "unsized.mrc": "no voxel size",
    }.items():
        (line,) = (line for line in told.splitlines() if f"no images of {name}: " in line)
        assert why in line
    (shard,) = shards_in(tmp_path / "out")
    with_images = [block.name for block in read_shard(shard) if block.arrays]
    assert with_images == ["a.mrc", "a.pdb", "below/B.MAP"]


def test_shifts_out_of_the_image_are_refused(folder):
    block = structure_block(plan_of(folder, max_shift_px=16.0), "a.mrc")
    assert "use smaller ones" in block.facts["error"]


def test_the_door_with_maps_and_views(folder, tmp_path, capsys):
    words = ["shards", "make", str(folder), "--out", str(tmp_path / "out"), "--box", "24"]
    words += ["--images", "5"]
    assert main([*words, "--view", "0,90,15,0.6", "--plan"]) == 0
    assert capsys.readouterr().out.startswith(
        "3 structures (2 of them maps) x 5 images of 24 x 24 px, float16: 1 shards"
    )
    assert main([*words, "--view", "0,90,15"]) == 1
    assert "give ROT,TILT,SPREAD,SHARE" in capsys.readouterr().err
    assert main([*words, "--view", "0,90,15,0.6", "--view", "0,0,15,0.6"]) == 1
    assert "1.2 of the particles together" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--view", "0,90,15,0.6"]) == 0
    assert "1 shards of 3 structures" in capsys.readouterr().out
    for block in read_shard(shards_in(tmp_path / "out")[0]):
        assert block.arrays["images"].shape == (5, 24, 24)
    assert main([*words]) == 1
    assert "other options" in capsys.readouterr().err.replace("\n", " ")
