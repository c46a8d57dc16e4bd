"""The contrast transfer function of the electron microscope, as RELION 3.1 defines it.

With `k` in 1/angstrom, the defocus `dz` along the direction of `k`, the wavelength `lambda`, the
spherical aberration `Cs`, the extra phase `p` and the amplitude contrast `w`:

    CTF(k) = scale * exp(-B k^2 / 4) * sin(pi lambda dz k^2 - pi/2 Cs lambda^3 k^4 + p + asin(w))

so that CTF(0) = +w when p is 0: dense matter is bright. Underfocus is positive. The defocus
angle runs from +x (the last axis) towards +y.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MetadataError, OptionError
from .ctf_kernel import fill_ctf
from .threads import run_in_chunks

if TYPE_CHECKING:  # takes a second to load, and maps are made without it
    import torch
    from torch import Tensor

#: h / sqrt(2 m e) [angst * sqrt(V)] and e / (2 m c^2) [1/V], with the digits of RELION. Those of
#: CODATA 2018 (12.264259661, 9.7847560e-7) make the wavelength 5e-6 shorter; but a defocus was
#: fitted with these, and where few particles meet zeros of their CTF the map shows the difference.
_WAVELENGTH_FACTOR = 12.2643247
_RELATIVISTIC_PER_VOLT = 9.78466e-7

#: More than any microscope has: 300,000 was meant in volts.
_LARGEST_VOLTAGE_KV = 10_000.0

#: Fewer half-plane pixels than this are not worth waking a second thread for.
_PIXELS_WORTH_THREADS = 300_000


@dataclass(frozen=True)
class CtfParameters:
    """One contrast transfer function per particle; each field is a `(P,)` float64 array.

    The constructor broadcasts scalars against the longest field.

    Raises
    ------
    MetadataError
        If lengths differ, a value is not finite, or a voltage or amplitude contrast cannot be
        true; the message names the field and the row, counted from 1.
    """

    defocus_u_angst: NDArray[np.float64]
    defocus_v_angst: NDArray[np.float64]
    defocus_angle_deg: NDArray[np.float64]
    voltage_kv: NDArray[np.float64]
    spherical_aberration_mm: NDArray[np.float64]
    amplitude_contrast: NDArray[np.float64]
    phase_shift_deg: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    b_factor_angst2: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    scale: NDArray[np.float64] = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        given = [np.atleast_1d(np.asarray(getattr(self, name), np.float64)) for name in names]
        try:
            full = np.broadcast_arrays(*given)
        except ValueError:
            lengths = ", ".join(f"{n} {v.shape}" for n, v in zip(names, given, strict=True))
            raise MetadataError(
                f"CTF fields of unequal shape: {lengths}; give one value per particle"
            ) from None
        for name, values in zip(names, full, strict=True):
            if values.ndim != 1:
                raise MetadataError(f"CTF field {name} has shape {values.shape}; (P,) is needed")
            _check_values(name, values)
            object.__setattr__(self, name, values.copy())

    def __len__(self) -> int:
        return len(self.defocus_u_angst)

    def select(self, indices: ArrayLike | slice) -> Self:
        """Return the parameters of the particles at `indices` (ints, a mask, or a slice)."""
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = slice(0, 0)  # numpy gives an empty list the dtype float, which cannot index
        return type(self)(
            **{field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        )


def _check_values(name: str, values: NDArray[np.float64]) -> None:
    """Raise `MetadataError` for the first value that no microscope can have."""
    bad = ~np.isfinite(values)
    remedy = "a finite number is needed"
    if name == "voltage_kv":
        bad |= ~((values > 0) & (values < _LARGEST_VOLTAGE_KV))
        remedy = "a positive voltage in kilovolts is needed, such as 300"
    elif name == "amplitude_contrast":
        bad |= ~(np.abs(values) <= 1)
        remedy = "amplitude contrast is a fraction between 0 and 1, usually 0.07 to 0.1"
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise MetadataError(f"CTF field {name} is {values[row]} in row {row + 1}; {remedy}")


def electron_wavelength_angst(voltage_kv: ArrayLike) -> NDArray[np.float64]:
    """Return the relativistic wavelength of electrons [angstrom].

    Examples
    --------
    >>> round(float(electron_wavelength_angst(300.0)), 6)
    0.019688
    """
    volts = 1e3 * np.asarray(voltage_kv, dtype=np.float64)
    return np.asarray(_WAVELENGTH_FACTOR / np.sqrt(volts * (1 + _RELATIVISTIC_PER_VOLT * volts)))


def phase_coefficients(
    params: CtfParameters, n: int, pixel_size_angst: ArrayLike
) -> NDArray[np.float64]:
    """Return each CTF as a polynomial in the integer frequency indices of an `n` pixel image.

    Returns
    -------
    `(P, 7)` float64: the phase in turns is `xx i^2 + xy i j + yy j^2 + quartic (i^2 + j^2)^2 +
    constant` for column index i and row index j; then the scale, and `B/4` per squared index.
    """
    step = 1.0 / (n * np.broadcast_to(np.asarray(pixel_size_angst, np.float64), (len(params),)))
    wavelength = electron_wavelength_angst(params.voltage_kv)
    mean = 0.5 * (params.defocus_u_angst + params.defocus_v_angst)
    half_difference = 0.5 * (params.defocus_u_angst - params.defocus_v_angst)
    twice_angle = 2 * np.deg2rad(params.defocus_angle_deg)
    quadratic = 0.5 * wavelength * step**2
    aberration_angst = 1e7 * params.spherical_aberration_mm
    constant = np.deg2rad(params.phase_shift_deg) + np.arcsin(params.amplitude_contrast)
    return np.stack(
        [
            quadratic * (mean + half_difference * np.cos(twice_angle)),
            quadratic * 2 * half_difference * np.sin(twice_angle),
            quadratic * (mean - half_difference * np.cos(twice_angle)),
            -0.25 * aberration_angst * wavelength**3 * step**4,
            constant / (2 * np.pi),
            params.scale,
            0.25 * params.b_factor_angst2 * step**2,
        ],
        axis=1,
    )


def ctf_half_plane(
    params: CtfParameters,
    n: int,
    pixel_size_angst: ArrayLike,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the CTF of every particle on the half plane of `cesped.physics.fourier`.

    Parameters
    ----------
    params : CtfParameters of P particles
    n : int
        Image size [pixel].
    pixel_size_angst : float or `(P,)` [angstrom per pixel]
    dtype : torch.float32 (when None) or torch.float64
    device : where the result lives

    Returns
    -------
    `(P, n, n // 2 + 1)` tensor

    Raises
    ------
    OptionError
        If `dtype` is another one, or a pixel size is not positive.

    Notes
    -----
    The phase is a polynomial in float64 for either `dtype`, reduced to one turn before the sine:
    float32 results are within 3e-7 of float64 ones at any defocus.
    """
    import torch

    chosen = dtype or torch.float32
    if chosen not in (torch.float32, torch.float64):
        raise OptionError(f"a CTF of {dtype} was asked for; use torch.float32 or torch.float64")
    coefficients = _checked_coefficients(params, n, pixel_size_angst)
    return evaluate_ctf(coefficients, n, chosen, "cpu" if device is None else device)


