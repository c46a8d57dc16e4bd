"""Sets of views of one map, drawn on the fly, the first of each set near one fixed orientation.

Why near: of uniform orientations the relative rotation R_ref^T R_i has mean zero given one image
alone, so a network that looks at either image learns nothing until it can already tell both. While
the reference stays near one orientation, each image says something for itself.
"""

import math

import numpy as np
import torch

from cesped.data.simulation.optics import OpticsRanges
from cesped.data.simulation.structure_map import map_of_atoms
from cesped.geometry.rotations import random_rotations, rotations_about_random_axes
from cesped.io.atoms import read_atoms
from cesped.io.mrc import read_volume
from cesped.models.cryofastar.planar_maps import relative_rotations
from cesped.physics.torch_projection import TorchProjector

#: Box and pixel size of the paper's simulated sets of 5NRL (appendix B.1).
SET_BOX, SET_PIXEL_ANGST = 128, 4.0
DEFOCUS_ANGST = (8000.0, 25000.0)


def map_at(path, box, pixel_size_angst=SET_PIXEL_ANGST, set_box=SET_BOX):
    """Return the map of a structure or MRC file at `box` voxels of the same field of view, and its
    pixel size: what remains of the full map where images are cropped in Fourier space."""
    if str(path).endswith((".mrc", ".map")):
        volume, pixel_size_angst = read_volume(path)
        set_box = len(volume)
    else:
        volume, _, _ = map_of_atoms(
            read_atoms(path), path, set_box, pixel_size_angst=pixel_size_angst
        )
    if box > set_box:
        raise SystemExit(f"{path} has {set_box} voxels a side; --box {box} is larger")
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))
    low = set_box // 2 - box // 2
    inside = slice(low, low + box)
    cropped = np.fft.fftn(np.fft.ifftshift(spectrum[inside, inside, inside]).conj()).conj()
    small = np.fft.fftshift(cropped.real / len(volume) ** 3)
    return small.astype(np.float32), pixel_size_angst * set_box / box


def ball_of_rotations(count, largest_deg, generator):
    """Return `(count, 3, 3)` rotations, uniform among those of up to `largest_deg`."""
    if largest_deg >= 180:
        return random_rotations(count, generator)
    angles = np.linspace(0.0, math.radians(max(largest_deg, 1e-6)), 1001)
    share = angles - np.sin(angles)  # of SO(3) within an angle, but for a constant
    drawn = np.interp(generator.random(count) * share[-1], share, angles)
    return rotations_about_random_axes(count, np.degrees(drawn), generator)


class DrawnViews:
    """Draws sets: clean, or with CTF, shifts up to `max_shift_px` and noise of `snr` (a range)."""

    def __init__(self, volume, pixel_size_angst, device="cpu", *, snr=None, max_shift_px=0.0,
                 ctf=False):  # fmt: skip
        self.projector = TorchProjector(volume, pixel_size_angst, device)
        self.snr, self.max_shift_px = snr, max_shift_px
        self.optics = OpticsRanges(defocus_angst=DEFOCUS_ANGST) if ctf else None

    def draw(self, sets, views, generator, reference_within_deg=180.0):
        """Return images `(B, N, 1, n, n)`, rotations to the reference and shifts [px] of views."""
        device, box = self.projector.device, self.projector.box
        rotations = random_rotations(sets * views, generator).reshape(sets, views, 3, 3)
        rotations[:, 0] = ball_of_rotations(sets, reference_within_deg, generator)
        shifts = generator.uniform(-self.max_shift_px, self.max_shift_px, (sets * views, 2))
        ctf = None if self.optics is None else self.optics.draw(sets * views, generator)
        origins = -shifts * self.projector.pixel_size_angst
        images = self.projector.project(rotations.reshape(-1, 3, 3), origins, ctf)
        images = images.reshape(sets, views, 1, box, box)
        if self.snr is not None:
            snr = np.exp(generator.uniform(*np.log(self.snr), sets)).astype(np.float32)
            power = images.var(dim=(-2, -1), correction=0).mean(dim=(1, 2))
            sigma = (power / torch.from_numpy(snr).to(device)).sqrt()
            noise = torch.Generator(device).manual_seed(int(generator.integers(2**62)))
            white = torch.randn(images.shape, generator=noise, device=device)
            images = images + sigma[:, None, None, None, None] * white
        turns = torch.from_numpy(rotations).float().to(device)
        moved = torch.from_numpy(shifts).float().to(device).reshape(sets, views, 2)
        return images, relative_rotations(turns), moved
