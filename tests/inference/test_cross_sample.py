"""A model of one entry on another: same pixel size, same field of view, same noise, or refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_entry import (
    fake_balls,
    fake_ctf,
    fake_poses,
    project_balls,
    write_stack,
    write_star_31,
)
from small_cryofastar import SIZES

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, read_predictions
from cesped.errors import CheckpointError, PixelSizeError, SymmetryError
from cesped.inference.cross_sample import check_symmetry, check_unseen
from cesped.inference.predict import predict_half
from cesped.inference.sampling import SampledParticles, plan_sampling
from cesped.models.registry import build_model
from cesped.training.checkpoint import CheckpointCard, save_checkpoint
from cesped.training.prepared import preprocessing_from_recipe, preprocessing_to_dict

LEARNED_AT_ANGST = 3.0  # box 48, crop 1/4, 24 px: pixels of 4.5 angstrom
TINY = {
    "encoder": "compact",
    "widths": [4, 4, 4],
    "l_max": 1,
    "sphere_features": 4,
    "so3_features": 2,
    "projector_order": 1,
    "filter_order": 0,
    "grid_order": 0,
}


def card_of(ctf="none", normalise=True, **changes):
    options = preprocessing_from_recipe(24, 0.25, ctf, normalise)
    card = CheckpointCard(
        {"name": "image2sphere", "symmetry": "C1"},
        "LEARNED",
        0,
        preprocessing_to_dict(options),
        pixel_size_angst=LEARNED_AT_ANGST * 36 / 24,
        box=48,
    )
    return replace(card, **changes)


def write_sample(folder, name, box, pixel_size_angst, noise=0.0, count=6, symmetry="C1"):
    """Write both halves: the same balls in the same poses, whatever the sampling."""
    rng = np.random.default_rng(5)
    (folder / name).mkdir(parents=True)
    balls, weights = fake_balls(n_balls=12, radius_angst=30.0)
    poses = fake_poses(count, rng, shift_angst=3.0)
    images = project_balls(balls, weights, poses, box, pixel_size_angst, 9.0 / pixel_size_angst)
    images = images + noise * np.random.default_rng(6).normal(size=images.shape)
    for half in (0, 1):
        star = folder / name / f"particles_{half}.star"
        write_stack(star.with_suffix(".mrcs"), images.astype(np.float32), pixel_size_angst)
        ctf = fake_ctf(count, rng)
        write_star_31(star, poses, ctf, box, rlnImagePixelSize=[pixel_size_angst])
        (folder / name / f"info_{half}.json").write_text(json.dumps({"symmetry": symmetry}))
    return read_particle_table(folder / name / "particles_0.star", folder / name)


def shown(table, card):
    particles = SampledParticles(table, card)
    return particles.read(np.arange(len(table))), particles.plans


def test_the_same_sampling_changes_no_pixel(tmp_path):
    table = write_sample(tmp_path, "SAME", 48, 3.0, noise=0.1)
    images, plans = shown(table, card_of())
    assert [plan.is_training_s for plan in plans] == [True]
    before = card_of(pixel_size_angst=None, box=None)
    torch.testing.assert_close(images, shown(table, before)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("box", "pixel_size_angst"), [(72, 2.0), (80, 1.91), (64, 2.31), (91, 1.87)]
)
def test_another_sampling_of_the_particle_gives_the_same_image(tmp_path, box, pixel_size_angst):
    card = card_of(normalise=False)
    wanted, _ = shown(write_sample(tmp_path, "LEARNED", 48, 3.0), card)
    found, (plan,) = shown(write_sample(tmp_path, "OTHER", box, pixel_size_angst), card)
    assert found.shape == wanted.shape
    assert abs(plan.pixel_size_angst / card.pixel_size_angst - 1) < 5e-3
    for one, other in zip(found[:, 0], wanted[:, 0], strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.998


def test_without_resampling_the_images_would_differ(tmp_path):
    """What the test above would see if nothing were done."""
    wanted, _ = shown(write_sample(tmp_path, "LEARNED", 48, 3.0), card_of(normalise=False))
    blind = card_of(normalise=False, pixel_size_angst=None)
    found, _ = shown(write_sample(tmp_path, "OTHER", 91, 1.87), blind)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] < 0.99


def test_noise_has_the_strength_it_had_in_training(tmp_path):
    levels = []
    for name, box, pixel_size_angst in (("LEARNED", 48, 3.0), ("OTHER", 96, 1.5)):
        table = write_sample(tmp_path, name, box, pixel_size_angst, noise=300.0, count=60)
        levels.append(float(shown(table, card_of())[0].std()))
    assert levels[1] == pytest.approx(levels[0], rel=0.03)


def test_a_smaller_field_of_view_is_padded_about_the_centre(tmp_path):
    card = card_of()
    table = write_sample(tmp_path, "SMALL", 30, 3.0, noise=0.5)
    images, (plan,) = shown(table, card)
    assert images.shape[-1] == 24
    assert plan.options.image_size == 20
    assert (images[:, :, :2] == 0).all()
    assert (images[:, :, 2:22, 2:22] != 0).any()
    with pytest.raises(PixelSizeError, match="show 61 angstrom, the model was trained on 108"):
        plan_sampling(card, 27, 2.25)
    with pytest.raises(PixelSizeError, match="larger box"):
        plan_sampling(card_of(normalise=False), 30, 3.0)


def test_pixel_sizes_of_every_box_are_reached():
    card, misfits = card_of(), []
    for box in range(60, 140, 7):
        for pixel_size_angst in np.linspace(1.3, 3.3, 9) * 54 / box * 1.4:
            plan = plan_sampling(card, box, float(pixel_size_angst))
            misfits.append(abs(plan.pixel_size_angst / card.pixel_size_angst - 1))
            assert plan.image_size == 24
    assert max(misfits) < 0.01
    assert np.mean(misfits) < 0.002


def test_optics_groups_of_other_pixel_sizes_are_each_resampled(tmp_path):
    card = card_of(normalise=False)
    table = write_sample(tmp_path, "OTHER", 72, 2.0)
    alone, _ = shown(table, card)
    mixed = replace(table, pixel_size_angst=np.array([2.0, 2.2, 2.0, 2.2, 2.2, 2.0]))
    images, plans = shown(mixed, card)
    assert len(plans) == 2
    torch.testing.assert_close(images[[0, 2, 5]], alone[[0, 2, 5]])
    assert not torch.allclose(images[1], alone[1])


def test_symmetries():
    told = check_symmetry(card_of(), "m.ckpt", "E", "D2")
    assert "which includes it" in told[0]
    of_d2 = card_of(model={"symmetry": "D2"})
    assert check_symmetry(of_d2, "m.ckpt", "E", "d2") == []
    assert "includes" in check_symmetry(of_d2, "m.ckpt", "E", "D4")[0]
    for symmetry in ("C1", "C2", "D3", "C4"):
        with pytest.raises(SymmetryError, match=f"symmetry D2, E has {symmetry}.*--other-symmetry"):
            check_symmetry(of_d2, "m.ckpt", "E", symmetry)
        assert "at best up to D2" in check_symmetry(of_d2, "m.ckpt", "E", symmetry, True)[0]


def test_what_was_learned_from_is_not_predicted():
    check_unseen(card_of(), "m.ckpt", "LEARNED", 1)
    check_unseen(card_of(), "m.ckpt", "OTHER", 0)
    with pytest.raises(CheckpointError, match="with the model of half 1"):
        check_unseen(card_of(), "m.ckpt", "LEARNED", 0)
    began = card_of(target="MINE", learned_before=[("LEARNED", 0)])
    with pytest.raises(CheckpointError, match="half 0 of LEARNED"):
        check_unseen(began, "m.ckpt", "LEARNED", 0)
    consensus = card_of(target="consensus_10648")  # its images are those of 10648
    with pytest.raises(CheckpointError, match="half 0 of consensus_10648"):
        check_unseen(consensus, "m.ckpt", "10648", 0)
    check_unseen(consensus, "m.ckpt", "10648", 1)
    check_unseen(consensus, "m.ckpt", "simulated_10648", 0)  # other images, of the same poses


def test_the_command_tells_what_it_did(tmp_path, capsys):
    write_sample(tmp_path, "OTHER", 72, 2.0, noise=1.0, symmetry="D2")
    model = build_model("image2sphere", "C1", **TINY)
    checkpoint = tmp_path / "m.ckpt"
    save_checkpoint(checkpoint, card_of(model=model.config), model.state_dict())
    words = ["infer", "--target", "OTHER", "--halfset", "0", "--ckpt_path", str(checkpoint)]
    words += ["--benchmarkDir", str(tmp_path), "--out"]
    assert main([*words, str(tmp_path / "p.star")]) == 0
    text = capsys.readouterr().out
    assert "trained for symmetry C1, OTHER has D2, which includes it" in text
    assert "72 px at 2 angstrom/px are resampled to 4.5 angstrom/px" in text
    assert "frame of that map" in text
    assert len(read_predictions(tmp_path / "p.star")[0]) == 6
    model = build_model("image2sphere", "D3", **TINY)
    save_checkpoint(checkpoint, card_of(model=model.config), model.state_dict())
    assert main([*words, str(tmp_path / "q.star")]) == 1
    assert "or predict all the same with --other-symmetry" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "q.star"), "--other-symmetry", "--turns", "2"]) == 0
    assert "at best up to D3" in capsys.readouterr().out


def test_a_network_of_many_views_is_given_the_pixel_size_it_learned_at(
    tmp_path, monkeypatch, capsys
):
    """One mechanism for all models: whatever the sample's pixels, it is shown those of its card."""
    card = card_of(normalise=False)
    wanted, _ = shown(write_sample(tmp_path, "LEARNED", 48, 3.0), card)
    model = build_model("cryofastar", "C1", size=SIZES, views=4, anchors=4, references=1)
    model.pixel_size_angst = card.pixel_size_angst
    model.take_anchors(wanted[:4], torch.eye(3).expand(4, 3, 3), torch.zeros(4, 2))
    card = replace(card, model=model.config)
    save_checkpoint(tmp_path / "m.ckpt", card, model.state_dict())
    seen = []
    encode = type(model).encode
    monkeypatch.setattr(
        type(model), "encode", lambda self, images: seen.append(images) or encode(self, images)
    )
    words = ["infer", "--halfset", "0", "--ckpt_path", str(tmp_path / "m.ckpt"), "--device", "cpu"]
    words += ["--benchmarkDir", str(tmp_path), "--out", str(tmp_path / "p.star"), "--target"]
    write_sample(tmp_path, "OTHER", 91, 1.87)
    assert main([*words, "OTHER"]) == 0
    assert "91 px at 1.87 angstrom/px are resampled to 4.5" in capsys.readouterr().out
    of_particles = next(images for images in seen if len(images) == len(wanted))
    for one, other in zip(of_particles[:, 0], wanted[:, 0], strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.998
    write_sample(tmp_path, "SMALL", 24, 3.0)
    assert main([*words, "SMALL"]) == 1
    assert "show 72 angstrom, the model was trained on 108" in capsys.readouterr().err


def test_library_users_are_told_too(tmp_path):
    write_sample(tmp_path, "OTHER", 72, 2.0, noise=1.0)
    model = build_model("image2sphere", "C1", **TINY)
    save_checkpoint(tmp_path / "m.ckpt", card_of(model=model.config), model.state_dict())
    told = []
    out = tmp_path / "p.star"
    predict_half(tmp_path / "m.ckpt", "OTHER", 0, out, tmp_path, device="cpu", tell=told.append)
    assert len(told) == 2
