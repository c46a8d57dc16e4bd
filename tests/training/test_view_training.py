"""Training on sets of views: it learns, stages follow each other, and a kill changes nothing."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_views import LEAST, PIXEL, STAGES, phantom_source, tiny_stages

from cesped.errors import CheckpointError, DivergedError, GeometryError, OptionError
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.views import normalized_views
from cesped.models.cryofastar.weights import facts_of_weights
from cesped.training.views import learning
from cesped.training.views.blocks import prepare_blocks
from cesped.training.views.learning import train_views
from cesped.training.views.run_folder import LOG_NAME, PROVENANCE_NAME, STATE_NAME
from cesped.training.views.sets import TRAINING
from cesped.training.views.validation import validate
from cesped.vocabulary import ViewNormalization

PROGRAM = Path(__file__).with_name("killed_views.py")


@pytest.fixture(scope="module")
def source_of():
    return phantom_source()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, source_of):
    folder = tmp_path_factory.mktemp("views")
    return folder, train_views(folder, tiny_stages(), source_of, inputs={"maps": ["phantom"]})


class Learned:
    """The sets that a stage learned from, whoever asks."""

    def __init__(self, source, seed):
        self.source, self.seed = source, seed

    def draw(self, numbers, views, stream):
        return self.source.draw(numbers, views, (self.seed, 1, TRAINING))


def share_of_constant(tmp_path, source_of, sets, steps, seed=0):
    """Return the rotation error of sets learned by heart, as a share of the best constant's."""
    stage = {"steps": steps, "views": 2, "batch": sets, "sets": sets, "lr": 1e-3}
    recipe = tiny_stages(stage, preset="tiny", steps_per_round=steps, validation_sets=2, seed=seed)
    done = train_views(tmp_path, recipe, source_of)
    model = CryoFastAR.load(done.weights)

    def maps_of(batch):
        return model(normalized_views(batch.images, model.normalization), with_images=False)

    source = Learned(source_of(recipe.stages[0]), seed)
    seen = validate(maps_of, source, 2, (), sets, sets, model.convention)
    return seen["rotation_error"] / seen["constant_error"]


def test_a_few_pairs_are_learned_by_heart(tmp_path, source_of):
    assert share_of_constant(tmp_path, source_of, sets=4, steps=40) < 0.25


@pytest.mark.slow
def test_sixteen_pairs_are_learned_to_a_quarter_of_the_best_constant(tmp_path, source_of):
    assert share_of_constant(tmp_path, source_of, sets=16, steps=120) < 0.25


def test_stages_follow_each_other(trained):
    _, done = trained
    assert [(row.step, row.stage) for row in done.rows] == [(3, 1), (4, 1), (7, 2)]
    assert done.rows[1].learning_rate < 1e-3  # falling
    assert all(row.confidence > 1 for row in done.rows)


def test_each_stage_draws_what_it_says(tmp_path, source_of):
    drawn = []

    def watched(stage):
        source = source_of(stage)

        class Watched:
            def draw(self, numbers, views, stream):
                batch = source.draw(numbers, views, stream)
                if stream[-1] == TRAINING:
                    drawn.append((stream[1], numbers, tuple(batch.images.shape[:2])))
                return batch

        return Watched()

    train_views(tmp_path, tiny_stages({**STAGES[0], "sets": 6}, STAGES[1]), watched)
    first = [numbers for stage, numbers, _ in drawn if stage == 1]
    assert sorted(first[0] + first[1][:2]) == list(range(6))  # each once before any twice
    assert {n for numbers in first for n in numbers} == set(range(6))
    assert [numbers for stage, numbers, _ in drawn if stage == 2] == [[0, 1], [2, 3], [4, 5]]
    assert {(stage, shape) for stage, _, shape in drawn} == {(1, (4, 2)), (2, (2, 3))}


def test_weights_say_where_they_come_from(trained):
    folder, done = trained
    facts = facts_of_weights(done.weights)
    assert facts["inputs"] == {"maps": ["phantom"]}
    assert facts["pixel_sizes_angst"] == [PIXEL, PIXEL]
    assert facts["recipe"]["stage 2"]["snr"] == [1, 10]
    assert "torch" in facts["program"]
    provenance = json.loads((folder / PROVENANCE_NAME).read_text("utf-8"))
    assert len(provenance["weights_sha256"]) == 64
    assert not (folder / STATE_NAME).exists()
    assert len((folder / LOG_NAME).read_text("utf-8").splitlines()) == 4


