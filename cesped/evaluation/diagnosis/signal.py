"""What images show of themselves: strength of the signal, sign of matter, and CTF of the noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.held_out import (
    MOST_OPERATORS,
    Grid,
    HeldOutTest,
    IntArray,
    PoseInputs,
    grid_to_volume,
)
from cesped.evaluation.diagnosis.small_images import shell_numbers
from cesped.physics.masks import soft_sphere
from cesped.physics.projection import Projector

FloatArray = NDArray[np.float64]

#: Radius of the sphere that holds the particle, of the box; the map outside is noise.
_SPHERE_RADIUS = 0.4
_NEAR_ZERO, _NEAR_PEAK = 0.3, 0.7  # of the CTF


def expected_agreement(test: HeldOutTest, group_order: int) -> float:
    """Return the agreement that right poses would about reach with these images.

    Parameters
    ----------
    test : the images
    group_order : number of operators of the particle's point group

    Notes
    -----
    In shell s an image has q times as much power of signal as of noise, measured without poses.
    A map of n particles has about n |G| / 2s slices through each of its voxels, hence the ratio
    M = n |G| q / 2s. The map explains M / (1 + M) of the signal, which is q / (1 + q) of the
    image: their product, averaged over the samples of all shells, is the square of the expected
    correlation. On simulated particles at SNR 1 to 0.01 it was 0.7 to 1 times what was found.
    """
    particles = test.particles
    shell = np.maximum(np.arange(particles.box // 2), 1)
    ratio = particles.signal_to_noise
    n_others = len(particles) * (1 - 1 / test.n_parts)
    copies = min(group_order, MOST_OPERATORS)
    of_map = n_others * copies * ratio / (2 * shell)
    explained = of_map / (1 + of_map) * ratio / (1 + ratio)
    samples = test.samples_per_shell
    return float(np.sqrt(samples @ explained / samples.sum()))


def agreement_with_square(test: HeldOutTest, inputs: PoseInputs) -> FloatArray:
    """Return the correlation `(P,)` of each image with the *squared* map of the others.

    A map with the wrong sign explains images with the wrong sign just as well, so agreement says
    nothing of contrast. The square of the map does not know the sign and is positive where the
    particle is, in whichever contrast: images in which matter is bright correlate with it, those
    in which it is dark anti-correlate. (In words of statistics it is the skewness of the map,
    measured on images that had no part in it: matter fills little of the box, so its density has
    a long tail to one side.)
    """
    box = test.particles.box
    sphere = soft_sphere(box, _SPHERE_RADIUS * box, 0.05 * box)

    def slices_of_square(rows: IntArray, grid: Grid) -> NDArray[np.complex64]:
        volume = grid_to_volume(grid, box)
        volume = volume - np.float32((volume * sphere).sum() / sphere.sum())
        projector = Projector(volume**2 * sphere, padding=1, threads=1)
        slices: NDArray[np.complex64] = projector.slices(inputs.rotations[rows]).numpy()
        return slices

    return test.agreement_with(inputs, slices_of_square)


def noise_power_at_zeros(test: HeldOutTest, ctf: NDArray[np.float32]) -> float:
    """Return the power of images near zeros of their CTF over that near its peaks.

    Noise comes after the microscope and does not know the CTF: in raw images the ratio is nearly 1
    in fine shells, where there is hardly any signal. In images that were multiplied by their CTF it
    is nearly 0.

    Parameters
    ----------
    test : the images
    ctf : `(P, m, m // 2 + 1)` as the microscope made it
    """
    box = test.particles.box
    fine = test.used_samples() & (shell_numbers(box) >= box // 4)
    power = np.abs(test.particles.half_planes[:, fine]) ** 2
    strength = np.abs(ctf[:, fine])
    zeros, peaks = strength < _NEAR_ZERO, strength > _NEAR_PEAK
    if not (zeros.any() and peaks.any()):
        return 1.0
    return float(power[zeros].mean() / power[peaks].mean())


def sign_z(correlations: FloatArray) -> float:
    """Return the mean of `correlations` `(P,)` in standard errors, as `paired_z` counts them."""
    error = float(correlations.std(ddof=1)) * np.sqrt(2.0 / len(correlations))
    return float(correlations.mean()) / error if error > 0 else 0.0
