"""`cesped simulate`: the door to simulated entries, and what it refuses."""

import json

import numpy as np
import pytest

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.io.mrc import read_volume, write_volume
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom

PDB = "".join(
    f"ATOM  {row:5d}  CA  ALA A{row:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C\n"
    for row, (x, y, z) in enumerate(np.random.default_rng(0).normal(scale=8, size=(40, 3)), 1)
)


@pytest.fixture
def map_path(tmp_path):
    phantom = chain_phantom(300, 36.0, np.random.default_rng(0), "C2")
    volume = density_from_atoms(phantom.positions_angst, phantom.weights, 32, 3.0, 8.0)
    path = tmp_path / "map.mrc"
    write_volume(path, volume, 3.0)
    return path


def simulate(*words, folder):
    return main(["simulate", "--benchmarkDir", str(folder), *map(str, words)])


def test_from_a_map(map_path, tmp_path, capsys):
    words = ("--name", "SIM-x", "--map", map_path, "-k", 12, "--snr", 0.5, "--max-shift", 3)
    assert simulate(*words, folder=tmp_path / "b") == 0
    out = capsys.readouterr().out
    assert out == (
        "Entry SIM-x was simulated: 12 + 12 images of 32 x 32 px\n"
        "at 3 Å/px, point group C1, SNR 0.5:\n"
        f"  {tmp_path / 'b' / 'SIM-x'}\n"
    )
    assert simulate(*words, folder=tmp_path / "b") == 0
    assert "is there already" in capsys.readouterr().out
    assert simulate(*words, "--seed", 1, folder=tmp_path / "b") == 1
    assert "replace it with --force" in capsys.readouterr().err
    assert simulate(*words, "--seed", 1, "--force", folder=tmp_path / "b") == 0


def test_every_option_reaches_the_images(map_path, tmp_path, capsys):
    assert (
        simulate(
            "--name", "SIM-x", "--map", map_path, "-k", 20, "--symmetry", "c2", "--noise",
            "coloured", "--snr", 1, "--shift-sigma", 2, "--defocus", 9000, 9100, "--astigmatism",
            10, 20, "--phase-shift", 90, 91, "--b-factor", 30, 31, "--voltage", 200, "--cs", 1.4,
            "--amplitude-contrast", 0.07, "--scale-spread", 0.1, "--view", "0,90,10,0.5", "--view",
            "90,90,10,0.5", "--seed", 5, "--threads", 1, "--mask", map_path, folder=tmp_path / "b",
        ) == 0
    )  # fmt: skip
    folder = tmp_path / "b" / "SIM-x"
    table = read_particle_table(folder / "particles_1.star")
    ctf = table.require_ctf()
    assert ctf.voltage_kv.tolist() == [200] * 20
    assert ctf.spherical_aberration_mm.tolist() == [1.4] * 20
    assert ctf.amplitude_contrast.tolist() == [0.07] * 20
    assert ((ctf.phase_shift_deg >= 90) & (ctf.phase_shift_deg <= 91)).all()
    assert ((ctf.b_factor_angst2 >= 30) & (ctf.b_factor_angst2 <= 31)).all()
    assert ((ctf.defocus_u_angst > 9000) & (ctf.defocus_u_angst < 9110)).all()
    assert ctf.scale.std() > 0.03
    heights = table.require_poses().rotations[:, 2, 2]
    # both views are from the side, scattered by 10 degrees: half of them nearer than 6.7
    assert np.median(np.abs(heights)) < 0.2
    assert np.abs(heights).max() < 0.7
    info = json.loads((folder / "info_0.json").read_text())
    assert info["symmetry"] == "C2"
    assert info["simulated"]["seed"] == 5
    assert info["simulated"]["map"]["file"] == "map.mrc"
    np.testing.assert_array_equal(read_volume(folder / "mask.mrc")[0], read_volume(map_path)[0])


