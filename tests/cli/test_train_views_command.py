"""`cesped train-views`: from maps, structures and particles to weights that other commands read."""

import json

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.errors import CheckpointError
from cesped.io.mrc import write_volume
from cesped.models.cryofastar.config import PRESETS, CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.weights import facts_of_weights
from cesped.physics.density import density_from_atoms
from cesped.workflows.view_training import _check_unseen

BOX = 24
RECIPE = """
data: {image_size: 24, held_out_share: 0.3}
model: {preset: least-of-all}
trainer: {validation_sets: 2}
stages:
  - {steps: 2, views: 2, batch: 2}
  - {steps: 2, views: 3, batch: 2, snr: [1, 2], max_shift_px: 1, ctf_table: CTF}
"""
PARTICLES = "  - {steps: 2, views: 3, batch: 2, source: particles}\n"
CTF = (
    "defocus_u_angst,defocus_v_angst,defocus_angle_deg,voltage_kv,spherical_aberration_mm,"
    "amplitude_contrast\n12000,11000,20,300,2.7,0.1\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    least = CryoFastARConfig(8, 16, 1, 2, 16, 1, 2, neck_width=8, view_embeddings=4)
    monkeypatch.setitem(PRESETS, "least-of-all", least)
    (tmp_path / "ctf.csv").write_text(CTF, encoding="utf-8")
    recipe = RECIPE.replace("CTF", str(tmp_path / "ctf.csv"))
    (tmp_path / "maps.yaml").write_text(recipe, encoding="utf-8")
    (tmp_path / "real.yaml").write_text(recipe + PARTICLES, encoding="utf-8")
    generator = np.random.default_rng(0)
    places = generator.uniform(-15, 15, (6, 3))
    write_volume(tmp_path / "map.mrc", density_from_atoms(places, np.ones(6), BOX, 3.0, 12.0), 3.0)
    elements = np.array(["C"] * 6)
    np.savez(tmp_path / "atoms.npz", coords=places.astype(np.float32), elements=elements)
    return tmp_path


def run(folder, *words, recipe="maps.yaml", out="run"):
    words = [str(folder / word) if word.endswith((".mrc", ".npz")) else word for word in words]
    given = ["--recipe", str(folder / recipe), "--outdir", str(folder / out), "--device", "cpu"]
    return main(["train-views", *given, *words])


def test_maps_and_structures_become_weights(folder, capsys):
    assert run(folder, "--map", "map.mrc", "--structure", "atoms.npz", "--trainer.seed", "4") == 0
    shown = capsys.readouterr().out
    assert "Held-out sets of the last stage: rotation error" in shown
    weights = folder / "run" / "weights.safetensors"
    assert f"Weights: {weights}" in shown
    facts = facts_of_weights(weights)
    assert [stamp["name"] for stamp in facts["inputs"]["maps"]] == ["map.mrc"]
    assert [stamp["name"] for stamp in facts["inputs"]["structures"]] == ["atoms.npz"]
    assert facts["recipe"]["trainer"]["seed"] == 4
    assert CryoFastAR.load(weights).config.encoder_width == 16


def test_folders_of_maps_and_of_shards_are_drawn_from(folder, capsys):
    (folder / "maps").mkdir()
    for name in ("b.mrc", "a.mrc"):
        (folder / "maps" / name).write_bytes((folder / "map.mrc").read_bytes())
    (folder / "atoms").mkdir()
    for number in range(3):
        atoms = "".join(
            f"ATOM  {row:5d}  CA  ALA A{row:4d}    {3.0 * row:8.3f}{number:8.3f}   0.000"
            "  1.00 10.00           C\n"
            for row in range(1, 6)
        )
        (folder / "atoms" / f"s{number}.pdb").write_text(atoms)
    shards = ["--out", str(folder / "shards"), "--images", "4", "--box", "24", "--per-shard", "1"]
    assert main(["shards", "make", str(folder / "atoms"), *shards]) == 0
    text = (folder / "maps.yaml").read_text("utf-8")
    text += "  - {steps: 3, views: 2, batch: 2, source: shards, snr: [1, 2]}\n"
    (folder / "shards.yaml").write_text(text.replace("data: {", "data: {shard_lanes: 2, "))
    words = ["--map", str(folder / "maps"), "--shards", str(folder / "shards")]
    assert run(folder, *words, recipe="shards.yaml") == 0
    facts = facts_of_weights(folder / "run" / "weights.safetensors")
    least, largest = facts["pixel_sizes_angst"]  # the maps' 3 A, and those of the structures
    assert 0 < least <= 3 <= largest
    assert least < largest
    inputs = facts["inputs"]
    assert [stamp["name"] for stamp in inputs["maps"]] == ["a.mrc", "b.mrc"]
    assert (inputs["shards"]["shards"], inputs["shards"]["structures"]) == (3, 3)
    capsys.readouterr()
    cut = folder / "shards" / "shard-000001.shard"
    cut.write_bytes(cut.read_bytes()[:-20])
    assert run(folder, *words, recipe="shards.yaml", out="other") == 1
    assert "shard-000001.shard has no end: it was cut" in capsys.readouterr().err
    assert run(folder, *words[:2], recipe="shards.yaml", out="other") == 1
    assert "stage 3 of the recipe draws from shards; give" in capsys.readouterr().err
    assert run(folder, *words, "--data.shard_lanes", "3", recipe="shards.yaml", out="third") == 1
    assert "has no end" in capsys.readouterr().err


def test_a_last_stage_on_particles_knows_its_half(folder, capsys):
    entry = write_fake_entry(folder / "bench", n_particles=12)
    here = ["--target", entry.name, "--halfset", "0", "-b", str(entry.benchmark_dir)]
    assert run(folder, "--map", "map.mrc", *here, recipe="real.yaml") == 0
    weights = folder / "run" / "weights.safetensors"
    assert facts_of_weights(weights)["inputs"]["entry"]["halfset"] == 0
    rows = (folder / "run" / "log.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["1", "2", "3"]
    _check_unseen(weights, entry.name, 0)
    capsys.readouterr()
    here[3] = "1"
    again = [*here, "--weights", str(weights)]
    assert run(folder, "--map", "map.mrc", *again, recipe="real.yaml", out="other") == 1
    assert f"learned from half 0 of {entry.name}; halves must not meet" in capsys.readouterr().err
    later = folder / "later.safetensors"
    CryoFastAR.load(weights).save(later, {"began_with": facts_of_weights(weights)})
    with pytest.raises(CheckpointError, match="halves must not meet"):
        _check_unseen(later, entry.name, 1)


@pytest.mark.parametrize(
    ("words", "recipe", "complaint"),
    [
        ([], "maps.yaml", "stage 1 of the recipe draws from some maps, 0 were given"),
        (["--map", "map.mrc", "--stages.1.maps", "2"], "maps.yaml", "draws from 2 maps, 1 were"),
        (["--map", "gone.mrc"], "maps.yaml", "gone.mrc does not exist"),
        (["--map", "map.mrc"], "real.yaml", "stage 3 of the recipe learns from particles; give"),
        (["--map", "map.mrc", "--data.image_size", "32"], "maps.yaml", "24 x 24 x 24 voxels"),
        (["--map", "map.mrc", "--stages.2.veiws", "2"], "maps.yaml", "did you mean 'views'"),
        (["--map", "map.mrc", "--model.preset", "huge"], "maps.yaml", "has no preset 'huge'"),
        (["--map", "map.mrc", "--weights", "x"], "maps.yaml", "there are no weights x to begin"),
        (["--map", "map.mrc", "--symmetry", "Q5"], "maps.yaml", "Q5"),
    ],
)
def test_faults_are_told_before_anything_is_learned(folder, capsys, words, recipe, complaint):
    assert run(folder, *words, recipe=recipe) == 1
    told = capsys.readouterr().err
    assert complaint in told
    assert "Traceback" not in told
    assert not (folder / "run" / "weights.safetensors").exists()


def test_another_recipe_in_the_folder_needs_to_begin_anew(folder, capsys):
    assert run(folder, "--map", "map.mrc") == 0
    assert run(folder, "--map", "map.mrc", "--stages.1.steps", "1") == 1
    assert "it differs in recipe.stage 1.steps" in capsys.readouterr().err
    assert run(folder, "--map", "map.mrc", "--stages.1.steps", "1", "--anew") == 0
    identity = json.loads((folder / "run" / "run.json").read_text("utf-8"))
    assert identity["recipe"]["stage 1"]["steps"] == 1
