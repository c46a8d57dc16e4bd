"""Images of a pixel size that weights do not know are told at the doors; others pass."""

import json

import pytest
import torch
from fake_entry import PIXEL_SIZE_ANGST, write_fake_entry

from cesped.cli.main import main
from cesped.models.cryofastar.model import CryoFastAR
from cesped.workflows import campaign, learning
from cesped.workflows.learning import LearningOutcome

KNOWN_ANGST = 4.0
WARNING = (
    "warning: The network is given images of 3 Å a pixel (32 px), but its weights learned from 4 Å "
    "a pixel: poses may be wrong with nothing else to show it; use {} 24, which makes it 4 Å."
)


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("pixels"), n_particles=20)


@pytest.fixture
def weights(tmp_path):
    """Return weights that say what they learned from, or do not."""

    def save(*sizes_angst):
        torch.manual_seed(0)
        path = tmp_path / "weights.safetensors"
        CryoFastAR("tiny").save(path, {"pixel_sizes_angst": sizes_angst} if sizes_angst else {})
        return path

    return save


def found_by_abinitio(entry, weights, out, *more):
    words = ["abinitio", "--star", entry.star(0), "--root", entry.folder, "--weights", weights,
             "--out", out, "--threads", "1", "--device", "cpu", "--candidates", "1"]  # fmt: skip
    assert main([*map(str, words), *more]) == 0
    return json.loads((out / "abinitio.json").read_text("utf-8"))


def test_abinitio_warns_on_the_screen_on_the_page_and_in_the_figures(
    entry, weights, tmp_path, capsys
):
    path, out = weights(KNOWN_ANGST, KNOWN_ANGST), tmp_path / "out"
    wanted = WARNING.format("--image-size")
    figures = found_by_abinitio(entry, path, out)
    shown = capsys.readouterr()
    assert f"cesped abinitio: {wanted}\n" in shown.err
    assert shown.out.index(wanted) < shown.out.index("encoded 20 images")  # before the work
    assert figures["pixel_size"] == {
        "given_angst": pytest.approx(PIXEL_SIZE_ANGST), "image_size_px": 32,
        "weights_know_angst": [KNOWN_ANGST, KNOWN_ANGST], "is_known": False,
        "best_image_size_px": 24, "warning": wanted.removeprefix("warning: "),
    }  # fmt: skip
    assert figures["pixel_size"]["warning"] in figures["notes"]
    assert figures["pixel_size"]["warning"] in (out / "report.html").read_text("utf-8")
    found_by_abinitio(entry, path, out)
    shown = capsys.readouterr()
    assert "is up to date" in shown.out
    assert f"cesped abinitio: {wanted}\n" in shown.err
    figures = found_by_abinitio(entry, path, out, "--image-size", "24")  # as it was told to
    shown = capsys.readouterr()
    assert figures["pixel_size"]["is_known"]
    assert figures["pixel_size"]["warning"] is None
    assert "warning" not in shown.out + shown.err


def test_abinitio_is_silent_where_weights_do_not_say(entry, weights, tmp_path, capsys):
    figures = found_by_abinitio(entry, weights(), tmp_path / "out")
    shown = capsys.readouterr()
    assert figures["pixel_size"] is None
    assert "warning" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("sizes_angst", "is_told"), [((4.0, 4.0), True), ((3.05, 5.0), False), ((), False)]
)
def test_training_warns_before_it_begins(
    sizes_angst, is_told, entry, weights, tmp_path, monkeypatch, capsys
):
    begun = []

    def train(*given, **options):
        begun.append(capsys.readouterr().err)
        return LearningOutcome(tmp_path / "model.ckpt", None)

    monkeypatch.setattr(learning, "train_and_predict", train)
    words = ["train", "--target", entry.name, "--halfset", "0", "--outdir", tmp_path / "run",
             "--model", "cryofastar", "--model.weights", weights(*sizes_angst),
             "--data.image_size", "32", "--data.image_size_factor_for_crop", "0",
             "-b", entry.benchmark_dir]  # fmt: skip
    assert main(list(map(str, words))) == 0
    wanted = WARNING.format("--data.image_size")
    assert begun == [f"cesped train: {wanted}\n" if is_told else ""]


def test_a_campaign_warns_before_it_begins(entry, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "run_campaign", lambda *given, **options: None)
    words = ["campaign", "--target", entry.name, "--outdir", tmp_path / "run",
             "--model", "cryofastar", "--model.weights", weights(KNOWN_ANGST, KNOWN_ANGST),
             "--data.image_size", "32", "--data.image_size_factor_for_crop", "0",
             "-b", entry.benchmark_dir]  # fmt: skip
    assert main(list(map(str, words))) == 0
    wanted = WARNING.format("--data.image_size")
    assert capsys.readouterr().err == f"cesped campaign: {wanted}\n"
