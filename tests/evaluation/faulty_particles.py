"""Simulated particles with one fault each, written to disk.

Images are Gaussian balls projected by their formula (`tests/fake_entry.py`): nothing of the package
projects here, and faults are put in by plain array operations.
"""

import numpy as np
from fake_entry import apply_ctf, fake_balls, fake_ctf, project_balls, write_stack, write_star_31
from scipy.spatial.transform import Rotation

from cesped.data.conventions import read_particle_table
from cesped.geometry.poses import Poses

PIXEL_SIZE_ANGST = 3.0
SHIFT_ANGST = 9.0


def _zyz(rotations):
    return Rotation.from_matrix(rotations).as_euler("ZYZ")


def _rotations(zyz):
    return Rotation.from_euler("ZYZ", zyz).as_matrix()


def _flipped(images, axis):
    """Mirror about the origin pixel N // 2, N even."""
    return np.roll(np.flip(images, axis), 1, axis)


def _psi_negated(images, rotations, origins, rng):
    return images, _rotations(_zyz(rotations) * [1, 1, -1]), origins


def _in_radians(images, rotations, origins, rng):
    return images, _rotations(np.radians(_zyz(rotations))), origins


def _random(images, rotations, origins, rng):
    return images, Rotation.random(len(images), random_state=rng).as_matrix(), origins


#: Each takes and returns images, rotations and origins [angstrom].
FAULTS = {
    "none": lambda i, r, o, rng: (i, r, o),
    "transposed": lambda i, r, o, rng: (i, r.transpose(0, 2, 1), o),
    "flipped left to right": lambda i, r, o, rng: (_flipped(i, 2), r, o),
    "flipped upside down": lambda i, r, o, rng: (_flipped(i, 1), r, o),
    "image axes exchanged": lambda i, r, o, rng: (i.transpose(0, 2, 1).copy(), r, o),
    "contrast": lambda i, r, o, rng: (-i, r, o),
    "shifts negated": lambda i, r, o, rng: (i, r, -o),
    "shifts exchanged": lambda i, r, o, rng: (i, r, o[:, ::-1].copy()),
    "shifts in pixels": lambda i, r, o, rng: (i, r, o / PIXEL_SIZE_ANGST),
    "no shifts": lambda i, r, o, rng: (i, r, np.zeros_like(o)),
    "psi negated": _psi_negated,
    "radians": _in_radians,
    "off by one": lambda i, r, o, rng: (np.roll(i, 1, axis=0), r, o),
    "random": _random,
    "transposed, contrast": lambda i, r, o, rng: (-i, r.transpose(0, 2, 1), o),
    "transposed, shifts negated": lambda i, r, o, rng: (i, r.transpose(0, 2, 1), -o),
    "turned about x": lambda i, r, o, rng: (
        i,
        Rotation.from_euler("X", 40, degrees=True).as_matrix() @ r,
        o,
    ),
}


def write_particles(
    folder,
    fault="none",
    *,
    symmetry="C1",
    n_particles=150,
    box=32,
    snr=0.5,
    seed=1,
    pixel_factor=1.0,
    phase_flipped=False,
    said_to_be_flipped=False,
    shift_angst=SHIFT_ANGST,
):
    """Write particles with one fault, and return the table read from them.

    `pixel_factor` multiplies the pixel size that is stated; shifts in pixels stay right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    balls, weights = fake_balls(symmetry, n_balls=24, radius_angst=26.0, seed=seed + 100)
    rotations = Rotation.random(n_particles, random_state=rng).as_matrix()
    origins = rng.uniform(-shift_angst, shift_angst, (n_particles, 2))
    ctf = fake_ctf(n_particles, rng)
    poses = Poses(rotations, origins, np.ones(n_particles))
    images = apply_ctf(project_balls(balls, weights, poses, box), ctf)
    images = images + rng.normal(size=images.shape) * images.std() / np.sqrt(snr)
    images = images.astype(np.float32)
    if phase_flipped:
        images = _phase_flipped(images, ctf)
    images, rotations, origins = FAULTS[fault](images, rotations, origins, rng)
    size = PIXEL_SIZE_ANGST * pixel_factor
    write_stack(folder / "particles.mrcs", np.ascontiguousarray(images), size)
    stated = Poses(rotations, origins * pixel_factor, np.ones(n_particles))
    columns = {"rlnImagePixelSize": [size]}
    if said_to_be_flipped:
        columns["rlnCtfDataArePhaseFlipped"] = np.ones(n_particles, int)
    write_star_31(folder / "particles.star", stated, ctf, box, **columns)
    return read_particle_table(folder / "particles.star")


def _phase_flipped(images, ctf):
    """Multiply the transforms by the sign of the CTF, computed here from its formula."""
    box = images.shape[-1]
    ky, kx = np.meshgrid(np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")
    squared = (kx**2 + ky**2) / PIXEL_SIZE_ANGST**2
    angle = np.arctan2(ky, kx)
    wavelength = 0.0196875
    flipped = np.empty_like(images)
    for row, image in enumerate(images):
        u, v = ctf.defocus_u_angst[row], ctf.defocus_v_angst[row]
        turned = 2 * (angle - np.radians(ctf.defocus_angle_deg[row]))
        defocus = (u + v) / 2 + (u - v) / 2 * np.cos(turned)
        phase = np.pi * wavelength * defocus * squared
        phase = phase - np.pi / 2 * 2.7e7 * wavelength**3 * squared**2 + np.arcsin(0.1)
        transform = np.fft.rfft2(np.fft.ifftshift(image)) * np.sign(np.sin(phase))
        flipped[row] = np.fft.fftshift(np.fft.irfft2(transform, s=image.shape))
    return flipped
