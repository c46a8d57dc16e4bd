"""Released weights: read without running them, told from others, written without code."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import plain_cryofastar as plain
import pytest
import torch

from cesped.cli.main import main
from cesped.errors import CheckpointError, ImageValueError
from cesped.models.cryofastar.config import PRESETS
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.views import normalized_views
from cesped.vocabulary import MapConvention, ViewNormalization

HEADS = (plain.TINY.encoder_heads, plain.TINY.decoder_heads)
HEAD_WORDS = ["--encoder-heads", "2", "--decoder-heads", "3"]


@pytest.fixture
def state():
    arrays = plain.random_state(plain.TINY, plain.UNUSED)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@pytest.fixture
def file(state, tmp_path, monkeypatch):
    """A file as the authors' trainer leaves it: weights beside the options of the run."""
    monkeypatch.chdir(tmp_path)
    content = {"model": state, "args": argparse.Namespace(lr=1e-4, epochs=3), "epoch": 7}
    torch.save(content, "real.pth")
    return "real.pth"


def outputs(model):
    images = torch.randn(1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model(images).points


def test_the_sizes_follow_from_the_tensors(state, file):
    model = CryoFastAR.from_released(file, *HEADS)
    assert model.config == plain.TINY
    assert model.convention is MapConvention.RELEASED
    assert not model.training
    assert torch.equal(outputs(model), outputs(CryoFastAR.from_released(state, *HEADS)))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_heads_are_of_64_channels_unless_stated(state):
    wide = plain.CryoFastARConfig(
        encoder_width=128, encoder_depth=1, encoder_heads=2, decoder_width=64, decoder_depth=1,
        decoder_heads=1, neck_width=8,
    )  # fmt: skip
    arrays = plain.random_state(wide)
    released = {name: torch.from_numpy(value) for name, value in arrays.items()}
    assert CryoFastAR.from_released(released).config == wide
    with pytest.raises(CheckpointError, match="64 channels of the encoder in 5 heads"):
        CryoFastAR.from_released(state, 5)


def test_a_file_of_full_size_is_the_large_network():
    """896 tensors, three of them unused; nothing is allocated."""
    unused = {
        "mask_token": (1, 1, 768),
        "pos_patch_embed.proj.weight": (1024, 3, 16, 16),
        "pos_patch_embed.proj.bias": (1024,),
    }
    shapes = {**plain.released_shapes(PRESETS["large"]), **unused}
    assert len(shapes) == 896
    released = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert sum(tensor.numel() for tensor in released.values()) == 533_362_176
    model = CryoFastAR.from_released(released)
    assert model.config == PRESETS["large"]
    assert sum(parameter.numel() for parameter in model.parameters()) == 532_573_952


def test_halves_become_single(state):
    halves = {name: value.half() for name, value in state.items()}
    model = CryoFastAR.from_released(halves, *HEADS)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_one_set_of_decoder_blocks_is_taken_twice(state):
    single = {k: v for k, v in state.items() if not k.startswith("dec_blocks2.")}
    model = CryoFastAR.from_released(single, *HEADS)
    for name, tensor in model.integrate.state_dict().items():
        other = model.update.state_dict()[name]
        assert torch.equal(tensor, other)
        assert tensor.data_ptr() != other.data_ptr()  # training one does not train the other


def test_a_wrappers_prefix_is_taken_off(state):
    wrapped = {"model": {f"module.{name}": value for name, value in state.items()}}
    wanted = outputs(CryoFastAR.from_released(state, *HEADS))
    assert torch.equal(outputs(CryoFastAR.from_released(wrapped, *HEADS)), wanted)


def test_the_normalisation_goes_by_the_name(state, file, tmp_path):
    assert CryoFastAR.from_released(file, *HEADS).normalization == "stack-maximum"
    (tmp_path / file).rename(tmp_path / "synthetic.pth")
    assert CryoFastAR.from_released("synthetic.pth", *HEADS).normalization == "stack-range"
    model = CryoFastAR.from_released("synthetic.pth", *HEADS, normalization="image")
    assert model.normalization is ViewNormalization.IMAGE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enc_blocks.1.attn.qkv.bias": None}, r"encoder.1.self_attention.qkv.bias is missing"),
        ({"dec_norm.weight": torch.ones(47)}, r"decoder_norm.weight has shape \(47,\) in place"),
        ({"cls_token": torch.ones(1)}, "holds 'cls_token', which is no part of CryoFastAR"),
        ({"enc_blocks.0.gamma": torch.ones(1)}, "encoder.0.gamma is no part of it"),
        ({"patch_embed.proj.weight": torch.ones(64, 3, 16, 16)}, "images of 3 channels"),
        ({"decoder_embed.weight": None}, "another architecture than CryoFastAR"),
        ({"enc_norm.bias": torch.ones(64).int()}, r"encoder_norm.bias holds torch.int32"),
    ],
)
def test_weights_of_another_architecture_are_told(state, change, said):
    changed = {k: v for k, v in {**state, **change}.items() if v is not None}
    with pytest.raises(CheckpointError, match=said):
        CryoFastAR.from_released(changed, *HEADS)


