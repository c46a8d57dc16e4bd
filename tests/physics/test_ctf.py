"""The CTF against a plain float64 restatement, and the laws of its parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cesped.errors import MetadataError, OptionError
from cesped.physics.ctf import (
    CtfParameters,
    ctf_array,
    ctf_half_plane,
    electron_wavelength_angst,
)
from cesped.physics.ctf_correction import correct_ctf
from cesped.vocabulary import CtfCorrection


def parameters(**changes):
    values = {
        "defocus_u_angst": 21500.0,
        "defocus_v_angst": 20000.0,
        "defocus_angle_deg": 35.0,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "phase_shift_deg": 0.0,
        "b_factor_angst2": 0.0,
        "scale": 1.0,
    }
    return CtfParameters(**(values | changes))


def restated(params, row, n, pixel_size_angst):
    """The textbook formula over angles and lengths, one particle, float64, half plane."""
    volts = params.voltage_kv[row] * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))  # as RELION has it
    ky = np.fft.fftfreq(n, pixel_size_angst)[:, None]
    kx = np.fft.rfftfreq(n, pixel_size_angst)[None, :]
    k = np.hypot(ky, kx)
    angle = np.arctan2(ky, kx) - np.deg2rad(params.defocus_angle_deg[row])
    u, v = params.defocus_u_angst[row], params.defocus_v_angst[row]
    defocus = u * np.cos(angle) ** 2 + v * np.sin(angle) ** 2
    chi = (
        np.pi * wavelength * defocus * k**2
        - np.pi / 2 * params.spherical_aberration_mm[row] * 1e7 * wavelength**3 * k**4
        + np.deg2rad(params.phase_shift_deg[row])
    )
    w = params.amplitude_contrast[row]
    wave = np.sqrt(1 - w**2) * np.sin(chi) + w * np.cos(chi)
    return params.scale[row] * np.exp(-params.b_factor_angst2[row] * k**2 / 4) * wave


@given(
    n=st.sampled_from([32, 33, 256]),
    pixel_size=st.floats(0.8, 4.0),
    defocus=st.floats(1000, 35000),
    astigmatism=st.floats(-3000, 3000),
    angle=st.floats(-360, 360),
    voltage=st.sampled_from([100.0, 200.0, 300.0]),
    phase_shift=st.floats(0, 180),
    amplitude=st.floats(0, 0.3),
    b_factor=st.floats(0, 150),
)
@settings(max_examples=30, deadline=None)
def test_ctf_is_the_textbook_formula(
    n, pixel_size, defocus, astigmatism, angle, voltage, phase_shift, amplitude, b_factor
):
    params = parameters(
        defocus_u_angst=defocus + astigmatism,
        defocus_v_angst=defocus,
        defocus_angle_deg=angle,
        voltage_kv=voltage,
        phase_shift_deg=phase_shift,
        amplitude_contrast=amplitude,
        b_factor_angst2=b_factor,
        scale=0.8,
    )
    expected = restated(params, 0, n, pixel_size)
    double = ctf_half_plane(params, n, pixel_size, dtype=torch.float64)[0].numpy()
    single = ctf_half_plane(params, n, pixel_size)[0].numpy()
    np.testing.assert_allclose(double, expected, atol=2e-6)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-6)


def test_single_precision_error_at_three_angstrom():
    defocus = np.linspace(25000, 32000, 50)
    params = parameters(defocus_u_angst=defocus, defocus_v_angst=defocus - 1500)
    single = ctf_half_plane(params, 256, 1.0)
    double = ctf_half_plane(params, 256, 1.0, dtype=torch.float64)
    assert float((single - double).abs().max()) < 1e-6


def test_value_at_the_origin_is_the_amplitude_contrast():
    origin = ctf_half_plane(parameters(amplitude_contrast=[0.07, 0.1]), 16, 1.5)[:, 0, 0]
    np.testing.assert_allclose(origin, [0.07, 0.1], atol=1e-7)


def test_a_phase_plate_of_ninety_degrees_gives_full_contrast_at_the_origin():
    params = parameters(amplitude_contrast=0.0, phase_shift_deg=90.0)
    assert float(ctf_half_plane(params, 16, 1.5)[0, 0, 0]) == pytest.approx(1, abs=1e-6)


def test_defocus_angle_runs_from_x_towards_y():
    params = parameters(defocus_u_angst=30000.0, defocus_v_angst=10000.0, defocus_angle_deg=0.0)
    along_x = ctf_half_plane(params, 64, 2.0, dtype=torch.float64)[0, 0]
    along_y = ctf_half_plane(params, 64, 2.0, dtype=torch.float64)[0, :33, 0]
    round_u = ctf_half_plane(parameters(defocus_u_angst=30000.0, defocus_v_angst=30000.0), 64, 2.0)
    round_v = ctf_half_plane(parameters(defocus_u_angst=10000.0, defocus_v_angst=10000.0), 64, 2.0)
    np.testing.assert_allclose(along_x, round_u[0, 0], atol=1e-6)
    np.testing.assert_allclose(along_y[:32], round_v[0, :32, 0], atol=1e-6)
    turned = parameters(defocus_u_angst=30000.0, defocus_v_angst=10000.0, defocus_angle_deg=45.0)
    diagonal = ctf_half_plane(turned, 64, 2.0)[0]
    np.testing.assert_allclose(diagonal[5, 5], round_u[0, 5, 5], atol=1e-6)
    np.testing.assert_allclose(diagonal[-5, 5], round_v[0, -5, 5], atol=1e-6)


def test_many_particles_in_threads_equal_one_at_a_time():
    params = parameters(defocus_u_angst=np.linspace(9000, 24000, 70), phase_shift_deg=10.0)
    pixel_sizes = np.linspace(1.0, 2.0, 70)
    together = ctf_half_plane(params, 128, pixel_sizes)
    for row in (0, 34, 69):
        alone = ctf_half_plane(params.select([row]), 128, pixel_sizes[row])
        torch.testing.assert_close(together[row], alone[0], atol=0, rtol=0)


@pytest.mark.parametrize("kilovolts", [100.0, 200.0, 300.0])
def test_wavelengths_are_those_of_the_constants_of_nature(kilovolts):
    h, m, e, c = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0
    volts = kilovolts * 1e3
    exact = 1e10 * h / np.sqrt(2 * m * e * volts * (1 + e * volts / (2 * m * c**2)))
    assert electron_wavelength_angst(kilovolts) == pytest.approx(exact, rel=1.5e-5)


def test_wavelengths_of_common_microscopes():
    np.testing.assert_allclose(
        electron_wavelength_angst([100, 200, 300]), [0.037014, 0.025079, 0.019687], atol=1e-6
    )


def test_corrections():
    half_planes = torch.complex(
        *torch.randn(2, 3, 16, 9, generator=torch.Generator().manual_seed(1))
    )
    ctf = ctf_half_plane(parameters(defocus_u_angst=[9000.0, 12000.0, 20000.0]), 16, 2.0)
    flipped = correct_ctf(half_planes * ctf, ctf, CtfCorrection.PHASE_FLIP)
    torch.testing.assert_close(flipped, half_planes * ctf.abs())
    multiplied = correct_ctf(half_planes, ctf, CtfCorrection.CTF_MULTIPLY)
    torch.testing.assert_close(multiplied, half_planes * ctf)
    assert correct_ctf(half_planes, ctf, CtfCorrection.NONE) is half_planes


def test_select_takes_ints_masks_and_slices():
    params = parameters(defocus_u_angst=[1.0, 2.0, 3.0])
    assert len(params) == 3
    assert params.select([2, 0]).defocus_u_angst.tolist() == [3.0, 1.0]
    assert params.select(np.array([True, False, True])).defocus_u_angst.tolist() == [1.0, 3.0]
    assert params.select(slice(1, None)).voltage_kv.tolist() == [300.0, 300.0]
    assert len(params.select(slice(0, 0))) == 0
    assert ctf_half_plane(params.select([]), 16, 1.0).shape == (0, 16, 9)


def test_impossible_values_are_named():
    with pytest.raises(MetadataError, match="defocus_u_angst is nan in row 2"):
        parameters(defocus_u_angst=[1.0, np.nan])
    with pytest.raises(MetadataError, match=r"voltage_kv is 0\.0 in row 1"):
        parameters(voltage_kv=0.0)
    with pytest.raises(MetadataError, match=r"voltage_kv is 300000\.0 in row 1; .* kilovolts"):
        parameters(voltage_kv=300_000.0)
    with pytest.raises(MetadataError, match=r"amplitude_contrast is 7\.0 in row 1"):
        parameters(amplitude_contrast=7.0)
    with pytest.raises(MetadataError, match="shape"):
        parameters(defocus_u_angst=[1.0, 2.0], defocus_v_angst=[1.0, 2.0, 3.0])
    with pytest.raises(OptionError, match="pixel size"):
        ctf_half_plane(parameters(), 16, 0.0)
    with pytest.raises(OptionError, match="float16"):
        ctf_half_plane(parameters(), 16, 1.0, dtype=torch.float16)


@pytest.mark.parametrize("threads", [1, 3])
def test_arrays_are_the_tensors(threads):
    params = parameters(defocus_u_angst=np.linspace(9000.0, 20000.0, 7))
    found = ctf_array(params, 64, 2.0, threads)
    np.testing.assert_array_equal(found, ctf_half_plane(params, 64, 2.0).numpy())
    assert found.dtype == np.float32
    with pytest.raises(OptionError, match="must be positive"):
        ctf_array(params, 64, -2.0, threads)
