"""Particles on the fly: exact labels, the SNR asked for, and one seed one batch."""

import fake_entry as fake
import numpy as np
import pytest
import torch
from test_simulation import ball_volume

from cesped.data.simulation.on_device import OnTheFly
from cesped.data.simulation.optics import OpticsRanges
from cesped.errors import OptionError
from cesped.geometry.poses import Poses
from cesped.physics.noise_spectrum import NoiseSpectrum
from cesped.physics.torch_projection import TorchProjector

BOX, PIXEL = 32, 3.0
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def balls():
    return fake.fake_balls(radius_angst=30.0)


@pytest.mark.parametrize("device", DEVICES)
def test_labels_are_those_of_the_images(balls, device):
    projector = TorchProjector(ball_volume(*balls, box=BOX), PIXEL, device)
    source = OnTheFly(projector, max_shift_px=3.0, optics=OpticsRanges())
    batch = source.draw(20, np.random.default_rng(0))
    assert batch.images.device.type == batch.rotations.device.type == device
    rotations, origins = (
        values.cpu().numpy().astype(float) for values in (batch.rotations, batch.origins_angst)
    )
    assert 2 * PIXEL < np.abs(origins).max() <= 3 * PIXEL
    exact = fake.project_balls(*balls, Poses(rotations, origins, np.ones(20)), BOX)
    for image, reference in zip(batch.images.cpu(), fake.apply_ctf(exact, batch.ctf), strict=True):
        assert np.corrcoef(image.numpy().ravel(), reference.ravel())[0, 1] > 0.998


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spectrum", [None, NoiseSpectrum.falling()])
def test_snr_and_seed(balls, device, spectrum):
    projector = TorchProjector(ball_volume(*balls, box=BOX), PIXEL, device)
    clean = OnTheFly(projector).draw(200, np.random.default_rng(1)).images
    source = OnTheFly(projector, snr=0.2, spectrum=spectrum)
    noisy = source.draw(200, np.random.default_rng(1)).images
    again = source.draw(200, np.random.default_rng(1)).images
    other = source.draw(200, np.random.default_rng(2)).images
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    power = clean.double().var(dim=(1, 2), correction=0).mean()
    assert float(power / (noisy - clean).double().var()) == pytest.approx(0.2, rel=0.02)


def test_ctfs_of_a_table_are_drawn_from():
    table = fake.fake_ctf(3, np.random.default_rng(0))
    source = OnTheFly(TorchProjector(np.ones((8, 8, 8)), PIXEL), optics=table)
    drawn = source.draw(50, np.random.default_rng(0)).ctf
    assert set(drawn.defocus_u_angst) == set(table.defocus_u_angst)
    assert OnTheFly(source.projector).draw(2, np.random.default_rng(0)).ctf is None
    with pytest.raises(OptionError, match="SNR"):
        OnTheFly(source.projector, snr=0.0)
