"""The network against float64 numpy, its symmetries, its cost, and the forms it runs in."""

import numpy as np
import plain_cryofastar as plain
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from cesped.errors import GeometryError, OptionError
from cesped.models.cryofastar.config import PRESETS, CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.models.cryofastar.rotary import rotary_tables, rotate


def as_tensors(state):
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


def released(config=plain.TINY):
    state = as_tensors(plain.random_state(config))
    return CryoFastAR.from_released(state, config.encoder_heads, config.decoder_heads)


@pytest.fixture(scope="module")
def model():
    return released()


def views_of(batch, count, height, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 1, height, width, generator=generator, dtype=dtype)


def worst(found, wanted):
    return float(np.abs(found.numpy() - wanted).max())


@pytest.mark.parametrize(
    ("count", "height", "width"), [(2, 32, 32), (4, 64, 48), (3, 16, 80), (131, 16, 16)]
)
def test_it_computes_what_plain_numpy_does(count, height, width):
    """Also for images that are not square, and for more views than there are embeddings."""
    images = views_of(1, count, height, width, dtype=torch.float64)
    wanted = plain.plain_forward(
        images[0, :, 0].numpy(), plain.random_state(plain.TINY), plain.TINY_PLAIN
    )
    maps = released().double()(images)
    for found, values in zip(maps, wanted, strict=True):
        assert worst(found.detach().squeeze(0).reshape(values.shape), values) < 1e-9


def test_float32_is_within_its_rounding(model):
    images = views_of(1, 3, 64, 64)
    points, confidence, _ = plain.plain_forward(
        images[0, :, 0].numpy(), plain.random_state(plain.TINY), plain.TINY_PLAIN
    )
    with torch.inference_mode():
        maps = model(images)
    assert worst(maps.points[0], points) < 1e-4
    assert worst(maps.confidence[0] / torch.from_numpy(confidence), 1.0) < 1e-4


def test_other_depths_widths_and_patches():
    config = CryoFastARConfig(8, 32, 1, 4, 96, 3, 2, mlp_ratio=2, neck_width=8, view_embeddings=5)
    state = plain.random_state(config)
    images = views_of(2, 7, 16, 24, dtype=torch.float64)
    maps = released(config).double()(images)
    for sample in range(2):
        wanted = plain.plain_forward(images[sample, :, 0].numpy(), state, plain.Plain(4, 2))
        assert worst(maps.points[sample].detach(), wanted[0]) < 1e-9


def test_scores_depend_on_the_difference_of_positions():
    """The law of rotary positions: moving both tokens alike changes no product."""
    tables = rotary_tables(6, 7, 16, 100.0, dtype=torch.float64)
    query, key = torch.randn(2, 16, dtype=torch.float64)
    q, k = (rotate(x.expand(42, 1, 16), tables).view(6, 7, 16) for x in (query, key))
    products = torch.einsum("rcd,std->rcst", q, k)
    torch.testing.assert_close(products[:-2, :-3, :-2, :-3], products[2:, 3:, 2:, 3:])
    torch.testing.assert_close(products[0, 0, 0, 0], query @ key)
    assert not torch.allclose(products[0, 0, 0, 1], products[0, 0, 1, 0])