def ctf_array(
    params: CtfParameters, n: int, pixel_size_angst: ArrayLike, threads: int
) -> NDArray[np.float32]:
    """Return what `ctf_half_plane` does as `(P, n, n // 2 + 1)` float32, without torch.

    Parameters and errors are its own; `threads` are used.
    """
    return _filled(_checked_coefficients(params, n, pixel_size_angst), n, threads)


def _checked_coefficients(
    params: CtfParameters, n: int, pixel_size_angst: ArrayLike
) -> NDArray[np.float64]:
    if not np.all(np.asarray(pixel_size_angst) > 0):
        raise OptionError(f"pixel size {pixel_size_angst!r} was given; it must be positive")
    return phase_coefficients(params, n, pixel_size_angst)


def evaluate_ctf(
    coefficients: NDArray[np.float64], n: int, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    """Return the CTFs `(P, n, n // 2 + 1)` of the polynomials of `phase_coefficients`."""
    import torch

    target = torch.device(device)
    if target.type != "cpu" or dtype == torch.float64:
        return _evaluate_in_torch(coefficients, n, dtype, target)
    return torch.from_numpy(_filled(coefficients, n, None))


def _filled(coefficients: NDArray[np.float64], n: int, threads: int | None) -> NDArray[np.float32]:
    out = np.empty((len(coefficients), n, n // 2 + 1), np.float32)
    used = 1 if out.size < _PIXELS_WORTH_THREADS else threads
    run_in_chunks(lambda start, stop: fill_ctf(coefficients, start, stop, n, out), len(out), used)
    return out


def _evaluate_in_torch(
    coefficients: NDArray[np.float64], n: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Evaluate `phase_coefficients` with torch operations, the phase in float64."""
    import torch

    table = torch.from_numpy(coefficients).to(device)[:, :, None, None]
    xx, xy, yy, quartic, constant, scale, decay = table.unbind(1)
    row = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=device)[None, :, None]
    column = torch.arange(n // 2 + 1, dtype=torch.float64, device=device)[None, None, :]
    squared = row**2 + column**2
    turns = xx * column**2 + xy * column * row + yy * row**2 + quartic * squared**2 + constant
    wave = torch.sin(2 * torch.pi * (turns - turns.round()).to(dtype))
    return wave * (scale * torch.exp(-decay * squared)).to(dtype)
