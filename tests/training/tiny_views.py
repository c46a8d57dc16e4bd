"""A network, a map and a recipe so small that a stage takes less than a second."""

import numpy as np

from cesped.data.simulation.optics import OpticsRanges
from cesped.models.cryofastar.config import PRESETS, CryoFastARConfig
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom
from cesped.physics.torch_projection import TorchProjector
from cesped.training.views.recipe import ViewsRecipe
from cesped.training.views.simulated import SimulatedViews

BOX, PIXEL = 32, 3.0

#: learns nothing, and is soon written
LEAST = "least"
PRESETS[LEAST] = CryoFastARConfig(
    patch_px=8, encoder_width=16, encoder_depth=1, encoder_heads=2, decoder_width=16,
    decoder_depth=1, decoder_heads=2, neck_width=8, view_embeddings=4,
)  # fmt: skip

STAGES = (
    {"steps": 4, "views": 2, "batch": 4, "lr": 1e-3},
    {
        "steps": 3, "views": 3, "batch": 2, "lr": 5e-4, "snr": [1, 10], "max_shift_px": 2,
        "defocus_angst": [8e3, 2e4],
    },
)  # fmt: skip


def tiny_stages(*stages, preset=LEAST, loss=None, **trainer):
    return ViewsRecipe.from_dict(
        {
            "data": {"image_size": BOX},
            "model": {"preset": preset},
            "loss": loss or {},
            "trainer": {"steps_per_round": 3, "validation_sets": 3, **trainer},
            "stages": list(stages or STAGES),
        }
    )


def phantom_volume():
    phantom = chain_phantom(100, 0.35 * BOX * PIXEL, np.random.default_rng(0))
    return density_from_atoms(phantom.positions_angst, phantom.weights, BOX, PIXEL, 3 * PIXEL)


def phantom_source():
    """Return what makes a stage's source of the phantom."""
    projector = TorchProjector(phantom_volume(), PIXEL)

    def source_of(stage):
        ranges = stage.defocus_angst
        optics = None if ranges is None else OpticsRanges(ranges)
        return SimulatedViews([projector], stage.snr, stage.max_shift_px, optics)

    return source_of
