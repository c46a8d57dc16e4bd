"""Undoing the contrast transfer of images, in Fourier space."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import OptionError
from ..vocabulary import CtfCorrection
from .ctf import evaluate_ctf
from .ctf_kernel import flip_phases
from .threads import run_in_chunks

#: Noise power over signal power that a Wiener filter assumes at every frequency.
WIENER_CONSTANT = 0.1

#: Fewer Fourier samples than this are not worth waking a second thread for.
_SAMPLES_WORTH_THREADS = 1_000_000


def correct_ctf(
    half_planes: Tensor,
    ctf: Tensor,
    correction: CtfCorrection,
    wiener_constant: float = WIENER_CONSTANT,
) -> Tensor:
    """Undo the contrast transfer that `ctf` tells.

    Parameters
    ----------
    half_planes : `(..., n, n // 2 + 1)` complex tensor
    ctf : `(..., n, n // 2 + 1)` real tensor of `ctf_half_plane`
    correction : CtfCorrection
        `NONE` returns the input, `PHASE_FLIP` multiplies by the sign of the CTF, `CTF_MULTIPLY`
        by the CTF itself, `WIENER` by CTF / (CTF^2 + wiener_constant).
    wiener_constant : noise power over signal power; positive

    Returns
    -------
    `(..., n, n // 2 + 1)` complex tensor

    Raises
    ------
    OptionError
        If the constant of the Wiener filter is not positive.
    """
    if correction is CtfCorrection.NONE:
        return half_planes
    if correction is CtfCorrection.PHASE_FLIP:
        return half_planes * torch.copysign(torch.ones_like(ctf), ctf)
    if correction is CtfCorrection.WIENER:
        return half_planes * (ctf / (ctf.square() + check_wiener_constant(wiener_constant)))
    return half_planes * ctf


def correct_half_planes(
    half_planes: Tensor,
    coefficients: NDArray[np.float64],
    correction: CtfCorrection,
    wiener_constant: float = WIENER_CONSTANT,
) -> Tensor:
    """Undo the contrast transfer of a batch; the input may be overwritten.

    The same as `correct_ctf` with the CTF of `coefficients`, without making one where only its
    sign matters. The corrections do not depend on which pixel the transforms refer to.

    Parameters
    ----------
    half_planes : `(B, n, n // 2 + 1)` complex tensor; fastest with contiguous columns, as
        `images_to_corner_half_plane` makes them
    coefficients : `(B, 7)` of `cesped.physics.ctf.phase_coefficients`
    correction, wiener_constant : as in `correct_ctf`

    Returns
    -------
    `(B, n, n // 2 + 1)` complex tensor

    Raises
    ------
    OptionError
        If the constant of the Wiener filter is not positive.
    """
    n = half_planes.shape[-2]
    if correction is CtfCorrection.NONE:
        return half_planes
    if correction is not CtfCorrection.PHASE_FLIP:
        real = half_planes.real.dtype
        ctf = evaluate_ctf(coefficients, n, real, half_planes.device)
        return correct_ctf(half_planes, ctf, correction, wiener_constant)
    if half_planes.dtype is torch.complex64 and half_planes.device.type == "cpu":
        columns = half_planes.transpose(-1, -2).contiguous()
        bits = columns.numpy().view(np.uint64)
        threads = 1 if bits.size < _SAMPLES_WORTH_THREADS else None
        run_in_chunks(
            lambda start, stop: flip_phases(coefficients, start, stop, n, bits), len(bits), threads
        )
        return columns.transpose(-1, -2)
    negative = negative_transfer(coefficients, n, half_planes.device)
    return torch.where(negative, -half_planes, half_planes)


def negative_transfer(
    coefficients: NDArray[np.float64], n: int, device: torch.device | str
) -> Tensor:
    """Return where contrast transfer functions are negative, `(B, n, n // 2 + 1)` bool.

    Notes
    -----
    One operation after the other, in float64 and in the order of the compiled kernel, so that all
    devices agree about samples beside a zero, where one sign turns a Fourier component around.
    """
    table = torch.from_numpy(np.ascontiguousarray(coefficients)).to(device)[:, :, None, None]
    xx, xy, yy, quartic, constant, scale, _ = table.unbind(1)
    row = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=device).round()[None, :, None]
    column = torch.arange(n // 2 + 1, dtype=torch.float64, device=device)[None, None, :]
    row_squared = row * row
    squared = column * column + row_squared
    turns = (constant + yy * row_squared) + column * (xy * row + xx * column)
    turns = turns + quartic * squared * squared
    negative: Tensor = (turns - turns.round() < 0) ^ (scale < 0)
    return negative


def check_wiener_constant(value: float) -> float:
    """Return the constant of a Wiener filter, which must be positive and finite.

    Raises
    ------
    OptionError
        If it is not.
    """
    if not 0 < value < float("inf"):
        raise OptionError(
            f"the Wiener constant is {value}; it is the power of the noise over that of the "
            f"signal, a positive number such as {WIENER_CONSTANT}"
        )
    return value
