"""Images cropped about their centre and resampled within their band."""

from functools import lru_cache

import torch
from torch import Tensor

from .fourier import corner_half_plane_to_images, images_to_corner_half_plane
from .half_plane_kernel import resize_columns


def crop_centre(images: Tensor, size: int) -> Tensor:
    """Return the central `size` pixels of `(..., n, n)` images; pixel n // 2 becomes size // 2."""
    start = images.shape[-1] // 2 - size // 2
    return images[..., start : start + size, start : start + size]


def resize_band_limited(images: Tensor, size: int) -> Tensor:
    """Return images resampled to `size` pixels with the same field of view.

    Frequencies that do not fit are cut, those that are new are zero; the grey values keep their
    mean, and the centre pixel n // 2 goes to size // 2. White noise of deviation 1 gets the
    deviation size / n.

    Parameters
    ----------
    images : `(..., n, n)` float tensor
    size : pixels of the result

    Notes
    -----
    A frequency at the edge of the band of the smaller size counts half, on both sides: the only
    choice that is symmetric about the centre.

    The transforms start at the first pixel, not at the centre. Between two even sizes the phases
    that this makes cancel; else the samples are turned back and forth.
    """
    n = images.shape[-1]
    if n == size:
        return images
    centred = n % 2 == 0 and size % 2 == 0
    kept = min(n, size)
    source = images_to_corner_half_plane(images, norm="forward")[..., : kept // 2 + 1]
    if not centred:
        source = source * _phases(n, kept, 1.0, source.dtype, source.device)
    band = _resized_band(source, size)
    if not centred:
        band = band * _phases(size, kept, -1.0, source.dtype, source.device)
    return corner_half_plane_to_images(band, norm="forward")


def _resized_band(source: Tensor, size: int) -> Tensor:
    """Return `(..., n, m)` samples cut or padded along y to `size`, with contiguous columns."""
    *lead, n, n_columns = source.shape
    band = torch.empty((*lead, n_columns, size), dtype=source.dtype, device=source.device)
    if source.dtype is torch.complex64 and source.device.type == "cpu":
        columns = source.transpose(-1, -2).reshape(-1, n_columns, n).contiguous()
        resize_columns(columns.numpy(), band.view(-1, n_columns, size).numpy())
        return band.transpose(-1, -2)
    band = band.transpose(-1, -2)
    kept = min(n, size)
    n_positive, n_negative = (kept + 1) // 2, (kept - 1) // 2  # rows within the band's edge
    band[..., :n_positive, :] = source[..., :n_positive, :]
    band[..., n_positive : size - n_negative, :] = 0
    band[..., size - n_negative :, :] = source[..., n - n_negative :, :]
    if kept % 2:
        return band
    edge = kept // 2
    if size < n:
        band[..., edge, :] = 0.5 * (source[..., edge, :] + source[..., n - edge, :])
    else:
        band[..., edge, :] = 0.5 * source[..., edge, :]
        band[..., size - edge, :] = band[..., edge, :]
        band[..., edge] *= 0.5
    return band


@lru_cache(maxsize=32)
def _phases(n: int, kept: int, sign: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the factors that make transforms refer to pixel `n // 2`, or take that back.

    `(n, kept // 2 + 1)` complex; `sign` +1 for the one, -1 for the other.
    """
    row = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    column = torch.arange(kept // 2 + 1, dtype=torch.float64)
    angle = sign * 2 * torch.pi * (n // 2) / n * (row[:, None] + column[None, :])
    return torch.polar(torch.ones_like(angle), angle).to(device=device, dtype=dtype)
