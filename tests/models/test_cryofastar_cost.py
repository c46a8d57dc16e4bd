"""The cost of a network as counted from its sizes is what torch counts while it runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cesped.models.cryofastar.config import CryoFastARConfig, preset_config
from cesped.models.cryofastar.cost import forward_flops
from cesped.models.cryofastar.model import CryoFastAR


@pytest.mark.parametrize(("views", "with_images"), [(2, False), (5, True)])
def test_counted_as_torch_counts(views, with_images):
    config = CryoFastARConfig(8, 32, 3, 2, 24, 2, 2, neck_width=16, view_embeddings=4)
    model = CryoFastAR(config).eval()
    with torch.device("meta"):
        images = torch.empty(1, views, 1, 24, 24)
    with FlopCounterMode(display=False) as counter:
        model.to("meta")(images, with_images=with_images)
    assert forward_flops(config, 24, views, with_images=with_images) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("views", "teraflops"), [(8, 0.434), (16, 0.868), (32, 1.737), (256, 13.896)]
)
def test_the_large_network_costs_what_is_known_of_the_released_one(views, teraflops):
    flops = forward_flops(preset_config("large"), 128, views, with_images=True)
    assert flops / 1e12 == pytest.approx(teraflops, rel=2e-3)
