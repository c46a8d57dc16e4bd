"""`cesped abinitio` from star file to report with a network that was trained, here and now.

It learns the particles of one small entry by heart, as they are and turned by quarters, relative to
the one that will be the reference: enough to show that weights of a training are used as they were
trained, and that the page says what such poses are worth.
"""

import json
import math

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, read_predictions
from cesped.data.particle_images import ParticleImages
from cesped.data.preprocessing import PreprocessingOptions
from cesped.io.mrc import read_volume
from cesped.models.cryofastar.config import CryoFastARConfig
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import maps_of_poses
from cesped.models.cryofastar.views import normalized_views
from cesped.models.image2sphere.turns import turned_images
from cesped.vocabulary import CtfCorrection, Normalization

COUNT, BOX, STEPS, SETS = 20, 32, 80, 4
#: What `choose_reference` tries with seed 0 and one candidate: the last of the shuffled particles.
REFERENCE = int(torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[-1])


def quarter(turns):
    """Return the rotation of content by quarters in the plane, `(3, 3)`."""
    angle = turns * math.pi / 2
    c, s = round(math.cos(angle)), round(math.sin(angle))
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def trained(table):
    """Return a network that knows the particles, and how its loss fell."""
    torch.manual_seed(0)
    config = CryoFastARConfig(
        encoder_width=64, encoder_depth=2, encoder_heads=2, decoder_width=64, decoder_depth=1,
        decoder_heads=2, neck_width=32,
    )  # fmt: skip
    model = CryoFastAR(config)
    model.view_embedding.data *= 0.1  # a view is known by its image, not by its place
    plain = ParticleImages(
        table, PreprocessingOptions(None, Normalization.NONE, CtfCorrection.NONE, 0.0)
    )
    images = plain.prepared(range(COUNT))[:, None]
    turned = torch.stack([turned_images(images, k * math.pi / 2) for k in range(4)])
    rotations = torch.from_numpy(table.poses.rotations).float()
    relative = rotations[REFERENCE].T @ rotations
    quarters = torch.stack([quarter(k) for k in range(4)])
    shifts = torch.from_numpy(-table.poses.origins_angst / table.sampling_rate).float()
    others = torch.tensor([row for row in range(COUNT) if row != REFERENCE])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw, losses = torch.Generator().manual_seed(1), []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20) * (1 - step / STEPS)
        rows = torch.stack([others[torch.randperm(COUNT - 1, generator=draw)] for _ in range(SETS)])
        turns = torch.randint(0, 4, rows.shape, generator=draw)
        rows = torch.nn.functional.pad(rows, (1, 0), value=REFERENCE)
        turns = torch.nn.functional.pad(turns, (1, 0), value=0)
        wanted = maps_of_poses(
            relative[rows] @ quarters[turns].transpose(-1, -2),
            (quarters[turns][..., :2, :2] @ shifts[rows][..., None])[..., 0], BOX, BOX,
        )  # fmt: skip
        views = normalized_views(turned[turns, rows], model.normalization)
        loss = planar_map_loss(model(views, with_images=False), wanted).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    entry = write_fake_entry(folder, n_particles=COUNT, box=BOX, snr=10.0)
    table = read_particle_table(entry.star(0), entry.folder)
    model, losses = trained(table)
    model.save(folder / "trained.safetensors")
    words = ["abinitio", "--star", entry.star(0), "--root", entry.folder, "--out", folder / "out",
             "--weights", folder / "trained.safetensors", "--candidates", 1, "--threads", 1,
             "--device", "cpu"]  # fmt: skip
    assert main(list(map(str, words))) == 0
    return folder / "out", table, losses


def test_poses_are_those_that_were_learned(found):
    out, table, losses = found
    assert losses[-1] < 0.1 * losses[0]
    figures = json.loads((out / "abinitio.json").read_text("utf-8"))
    assert figures["reference"]["row"] == REFERENCE + 1
    _, poses, has_confidence = read_predictions(out / "poses.star")
    assert has_confidence
    truth = table.poses.rotations[REFERENCE].T @ table.poses.rotations
    others = np.arange(COUNT) != REFERENCE
    errors = np.linalg.norm(poses.rotations - truth, axis=(1, 2))[others]
    assert errors.mean() < 0.4  # chance: 2.3
    shifts = np.linalg.norm(poses.origins_angst - table.poses.origins_angst, axis=1)[others]
    moved = np.linalg.norm(table.poses.origins_angst, axis=1).mean()
    assert shifts.mean() < 0.7 * moved


def test_the_report_says_what_they_are_worth_and_maps_are_there(found):
    out, _, _ = found
    figures = json.loads((out / "abinitio.json").read_text("utf-8"))
    assert figures["quarter_turns"]["poses_follow"]
    assert figures["quarter_turns"]["median_error_deg"] < 20
    assert figures["confidence"]["mean"] > 2.5
    page = (out / "report.html").read_text("utf-8")
    assert "Poses follow their images" in page
    assert "mean nothing, nor does the map" not in page
    for name in ("map.mrc", "half0.mrc", "half1.mrc"):
        volume, _ = read_volume(out / name)
        assert volume.shape == (BOX,) * 3
        assert volume.std() > 0
