"""Signal, noise and their ratio.

SNR is the variance of the CTF-modulated signal over the full frame, divided by the variance of
the noise of one pixel. One number for a whole stack: the signal's variance is averaged over
images, so that an image with little signal is not cleaner than the microscope would make it.
"""

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError


def signal_variance(images: Tensor) -> Tensor:
    """Return the variance of each noise-free image over all its pixels.

    Parameters
    ----------
    images : `(B, n, n)` real tensor, CTF applied

    Returns
    -------
    `(B,)` float64 tensor
    """
    return images.to(torch.float64).var(dim=(-2, -1), correction=0)


def noise_sigma(mean_signal_variance: float, snr: float) -> float:
    """Return the standard deviation of the noise that gives `snr`.

    Parameters
    ----------
    mean_signal_variance : float
        Mean of `signal_variance` over the images of a stack.
    snr : float
        Variance of the signal over variance of the noise; infinite for no noise.

    Raises
    ------
    OptionError
        If `snr` is not positive, or the images have no signal.

    Examples
    --------
    >>> noise_sigma(4.0, snr=0.25)
    4.0
    """
    if not snr > 0:
        raise OptionError(f"SNR {snr} was given; it must be positive, or infinite for no noise")
    if not mean_signal_variance > 0:
        raise OptionError("the images hold no signal, so no noise has a ratio to it")
    return float(np.sqrt(mean_signal_variance / snr))


def white_noise(shape: tuple[int, ...], sigma: float, generator: np.random.Generator) -> Tensor:
    """Return independent Gaussian noise.

    Parameters
    ----------
    shape : tuple of int
    sigma : float
        Standard deviation of each value.
    generator : numpy.random.Generator
        Drawn from in order: batches of any size give the same stream.

    Returns
    -------
    float32 tensor of `shape`
    """
    values = generator.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values).mul_(sigma)