def test_a_finished_training_is_not_done_again(trained, source_of, monkeypatch):
    folder, done = trained
    monkeypatch.setattr(learning.Work, "run_stages", lambda *_: pytest.fail("trained again"))
    again = train_views(folder, tiny_stages(), source_of, inputs={"maps": ["phantom"]})
    assert [row.step for row in again.rows] == [row.step for row in done.rows]


def test_another_training_in_the_folder_is_refused(trained, source_of):
    folder, _ = trained
    other = tiny_stages(STAGES[0], {**STAGES[1], "views": 4})
    with pytest.raises(CheckpointError, match=r"differs in recipe.stage 2.views \(see .*run.json"):
        train_views(folder, other, source_of, inputs={"maps": ["phantom"]})
    with pytest.raises(CheckpointError, match=r"differs in inputs.maps"):
        train_views(folder, tiny_stages(), source_of, inputs={"maps": ["another"]})


def test_weights_are_begun_with_and_remembered(trained, source_of, tmp_path):
    _, before = trained
    recipe = tiny_stages({**STAGES[1], "steps": 1, "lr": 1e-9})
    after = train_views(tmp_path, recipe, source_of, start_from=before.weights)
    one, other = (CryoFastAR.load(done.weights).state_dict() for done in (before, after))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-7)
    assert facts_of_weights(after.weights)["began_with"] == facts_of_weights(before.weights)


@pytest.mark.parametrize("every", [20, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_along_the_way_it_ends_in_the_same_bytes(tmp_path, every):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), str(every)],
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    story = json.loads(done.stdout)
    assert story["total"] > 12
    assert any(STATE_NAME in kill["left"] for kill in story["kills"])
    for kill in story["kills"]:
        assert set(kill["again"]) == set(story["whole"])
        assert kill["log"] == story["log"]
        for name in ("weights.safetensors", "run.json"):
            assert kill["again"][name] == story["whole"][name], (name, kill["left"])


def test_a_batch_in_parts_teaches_the_same(source_of, tmp_path):
    stage = {**STAGES[0], "steps": 1, "batch": 4, "lr": 1e-3}
    whole, parts = (
        train_views(tmp_path / str(n), tiny_stages(stage, parts=n), source_of) for n in (1, 2)
    )
    assert parts.rows[0].train_loss == pytest.approx(whole.rows[0].train_loss, rel=1e-5)
    recipes = [
        facts_of_weights(done.weights)["recipe"]["trainer"]["parts"] for done in (whole, parts)
    ]
    assert recipes == [1, 2]


def kept_bytes(model, images):
    """Return what is kept for the way back beside the weights, and the gradients."""
    kept, weights = {}, {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        maps = model(images, with_images=False)
    (maps.points.square().mean() + maps.confidence.mean()).backward()
    gradients = {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}
    return sum(kept.values()), gradients


def test_recomputed_activations_take_less_memory_and_have_the_same_gradients():
    torch.manual_seed(0)
    model = CryoFastAR("tiny")
    torch.nn.init.normal_(model.target_head.points.weight, std=0.1)
    images = torch.randn(2, 4, 1, 32, 32)
    plain, wanted = kept_bytes(model, images)
    prepare_blocks(model, checkpointing=True, compiled=False)
    less, found = kept_bytes(model, images)
    assert less < 0.25 * plain
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore")  # torch about its own steps
@pytest.mark.parametrize("checkpointing", [False, True])
def test_blocks_are_those_that_are_compiled(monkeypatch, checkpointing):
    real, counters = torch.compile, torch._dynamo.utils.counters
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend="eager", **options))
    torch._dynamo.reset()
    counters.clear()
    model, plain = CryoFastAR(LEAST), CryoFastAR(LEAST)
    plain.load_state_dict(model.state_dict())
    prepare_blocks(model, checkpointing=checkpointing, compiled=True)
    images = torch.randn(2, 3, 1, 32, 32)
    found, wanted = (each(images, with_images=False) for each in (model, plain))
    torch.testing.assert_close(found.points, wanted.points)
    found.confidence.sum().backward()
    assert counters["stats"]["unique_graphs"] >= 2  # an encoder's block, a decoder's
    assert not counters["graph_break"]
    assert model.state_dict().keys() == plain.state_dict().keys()


