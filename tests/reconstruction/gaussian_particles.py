"""Noisy images of Gaussian balls, exact in closed form: nothing of the package projects here.

A ball projects to a disc, and an isotropic Gaussian is a product of one along x and one along y.
"""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane

PIXEL_SIZE_ANGST = 2.0


def ball_positions_px(box, rng, symmetry="C1", n_balls=40):
    """Positions `(A, 3)` x, y, z about the origin, repeated by the symmetry."""
    operators = point_group(symmetry).operators
    directions = rng.normal(size=(max(4, n_balls // len(operators)), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = box * 0.3 * rng.uniform(0.2, 1, size=(len(directions), 1)) ** (1 / 3)
    return np.einsum("gij,aj->gai", operators, directions * radii).reshape(-1, 3)


def shown_positions_px(box, symmetry="C1", seed=5):
    """Positions of the balls that the particles of fixture `make_particles` show."""
    return ball_positions_px(box, np.random.default_rng([seed, 1]), symmetry)


def random_poses(n, rng, shift_px=2.0):
    rotations = Rotation.random(n, random_state=rng).as_matrix()
    origins = rng.uniform(-shift_px, shift_px, size=(n, 2)) * PIXEL_SIZE_ANGST
    return Poses(rotations, origins, np.ones(n))


def random_ctf(n, rng, phase_shift_deg=0.0):
    defocus = rng.uniform(8000, 25000, n)
    return CtfParameters(
        defocus_u_angst=defocus + 300,
        defocus_v_angst=defocus - 300,
        defocus_angle_deg=rng.uniform(0, 180, n),
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.1,
        phase_shift_deg=phase_shift_deg,
    )


def project_balls(positions_px, poses, box, sigma_px=1.3):
    """Images `(P, box, box)` of the balls, displaced by minus the origin."""
    in_image = np.einsum("pji,aj->pai", poses.rotations, positions_px)[..., :2]
    in_image = in_image - poses.origins_angst[:, None] / PIXEL_SIZE_ANGST + box // 2
    offset = np.arange(box) - in_image[..., None]  # (P, A, 2, box)
    profile = np.exp(-0.5 * (offset / sigma_px) ** 2).astype(np.float32)
    return np.einsum("pay,pax->pyx", profile[:, :, 1], profile[:, :, 0], optimize=True)


def noisy_images(positions_px, poses, ctf, box, rng, noise_over_signal=1.0, chunk=250):
    """Images `(P, box, box)` float32 with CTF and white noise."""
    images = np.empty((len(poses), box, box), np.float32)
    for start in range(0, len(poses), chunk):
        rows = np.arange(start, min(start + chunk, len(poses)))
        clean = torch.from_numpy(project_balls(positions_px, poses.select(rows), box))
        transfer = ctf_half_plane(ctf.select(rows), box, PIXEL_SIZE_ANGST)
        images[rows] = half_plane_to_images(images_to_half_plane(clean) * transfer).numpy()
    sigma = noise_over_signal * images.std()
    images += rng.normal(0, sigma, images.shape).astype(np.float32)
    return images
