"""Several datasets of particles: shares, symmetries, halves and sizes are as stated."""

import json

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.errors import MetadataError
from cesped.geometry.symmetry import point_group
from cesped.models.cryofastar.config import PRESETS, CryoFastARConfig
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses, relative_rotations
from cesped.models.cryofastar.weights import facts_of_weights
from cesped.training.prepared import PreparedParticles
from cesped.training.views.mixture import MixedViews
from cesped.training.views.particles import ParticleViews
from cesped.training.views.sections import ViewDataset
from cesped.training.views.sets import TRAINING, true_rotations
from cesped.vocabulary import MapConvention
from cesped.workflows.view_files import plain_images, rows_of_half

STREAM = (0, 1, TRAINING)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    found = []
    for number, (box, symmetry) in enumerate([(24, "C1"), (32, "D2")]):
        folder = tmp_path_factory.mktemp(f"entry{number}")
        entry = write_fake_entry(folder, n_particles=20, box=box)
        table = read_particle_table(entry.star(0), entry.folder)
        particles = PreparedParticles(table, plain_images(16))
        found.append(ParticleViews(particles, point_group(symmetry)))
    return found


def test_boxes_and_pixel_sizes_are_brought_to_one_size_each_by_itself(sources):
    sizes = [source._particles.pixel_size_angst for source in sources]
    boxes = [source._particles.table.image_size for source in sources]
    given = [source._particles.table.sampling_rate for source in sources]
    assert sizes == pytest.approx([g * box / 16 for g, box in zip(given, boxes, strict=True)])
    batch = MixedViews(sources, [1, 1]).draw(list(range(8)), 3, STREAM)
    assert batch.images.shape == (8, 3, 1, 16, 16)


def test_datasets_are_drawn_from_as_often_as_their_weights_say(sources):
    mixed = MixedViews(sources, [3, 1])
    which = np.array([mixed.which(number, STREAM) for number in range(2000)])
    assert 0.2 < which.mean() < 0.3
    batch = mixed.draw([4, 9, 17], 3, STREAM)
    for place, number in enumerate((4, 9, 17)):
        alone = sources[mixed.which(number, STREAM)].draw([number], 3, STREAM)
        assert torch.equal(batch.images[place], alone.images[0])
        assert torch.equal(batch.shifts_px[place], alone.shifts_px[0])


def test_each_set_has_the_symmetry_of_its_particle(sources):
    mixed = MixedViews(sources, [1, 1])
    numbers = list(range(6))
    batch = mixed.draw(numbers, 4, STREAM)
    assert batch.operators.shape == (6, 4, 3, 3)
    group = torch.tensor(point_group("D2").operators, dtype=torch.float32)
    mates = torch.cat([batch.rotations[:, :1], group[2] @ batch.rotations[:, 1:]], dim=1)
    meant = relative_rotations(mates)
    points = maps_of_poses(meant, batch.shifts_px, 16, 16)
    maps = PlanarMaps(points, torch.ones(points.shape[:-1]), None)
    found = true_rotations(batch, maps, MapConvention.PAPER)
    plain = relative_rotations(batch.rotations)
    for place, number in enumerate(numbers):
        wanted = meant if mixed.which(number, STREAM) else plain  # C1 keeps its own
        torch.testing.assert_close(found[place], wanted[place], rtol=0, atol=1e-5)
    part = batch.part(2, 4)
    assert torch.equal(part.operators, batch.operators[2:4])


def with_subsets(entry, path, subsets):
    lines = entry.star(0).read_text("utf-8").rstrip("\n").split("\n")
    last = max(row for row, line in enumerate(lines) if line.startswith("_rln"))
    particles = lines[last + 1 :]
    lines[last + 1 :] = [
        f"{line} {subset}" for line, subset in zip(particles, subsets, strict=True)
    ]
    number = int(lines[last].split("#")[1])
    lines.insert(last + 1, f"_rlnRandomSubset #{number + 1}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def halves(tmp_path):
    entry = write_fake_entry(tmp_path / "bench", n_particles=12)
    path = tmp_path / "mine.star"
    with_subsets(entry, path, [1, 2, 2] * 4)
    return entry, path


def test_of_a_star_file_only_the_stated_half_is_learned_from(halves):
    entry, path = halves
    table = read_particle_table(path, entry.folder)
    assert len(rows_of_half(table, ViewDataset(star=str(path), halfset=0))) == 4
    assert len(rows_of_half(table, ViewDataset(star=str(path), halfset=1))) == 8
    with pytest.raises(MetadataError, match=r"holds halves 1 and 2 in rlnRandomSubset; say which"):
        rows_of_half(table, ViewDataset(star=str(path)))
    plain = read_particle_table(entry.star(0), entry.folder)
    assert len(rows_of_half(plain, ViewDataset(star="x"))) == 12
    with pytest.raises(MetadataError, match="has no particles with rlnRandomSubset 2"):
        rows_of_half(plain, ViewDataset(star="x", halfset=1))


def test_the_command_mixes_an_entry_and_a_star_file(halves, tmp_path, monkeypatch, capsys):
    entry, path = halves
    least = CryoFastARConfig(8, 16, 1, 2, 16, 1, 2, neck_width=8, view_embeddings=4)
    monkeypatch.setitem(PRESETS, "least-of-all", least)
    recipe = {
        "data": {"image_size": 16, "held_out_share": 0.4},
        "model": {"preset": "least-of-all"},
        "trainer": {"validation_sets": 2},
        "stages": [{"steps": 2, "views": 2, "batch": 2, "source": "particles"}],
        "particles": [
            {"target": entry.name, "halfset": 0, "weight": 2, "max_particles": 8},
            {"star": str(path), "root": str(entry.folder), "halfset": 1, "symmetry": "C2"},
        ],
    }
    (tmp_path / "mixed.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    words = ["train-views", "--recipe", str(tmp_path / "mixed.yaml"), "--device", "cpu"]
    words += ["--outdir", str(tmp_path / "run"), "-b", str(entry.benchmark_dir)]
    assert main(words) == 0
    weights = tmp_path / "run" / "weights.safetensors"
    facts = facts_of_weights(weights)
    assert facts["pixel_sizes_angst"] == pytest.approx([6, 6])  # 3 A of 32 px, at 16 px
    first, second = facts["inputs"]["datasets"]
    assert (first["target"], first["halfset"], first["count"]) == (entry.name, 0, 8)
    assert (second["star"], second["count"]) == (str(path), 8)
    assert second["images"][0]["checksum"].startswith("sha256:")
    assert (tmp_path / "run" / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    capsys.readouterr()
    other = ["--target", entry.name, "--halfset", "1", "--weights", str(weights)]
    words[words.index("--outdir") + 1] = str(tmp_path / "other")
    assert main([*words, *other]) == 1
    assert f"learned from half 0 of {entry.name}" in capsys.readouterr().err
