"""Noise: the ratio it is made for, and that a seed decides it."""

import numpy as np
import pytest
import torch

from cesped.errors import OptionError
from cesped.physics.noise import noise_sigma, signal_variance, white_noise


def test_made_noise_has_the_ratio_asked_for():
    generator = np.random.default_rng(3)
    signal = torch.from_numpy(generator.normal(2.0, 3.0, size=(40, 64, 64)).astype(np.float32))
    variance = signal_variance(signal)
    assert variance.dtype == torch.float64
    np.testing.assert_allclose(variance, signal.numpy().var(axis=(1, 2)), rtol=1e-5)
    noise = white_noise((40, 64, 64), noise_sigma(float(variance.mean()), 0.1), generator)
    assert noise.dtype == torch.float32
    assert float(variance.mean() / noise.var()) == pytest.approx(0.1, rel=0.02)


def test_batches_of_any_size_give_one_stream():
    whole = white_noise((6, 8, 8), 2.0, np.random.default_rng(5))
    generator = np.random.default_rng(5)
    parts = [white_noise((count, 8, 8), 2.0, generator) for count in (1, 3, 2)]
    assert torch.equal(whole, torch.cat(parts))


def test_no_noise_and_no_signal():
    assert noise_sigma(4.0, np.inf) == 0
    with pytest.raises(OptionError, match="SNR"):
        noise_sigma(4.0, 0.0)
    with pytest.raises(OptionError, match="no signal"):
        noise_sigma(0.0, 0.1)
