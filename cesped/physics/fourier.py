"""Fourier transforms of images and volumes about their own origin, and the shift theorem.

Conventions, stated here once: an image is `[y, x]`, a volume `[z, y, x]`, and the origin is the
pixel `n // 2` of each axis, for even and odd `n`. A half plane is `(n, n // 2 + 1)` complex:
frequency zero at index `[0, 0]`, negative `ky` in the upper rows, `kx >= 0` only. Its phases
refer to the origin pixel, so a point at the origin has a constant, real transform.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .half_plane_kernel import columns_to_rows


def images_to_half_plane(images: Tensor) -> Tensor:
    """Return the transforms of real images.

    Parameters
    ----------
    images : `(..., n, n)` real tensor

    Returns
    -------
    `(..., n, n // 2 + 1)` complex tensor, unnormalised: the sum over pixels sits at `[0, 0]`.
    """
    half_planes: Tensor = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
    return half_planes


def half_plane_to_images(half_planes: Tensor) -> Tensor:
    """Return the real images of half planes: the inverse of `images_to_half_plane`.

    Parameters
    ----------
    half_planes : `(..., n, n // 2 + 1)` complex tensor

    Returns
    -------
    `(..., n, n)` real tensor
    """
    n = half_planes.shape[-2]
    images: Tensor = torch.fft.fftshift(torch.fft.irfft2(half_planes, s=(n, n)), dim=(-2, -1))
    return images


def images_to_corner_half_plane(images: Tensor, norm: str = "backward") -> Tensor:
    """Return transforms that refer to the first pixel, where shifting to the centre is not needed.

    The CTF for example is symmetric: it acts on these as it does on those of
    `images_to_half_plane`.

    Parameters
    ----------
    images : `(..., n, n)` real tensor
    norm : where the transforms are divided by the number of pixels, as `torch.fft` names it

    Returns
    -------
    `(..., n, n // 2 + 1)` complex tensor whose *columns* are contiguous in memory: the second
    transform leaves them so, and the first one of the way back wants them so
    """
    columns = torch.fft.fft(torch.fft.rfft(images, dim=-1, norm=norm), dim=-2, norm=norm)
    half_planes: Tensor = columns.transpose(-1, -2).contiguous().transpose(-1, -2)
    return half_planes


def corner_half_plane_to_images(half_planes: Tensor, norm: str = "backward") -> Tensor:
    """Return the real images of half planes: the inverse of `images_to_corner_half_plane`.

    Parameters
    ----------
    half_planes : `(..., n, m)` complex tensor; where m is less than n // 2 + 1, the columns that
        are not there are zero
    norm : as in `images_to_corner_half_plane`

    Returns
    -------
    `(..., n, n)` real tensor

    Notes
    -----
    Of the Nyquist column of even `n` the Hermitian part counts: it is the mean of what belongs to
    +kx and to -kx.
    """
    n = half_planes.shape[-2]
    lines = torch.fft.ifft(half_planes, dim=-2, norm=norm)
    images: Tensor = torch.fft.irfft(_whole_rows(lines), n=n, dim=-1, norm=norm)
    return images


def _whole_rows(lines: Tensor) -> Tensor:
    """Return `(..., n, m)` as `(..., n, n // 2 + 1)`, with contiguous rows and zeros at their ends.

    irfft would take what has contiguous columns apart in a copy of its own, three times as slowly.
    """
    *lead, n, n_given = lines.shape
    width = n // 2 + 1
    rows = torch.empty((*lead, n, width), dtype=lines.dtype, device=lines.device)
    if lines.dtype is torch.complex64 and lines.device.type == "cpu":
        columns = lines.transpose(-1, -2).reshape(-1, n_given, n).contiguous()
        columns_to_rows(
            columns.numpy().view(np.uint64), rows.view(-1, n, width).numpy().view(np.uint64)
        )
    else:
        rows[..., :n_given] = lines
        rows[..., n_given:] = 0
        if n % 2 == 0:
            rows[..., -1].imag.zero_()
    return rows


def volume_to_half_space(volume: Tensor) -> Tensor:
    """Return the transform of a real volume.

    Parameters
    ----------
    volume : `(n, n, n)` real tensor

    Returns
    -------
    `(n, n, n // 2 + 1)` complex tensor, unnormalised, the layout of a half plane in three axes.
    """
    axes = (-3, -2, -1)
    half_space: Tensor = torch.fft.rfftn(torch.fft.ifftshift(volume, dim=axes), dim=axes)
    return half_space


def half_space_to_volume(half_space: Tensor) -> Tensor:
    """Return the real volume of a half space: the inverse of `volume_to_half_space`.

    Parameters
    ----------
    half_space : `(n, n, n // 2 + 1)` complex tensor

    Returns
    -------
    `(n, n, n)` real tensor
    """
    n = half_space.shape[-2]
    axes = (-3, -2, -1)
    volume: Tensor = torch.fft.irfftn(half_space, s=(n, n, n), dim=axes)
    centred: Tensor = torch.fft.fftshift(volume, dim=axes)
    return centred


def frequency_grid_px(
    n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the frequencies of a half plane as two tensors that broadcast against each other.

    Parameters
    ----------
    n : int
        Image size [pixel].

    Returns
    -------
    ky : `(n, 1)` tensor [cycles per pixel], the Nyquist row of an even `n` negative
    kx : `(1, n // 2 + 1)` tensor [cycles per pixel], not negative
    """
    ky = torch.fft.fftfreq(n, dtype=dtype, device=device)
    kx = torch.fft.rfftfreq(n, dtype=dtype, device=device)
    return ky[:, None], kx[None, :]


def shift_phase(n: int, shifts_px: Tensor, *, dtype: torch.dtype = torch.complex64) -> Tensor:
    """Return the factors that move the content of images.

    Parameters
    ----------
    n : int
        Image size [pixel].
    shifts_px : `(B, 2)` tensor [pixel]
        How far the content moves along x and y: a half plane times the result is the half plane
        of the image whose content lies `+shift` further. An origin (`rlnOriginXAngst`) moves
        content by its negative: pass `-origin`.

    Returns
    -------
    `(B, n, n // 2 + 1)` tensor of `dtype`, of modulus 1

    Notes
    -----
    The phase is computed in float64 whatever `dtype` is: at the edge of a large image it is
    hundreds of radians.
    """
    shifts = shifts_px.to(torch.float64)
    ky, kx = frequency_grid_px(n, device=shifts.device)
    angle_y = -2 * math.pi * shifts[:, 1, None] * ky[None, :, 0]
    angle_x = -2 * math.pi * shifts[:, 0, None] * kx[None, 0, :]
    factor_y = torch.polar(torch.ones_like(angle_y), angle_y).to(dtype)
    factor_x = torch.polar(torch.ones_like(angle_x), angle_x).to(dtype)
    return factor_y[:, :, None] * factor_x[:, None, :]