class Heard:
    """A `Progress` that remembers what is said."""

    def __init__(self):
        self.words = []

    @contextlib.contextmanager
    def task(self, description, total, *, in_bytes=False, done=0):
        class Step:
            def __call__(self, units):
                pass

            say = self.words.append

        yield Step()


def test_images_a_second_loss_and_rotation_error_are_shown(source_of, tmp_path):
    heard = Heard()
    done = train_views(tmp_path, tiny_stages(), source_of, progress=heard)
    assert len(heard.words) >= 3
    assert re.fullmatch(r"[\d.e+]+ images/s, loss [\d.]+", heard.words[0])
    error = f"{done.rows[-2].rotation_error:.3g}"
    assert f"rotation error {error} of " in heard.words[-1]
    assert (tmp_path / "learning_curve.png").stat().st_size > 5000


def test_half_width_learns_about_the_same(source_of, tmp_path):
    whole, half = (
        train_views(tmp_path / str(flag), tiny_stages(STAGES[0], bfloat16=flag), source_of)
        for flag in (False, True)
    )
    assert whole.rows[-1].train_loss != half.rows[-1].train_loss
    assert half.rows[-1].train_loss == pytest.approx(whole.rows[-1].train_loss, rel=0.05)
    assert CryoFastAR.load(half.weights).patches.weight.dtype == torch.float32


def test_all_terms_of_the_loss_can_be_asked_for(source_of, tmp_path):
    stage = {**STAGES[1], "steps": 1}
    plain = train_views(tmp_path / "plain", tiny_stages(stage), source_of)
    terms = {"grid_weight": 30, "image_weight": 3}
    full = train_views(tmp_path / "full", tiny_stages(stage, loss=terms), source_of)
    assert (
        full.rows[0].train_loss > plain.rows[0].train_loss + 1
    )  # images of deviation 1, unlearned


def test_a_loss_that_is_no_number_is_said_and_not_kept(source_of, tmp_path):
    stage = {**STAGES[0], "lr": 1e30}
    with pytest.raises(DivergedError, match=r"by step 3 of stage 1; lower stages.1.lr"):
        train_views(tmp_path, tiny_stages(stage, gradient_clip=0), source_of)
    assert not (tmp_path / STATE_NAME).exists()


def test_images_that_do_not_suit_the_patches_are_refused(source_of, tmp_path):
    recipe = tiny_stages()
    recipe = type(recipe).from_dict(
        {"data": {"image_size": 30}, "model": {"preset": "tiny"}, "stages": [STAGES[0]]}
    )
    with pytest.raises(GeometryError, match="multiples of 8 px"):
        train_views(tmp_path, recipe, source_of)


def test_weights_that_want_clean_stacks_are_refused(source_of, tmp_path):
    path = tmp_path / "w.safetensors"
    CryoFastAR("tiny", normalization=ViewNormalization.STACK_RANGE).save(path)
    with pytest.raises(OptionError, match="normalised before CTF and noise"):
        train_views(tmp_path / "run", tiny_stages(), source_of, start_from=path)


def test_a_damaged_state_is_refused(source_of, tmp_path):
    train_views(tmp_path, tiny_stages({**STAGES[0], "steps": 1}), source_of)
    (tmp_path / STATE_NAME).write_bytes(b"no state")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train_views(tmp_path, tiny_stages({**STAGES[0], "steps": 1}), source_of)
    train_views(tmp_path, tiny_stages({**STAGES[0], "steps": 1}), source_of, resume=False)
    assert not (tmp_path / STATE_NAME).exists()


@pytest.mark.gpu
def test_it_trains_on_a_gpu(tmp_path):
    from tiny_views import phantom_volume

    from cesped.physics.torch_projection import TorchProjector
    from cesped.training.views.simulated import SimulatedViews

    projector = TorchProjector(phantom_volume(), PIXEL, "cuda")
    done = train_views(
        tmp_path,
        tiny_stages(bfloat16=True),
        lambda stage: SimulatedViews([projector], stage.snr, stage.max_shift_px),
        device="cuda",
    )
    assert CryoFastAR.load(done.weights).patches.weight.device.type == "cpu"
