"""Images cropped about their centre and resampled within their band."""

from functools import lru_cache

import torch
from torch import Tensor


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
    source = torch.fft.rfft2(images, norm="forward")[..., : kept // 2 + 1]
    if not centred:
        source = source * _phases(n, kept, 1.0, source.dtype, source.device)
    band = _rows_of_band(source, n, size, kept)
    if kept % 2 == 0 and size > n:
        band[..., -1] *= 0.5
    if not centred:
        band = band * _phases(size, kept, -1.0, source.dtype, source.device)
    # Columns beyond the band are zero: their transforms along y are left out.
    lines = torch.fft.ifft(band, dim=-2, norm="forward")
    if kept % 2 == 0 and size < n:
        lines[..., -1].imag.zero_()  # the mean of the edges at +kx and -kx
    resized: Tensor = torch.fft.irfft(lines, n=size, dim=-1, norm="forward")
    return resized


def _rows_of_band(source: Tensor, n: int, size: int, kept: int) -> Tensor:
    """Return the rows of `source` (n of them) at their places among `size` rows."""
    shape = (*source.shape[:-2], size, source.shape[-1])
    n_positive, n_negative = (kept + 1) // 2, (kept - 1) // 2  # rows within the band's edge
    band = torch.empty(shape, dtype=source.dtype, device=source.device)
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