@pytest.mark.parametrize("content", [{}, [1, 2], {"model": {}}, {"a": 1}, {"model": {"a": "b"}}])
def test_what_is_no_state_is_told(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds no weights"):
        CryoFastAR.from_released(tmp_path / "a.pth")


def test_convert_says_what_it_wrote_and_python_opens_it(file, capsys):
    assert main(["convert-weights", file, "out.safetensors", *HEAD_WORDS]) == 0
    count = sum(p.numel() for p in CryoFastAR(plain.TINY).parameters())
    assert capsys.readouterr().out == (
        f"Wrote out.safetensors: {count:,} numbers\n"
        "  encoder: 2 blocks of 64 channels in 2 heads\n"
        "  decoder: 2 pairs of blocks of 48 channels in 3 heads\n"
        "  patches of 16 px, images normalised by stack-maximum\n"
    )
    model, original = CryoFastAR.load("out.safetensors"), CryoFastAR.from_released(file, *HEADS)
    assert model.config == original.config
    assert model.convention is MapConvention.RELEASED
    assert model.normalization is ViewNormalization.STACK_MAXIMUM
    assert torch.equal(outputs(model), outputs(original))


class Bomb:
    def __reduce__(self):
        import os

        return os.mkdir, ("sprung",)


def write_plain_pickle(content, name):
    Path(name).write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [torch.save, write_plain_pickle])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(state, file, tmp_path, capsys, save):
    save({"model": state, "args": Bomb()}, "bomb.pth")
    assert main(["convert-weights", "bomb.pth", "out.safetensors", *HEAD_WORDS]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cesped: error: weights bomb.pth were not loaded: ")
    assert "nothing of it was run" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_the_code_that_a_file_wants_to_use_is_named(state, tmp_path):
    torch.save({"model": state, "args": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match=r"it wants to use posix\.mkdir, so it holds code"):
        CryoFastAR.from_released(tmp_path / "bomb.pth", *HEADS)


def test_what_is_saved_is_plain_safetensors_that_others_may_read(tmp_path):
    from safetensors.torch import load_file

    model = CryoFastAR("tiny").trunk_to(torch.bfloat16)
    model.save(tmp_path / "a.safetensors")
    (tmp_path / "b.txt").write_text("as any file")
    modes = [(tmp_path / name).stat().st_mode for name in ("a.safetensors", "b.txt")]
    assert modes[0] == modes[1]
    found, state = load_file(tmp_path / "a.safetensors"), model.state_dict()
    assert set(found) == set(state)
    assert {value.dtype for value in found.values()} == {torch.bfloat16, torch.float32}
    assert all(torch.equal(found[name], value) for name, value in state.items())
    again = CryoFastAR.load(tmp_path / "a.safetensors").state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_other_doors_of_the_command(file, tmp_path, capsys):
    assert main(["convert-weights", file, "out.npz"]) == 2
    assert "must end in .safetensors, not '.npz'" in capsys.readouterr().err
    assert main(["convert-weights", "nosuch.pth", "out.safetensors"]) == 1
    assert "there are no weights nosuch.pth" in capsys.readouterr().err
    (tmp_path / "out.safetensors").write_text("mine")
    words = ["convert-weights", file, "out.safetensors", *HEAD_WORDS]
    assert main(words) == 1
    assert "out.safetensors exists; choose another name, or use --force" in capsys.readouterr().err
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    assert main([*words, "--force", "--normalization", "image"]) == 0
    assert CryoFastAR.load("out.safetensors").normalization is ViewNormalization.IMAGE
    assert (
        main(["convert-weights", file, "nosuch.pth/out.safetensors", "--decoder-heads", "7"]) == 1
    )
    assert "48 channels of the decoder in 7 heads" in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_a_file_cut_short_is_told(file, tmp_path, share):
    content = (tmp_path / file).read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pth were not loaded: it is no whole file"):
        CryoFastAR.from_released("cut.pth", *HEADS)
    CryoFastAR.from_released(file, *HEADS).save("a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors cannot be read"):
        CryoFastAR.load("cut.safetensors")


def test_safetensors_of_something_else_are_told(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="holds no CryoFastAR of this program"):
        CryoFastAR.load(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="there are no weights"):
        CryoFastAR.load(tmp_path / "b.safetensors")
    CryoFastAR("tiny").save(tmp_path / "c.safetensors")
    model = CryoFastAR.load(tmp_path / "c.safetensors")
    assert model.convention is MapConvention.PAPER


def test_views_are_normalised_alone_or_together():
    images = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (2, 4, 1, 8, 8)))
    alone = normalized_views(images, ViewNormalization.IMAGE)
    torch.testing.assert_close(alone.mean(dim=(-2, -1)), torch.zeros(2, 4, 1).double())
    torch.testing.assert_close(alone.std(dim=(-2, -1), correction=0), torch.ones(2, 4, 1).double())
    assert torch.equal(alone[:, 1:], normalized_views(images[:, 1:], ViewNormalization.IMAGE))
    for sample, found in zip(
        images.numpy(), normalized_views(images, "stack-maximum").numpy(), strict=True
    ):
        scaled = (sample - sample.mean()) / sample.std()
        np.testing.assert_allclose(found, scaled / scaled.max(), atol=1e-12)
    for found in normalized_views(images, ViewNormalization.STACK_RANGE):
        assert (float(found.min()), float(found.max())) == (0.0, 1.0)
    with pytest.raises(ImageValueError, match="without contrast"):
        normalized_views(torch.ones(1, 2, 1, 4, 4), ViewNormalization.IMAGE)