def test_from_a_structure(tmp_path, capsys):
    path = tmp_path / "a.pdb"
    path.write_text(PDB)
    words = ("--structure", path, "-k", 5, "--no-ctf", "--max-shift", 4)
    assert simulate("--name", "SIM-s", *words, "--box", 48, folder=tmp_path / "b") == 0
    assert "48 x 48 px\nat 1.21 Å/px, point group C1, no noise" in capsys.readouterr().out
    folder = tmp_path / "b" / "SIM-s"
    truth, voxel = read_volume(folder / "truth.mrc")
    assert voxel == pytest.approx(1.21)
    centre = np.array(np.nonzero(truth > 0.2 * truth.max())).mean(axis=1)
    np.testing.assert_allclose(centre, 24, atol=1.5)
    info = json.loads((folder / "info_0.json").read_text())
    made_of = info["simulated"]["map"]
    assert (made_of["atoms"], made_of["scattering"]) == (40, "electron")
    assert made_of["resolution_angst"] == pytest.approx(2.5 * 1.21)
    assert (
        simulate(
            "--name", "SIM-t", *words, "--box", 32, "--pixel-size", 3, "--resolution", 9,
            "--scattering", "atomic-number", folder=tmp_path / "b",
        ) == 0
    )  # fmt: skip
    integral = read_volume(tmp_path / "b" / "SIM-t" / "truth.mrc")[0].sum() * 27
    assert integral == pytest.approx(40 * 6, rel=1e-2)


def test_poses_of_a_star_file(map_path, tmp_path):
    assert simulate("--name", "SIM-x", "--map", map_path, "-k", 9, folder=tmp_path / "b") == 0
    star = tmp_path / "b" / "SIM-x" / "particles_0.star"
    words = ("--name", "SIM-y", "--map", map_path, "--poses", star)
    assert simulate(*words, folder=tmp_path / "b") == 0
    before = read_particle_table(star).require_poses().rotations
    halves = [
        read_particle_table(tmp_path / "b" / "SIM-y" / f"particles_{half}.star") for half in (0, 1)
    ]
    assert [len(half) for half in halves] == [5, 4]
    after = np.concatenate([half.require_poses().rotations for half in halves])
    nearest = np.abs(after[:, None] - before[None]).max(axis=(2, 3)).min(axis=1)
    assert nearest.max() < 1e-6


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "give what to project"),
        (["--map", "MAP", "--structure", "x.cif", "-k", "3"], 2, "give what to project"),
        (["--map", "MAP"], 1, "how many particles"),
        (["--map", "MAP", "-k", "3", "--box", "64"], 2, "for --structure only"),
        (["--map", "MAP", "-k", "3", "--pixel-size", "2"], 1, "states 3 A per voxel"),
        (["--map", "MAP", "-k", "3", "--noise", "pink"], 1, "neither a kind of noise"),
        (["--map", "MAP", "-k", "3", "--poses", "none.star"], 1, "none.star does not exist"),
        (["--map", "MAP", "-k", "3", "--ctf", "none.csv"], 1, "none.csv does not exist"),
        (["--map", "MAP", "-k", "3", "--view", "0,0"], 1, "is no view"),
        (["--map", "MAP", "-k", "3", "--symmetry", "Q7"], 1, "Q7"),
        (["--map", "MAP", "-k", "3", "--symmetry", "C3"], 1, "does not have point group C3"),
        (["--map", "MAP", "-k", "3", "--snr", "-1"], 1, "SNR -1.0"),
        (["--map", "MAP", "-k", "3", "--amplitude-contrast", "10"], 1, "amplitude"),
        (["--map", "none.mrc", "-k", "3"], 1, "none.mrc"),
        (["--structure", "none.cif", "-k", "3"], 1, "none.cif does not exist"),
        (["--structure", "PDB", "-k", "3", "--mask", "MAP"], 2, "--mask goes with --map"),
        (["--structure", "PDB", "-k", "3", "--pixel-size", "0.1"], 1, "larger box"),
        (["--structure", "PDB", "-k", "3", "--assembly", "1"], 1, "no assembly"),
    ],
)
def test_what_is_refused(words, code, complaint, map_path, tmp_path, capsys):
    (tmp_path / "a.pdb").write_text(PDB)
    names = {"MAP": str(map_path), "PDB": str(tmp_path / "a.pdb")}
    given = [names.get(word, word) for word in words]
    assert simulate("--name", "SIM-x", *given, folder=tmp_path / "b") == code
    shown = " ".join(capsys.readouterr().err.split())
    assert complaint in shown.replace("│ ", "")
    assert not (tmp_path / "b" / "SIM-x").exists()
