"""Corrections of the CTF: the sign without a sine, the filters, and that all devices agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import OptionError
from cesped.physics.ctf import CtfParameters, ctf_half_plane, phase_coefficients
from cesped.physics.ctf_correction import correct_ctf, correct_half_planes, negative_transfer
from cesped.physics.fourier import images_to_corner_half_plane
from cesped.vocabulary import CtfCorrection


def some_particles(count, seed=0, **fixed):
    rng = np.random.default_rng(seed)
    defocus = rng.uniform(-3000, 60000, count)
    values = {
        "defocus_u_angst": defocus,
        "defocus_v_angst": defocus - rng.uniform(0, 2000, count),
        "defocus_angle_deg": rng.uniform(0, 180, count),
        "voltage_kv": rng.choice([200.0, 300.0], count),
        "spherical_aberration_mm": rng.choice([0.01, 2.7], count),
        "amplitude_contrast": rng.uniform(0, 0.2, count),
        "phase_shift_deg": rng.uniform(0, 180, count),
        "scale": rng.choice([1.0, -0.7], count),
    }
    return CtfParameters(**values | fixed)


def exact_ctf(params, row, n, pixel_size_angst):
    """The CTF of one particle in float64 from its definition, with numpy alone."""
    kx, ky = np.meshgrid(np.fft.rfftfreq(n), np.fft.fftfreq(n))
    kx, ky = kx / pixel_size_angst, ky / pixel_size_angst
    volt = 1e3 * params.voltage_kv[row]
    wavelength = 12.2643247 / np.sqrt(volt * (1 + 0.978466e-6 * volt))
    angle = np.arctan2(ky, kx) - np.deg2rad(params.defocus_angle_deg[row])
    u, v = params.defocus_u_angst[row], params.defocus_v_angst[row]
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * angle)
    k2 = kx**2 + ky**2
    chi = np.pi * wavelength * defocus * k2
    chi -= 0.5 * np.pi * params.spherical_aberration_mm[row] * 1e7 * wavelength**3 * k2**2
    chi += np.deg2rad(params.phase_shift_deg[row]) + np.arcsin(params.amplitude_contrast[row])
    return params.scale[row] * np.sin(chi)


def ones(count, n):
    return torch.ones(count, n, n // 2 + 1, dtype=torch.complex64)


@pytest.mark.parametrize("n", [64, 65, 256])
def test_flipping_takes_the_sign_of_the_exact_ctf(n):
    params = some_particles(12, seed=n)
    coefficients = phase_coefficients(params, n, 1.1)
    signs = correct_half_planes(ones(12, n), coefficients, CtfCorrection.PHASE_FLIP)
    assert torch.equal(signs.imag, torch.zeros_like(signs.imag))
    for row in range(12):
        exact = exact_ctf(params, row, n, 1.1)
        clear = np.abs(exact) > 1e-9  # beside a zero rounding decides
        assert clear.mean() > 0.999
        np.testing.assert_array_equal(signs[row].real.numpy()[clear], np.sign(exact)[clear])


@given(n=st.integers(4, 50), seed=st.integers(0, 10**6))
def test_compiled_and_torch_signs_agree_to_the_bit(n, seed):
    params = some_particles(3, seed=seed, phase_shift_deg=0.0, amplitude_contrast=0.0)
    coefficients = phase_coefficients(params, n, 1.5)
    compiled = correct_half_planes(ones(3, n), coefficients, CtfCorrection.PHASE_FLIP).real < 0
    assert torch.equal(compiled, negative_transfer(coefficients, n, "cpu"))


def test_zero_is_no_sign_change():
    params = some_particles(1, phase_shift_deg=0.0, amplitude_contrast=0.0, scale=1.0)
    coefficients = phase_coefficients(params, 16, 1.5)
    flipped = correct_half_planes(ones(1, 16), coefficients, CtfCorrection.PHASE_FLIP)
    assert flipped[0, 0, 0] == 1


@pytest.mark.parametrize("correction", list(CtfCorrection))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_corrected_like_its_definition(correction, dtype):
    params = some_particles(4)
    images = torch.randn(4, 32, 32, dtype=dtype)
    half_planes = images_to_corner_half_plane(images)
    ctf = torch.from_numpy(np.stack([exact_ctf(params, row, 32, 2.0) for row in range(4)]))
    expected = {
        CtfCorrection.NONE: half_planes,
        CtfCorrection.PHASE_FLIP: half_planes * torch.sign(ctf),
        CtfCorrection.CTF_MULTIPLY: half_planes * ctf,
        CtfCorrection.WIENER: half_planes * ctf / (ctf**2 + 0.3),
    }[correction].to(half_planes.dtype)
    coefficients = phase_coefficients(params, 32, 2.0)
    found = correct_half_planes(half_planes.clone(), coefficients, correction, 0.3)
    tolerance = 1e-4 if dtype is torch.float32 else 1e-6  # of sums over 1024 pixels
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_a_wiener_filter_restores_what_is_stronger_than_the_noise():
    params = some_particles(1, scale=1.0)
    ctf = ctf_half_plane(params, 64, 1.5)
    signal = torch.complex(*torch.randn(2, 1, 64, 33))
    restored = correct_ctf(signal * ctf, ctf, CtfCorrection.WIENER, 1e-6)
    strong = ctf.abs() > 0.1
    torch.testing.assert_close(restored[strong], signal[strong], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("constant", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wiener_constant_that_is_none_is_refused(constant):
    with pytest.raises(OptionError, match=r"Wiener constant is .* such as 0\.1"):
        correct_half_planes(ones(1, 8), np.zeros((1, 7)), CtfCorrection.WIENER, constant)


@pytest.mark.gpu
def test_the_gpu_flips_the_same_samples():
    coefficients = phase_coefficients(some_particles(8), 128, 1.1)
    on_gpu = negative_transfer(coefficients, 128, "cuda").cpu()
    assert torch.equal(on_gpu, negative_transfer(coefficients, 128, "cpu"))
