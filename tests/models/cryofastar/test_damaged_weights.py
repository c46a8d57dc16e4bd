"""Weights that were damaged or forged: refused with a reason, and without a long wait."""

import json

import plain_cryofastar as plain
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cesped.errors import CheckpointError
from cesped.models.cryofastar.model import CryoFastAR

HEADS = (plain.TINY.encoder_heads, plain.TINY.decoder_heads)


@pytest.fixture
def state():
    arrays = plain.random_state(plain.TINY, plain.UNUSED)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("enc_norm.weight", lambda t: t * float("nan"), "no numbers"),
        ("enc_norm.weight", lambda t: t.to_sparse(), "layout"),
        ("enc_norm.weight", lambda t: t.to(torch.complex64), "complex64"),
        ("enc_blocks.900000000.norm1.weight", lambda _: torch.zeros(3), "is missing"),
    ],
)
def test_tensors_that_are_no_weights_are_told(state, name, change, said):
    state[name] = change(state.get(name))
    with pytest.raises(CheckpointError, match=said):
        CryoFastAR.from_released(state, *HEADS)


def test_a_changed_byte_of_a_packed_file_is_told(state, tmp_path):
    """torch reads such files without a look at their checksums."""
    path = tmp_path / "real.pth"
    torch.save({"model": state}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        CryoFastAR.from_released(path, *HEADS)


@pytest.mark.parametrize(
    ("size", "value"),
    [
        ("encoder_depth", 10**9),
        ("decoder_depth", 10**9),
        ("mlp_ratio", 4.5),
        ("encoder_width", 128.0),
        ("encoder_width", True),
        ("rope_base", float("inf")),
        ("patch_px", 10**9),
    ],
)
def test_a_forged_card_is_told(tmp_path, size, value):
    CryoFastAR("nano").save(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        card = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card["config"] = json.dumps({**json.loads(card["config"]), size: value})
    save_file(state, tmp_path / "b.safetensors", metadata=card)
    with pytest.raises(CheckpointError, match=r"b\.safetensors"):
        CryoFastAR.load(tmp_path / "b.safetensors")


def test_own_weights_need_no_conversion():
    own = CryoFastAR("nano").state_dict()
    with pytest.raises(CheckpointError, match="of this program already"):
        CryoFastAR.from_released(own)


def test_views_beyond_the_table_begin_again(state):
    """View 129 of a table of 128 has the embedding of view 1."""
    model = CryoFastAR.from_released(state, *HEADS)
    images = torch.randn(1, 131, 1, 32, 16, generator=torch.Generator().manual_seed(0))
    images[:, 129], images[:, 130] = images[:, 1], images[:, 5]
    with torch.inference_mode():
        points = model(images).points[0]
    torch.testing.assert_close(points[129], points[1])
    assert (points[130] - points[5]).abs().max() > 0.1