def test_permuting_targets_permutes_outputs_up_to_their_embeddings(model):
    images, order = views_of(1, 6, 32, 32), [0, 4, 2, 5, 1, 3]
    with torch.inference_mode():
        before, moved = model(images), model(images[:, order])
        assert not torch.allclose(moved.points, before.points[:, order], atol=1e-3)
        kept = model.view_embedding.clone()
        model.view_embedding[:6] = kept[order]
        after = model(images[:, order])
        model.view_embedding[:] = kept
    torch.testing.assert_close(after.points, before.points[:, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.confidence, before.confidence[:, order], atol=0, rtol=1e-4)


def test_samples_of_a_batch_do_not_see_each_other_but_views_do(model):
    images = views_of(2, 3, 32, 32)
    changed = images.clone()
    changed[1, 2] += 1.0
    with torch.inference_mode():
        first, second = model(images).points, model(changed).points
    torch.testing.assert_close(first[0], second[0], atol=1e-6, rtol=1e-6)
    for view in range(3):
        assert (first[1, view] - second[1, view]).abs().max() > 1e-3


def test_features_can_be_kept_and_decoded_in_groups(model):
    images = views_of(1, 5, 32, 48)
    with torch.inference_mode():
        features = torch.cat([model.encode(images[:, :2]), model.encode(images[:, 2:])], dim=1)
        kept = model.decode(features, *model.grid_of(images), with_images=False)
        whole = model(images)
    assert kept.images is None
    torch.testing.assert_close(kept.points, whole.points, atol=1e-5, rtol=1e-5)


def flops(config, count, side):
    counter = FlopCounterMode(display=False)
    # the fused attention of processors is not counted, the plain one is
    with FakeTensorMode(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        CryoFastAR(config)(torch.empty(1, count, 1, side, side))
    return counter.get_total_flops()


def test_the_large_network_has_the_papers_size():
    with torch.device("meta"):
        model = CryoFastAR("large")
    used = sum(parameter.numel() for parameter in model.parameters())
    assert used == 532_573_952
    unused = 768 + (1024 * 3 * 16 * 16 + 1024)  # what a released file holds beside
    assert used + unused == 533_362_176
    assert len(plain.released_shapes(PRESETS["large"])) + 3 == 896


def test_the_cost_is_linear_in_views():
    """39.334 N + 14.948 (N - 1) + 14.647 GFLOP at 128 px, counted by hand from the sizes."""
    by_hand = 39.334 * 5 + 14.948 * 4 + 14.647
    assert flops("large", 5, 128) / 1e9 == pytest.approx(by_hand, rel=1e-4)
    two, four, six = (flops("tiny", count, 64) for count in (2, 4, 6))
    assert six - four == four - two


def test_no_loop_runs_over_views(model):
    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.calls += 1
            return function(*args, **(kwargs or {}))

    counts = []
    for count in (3, 40):
        with Count() as mode, torch.no_grad():
            model(views_of(1, count, 16, 16))
        counts.append(mode.calls)
    assert counts[0] == counts[1]


def test_bfloat16_keeps_the_heads_precise(model):
    images = views_of(1, 4, 64, 64)
    half = released().trunk_to(torch.bfloat16)
    with torch.inference_mode():
        exact, found = model(images), half(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            automatic = model(images)
    assert half.target_head.points.weight.dtype == torch.float32
    for maps in (found, automatic):
        assert maps.points.dtype == maps.confidence.dtype == torch.float32
        assert (maps.points - exact.points).abs().mean() < 0.03 * exact.points.abs().mean()


def test_it_compiles_without_a_break(model):
    images = views_of(1, 3, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images).points, model(images).points)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_computes_the_same(model, dtype):
    images = views_of(2, 9, 64, 48)
    on_gpu = released().trunk_to(dtype).cuda()
    with torch.inference_mode():
        exact, found = model(images), on_gpu(images.cuda())
    allowed = 1e-3 if dtype == torch.float32 else 0.03
    error = (found.points.cpu() - exact.points).abs().mean()
    assert error < allowed * exact.points.abs().mean()


def test_an_untrained_network_says_nothing():
    """All points at the origin and confidence 2, whatever the images: where learning starts."""
    torch.manual_seed(0)
    maps = CryoFastAR("tiny")(views_of(1, 2, 32, 32))
    assert maps.points.abs().max() == 0
    assert (maps.confidence == 2).all()
    assert maps.images.abs().max() == 0


def test_every_parameter_learns(model):
    network = released()
    maps = network(views_of(1, 3, 32, 32))
    sum(part.square().mean() for part in maps).backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad if name != "view_embedding" else parameter.grad[:3]
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 32, 32), r"takes images \(B, N, 1, H, W\); found shape \(1, 3, 32, 32\)"),
        ((1, 1, 1, 32, 32), "needs a reference and at least one other view"),
        ((1, 3, 2, 32, 32), "found 2 channels of 32 x 32 px"),
        ((1, 3, 1, 32, 40), "multiples of 16 px; found 1 channels of 32 x 40 px"),
        ((1, 3, 1, 0, 32), "found 1 channels of 0 x 32 px"),
    ],
)
def test_images_of_another_shape_are_refused(model, shape, said):
    with pytest.raises(GeometryError, match=said):
        model(torch.zeros(shape))


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(OptionError, match=r"no preset 'huge'; it has: .*, tiny, nano"):
        CryoFastAR("huge")
    with pytest.raises(OptionError, match="64 channels of the encoder in 5 heads"):
        CryoFastARConfig(encoder_width=64, encoder_heads=5)
    with pytest.raises(OptionError, match="decoder_depth is 0"):
        CryoFastARConfig(decoder_depth=0)
    with pytest.raises(OptionError, match="no size 'depth'"):
        CryoFastARConfig.from_dict({"depth": 3})


def test_it_runs_where_its_input_is(model):
    from second_device import ELSEWHERE, back, second_device, there

    images = views_of(1, 3, 32, 32)
    with torch.no_grad(), second_device():
        far = CryoFastAR(plain.TINY)
        state = {name: there(value) for name, value in model.state_dict().items()}
        far.load_state_dict(state, assign=True)
        maps = far(there(images))
        found = poses_of_maps(maps, from_reference=True)
        assert found.rotations.device == ELSEWHERE
        points, rotations = back(maps.points), back(found.rotations)
    with torch.no_grad():
        exact = model(images)
    torch.testing.assert_close(points, exact.points)
    torch.testing.assert_close(rotations, poses_of_maps(exact, from_reference=True).rotations)
