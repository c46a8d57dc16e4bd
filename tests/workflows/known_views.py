"""A CryoFastAR that knows all particles of an entry by heart: its planar maps are exact.

What is left of a campaign to go wrong is the package's: which particles are anchors, how the frame
follows from them, hand, units and signs.
"""

import numpy as np
import torch

from cesped.data.conventions import read_particle_table
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses, relative_rotations
from cesped.models.cryofastar.pose_model import CryoFastARPoses
from cesped.training.prepared import PreparedParticles, preprocessing_from_recipe

MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))


class KnownViews(CryoFastARPoses):
    """Recognises images of `known`; in a frame of its own for each reference, of either hand."""

    known, rotations, shifts = None, None, None
    mirrored = False

    def __init__(self, symmetry, **options):
        super().__init__(symmetry, **options)
        self.network.decode = self.decode_exactly

    @classmethod
    def learn_by_heart(cls, entry, recipe):
        """Look at images and poses of both halves, as no honest model may."""
        data = recipe.data
        options = preprocessing_from_recipe(
            data.image_size, data.image_size_factor_for_crop, data.ctf_correction,
            data.apply_perImg_normalization,
        )  # fmt: skip
        images, rotations, shifts = [], [], []
        for half in (0, 1):
            table = read_particle_table(entry.star(half), entry.folder)
            particles = PreparedParticles(table, options)
            images.append(particles.read(np.arange(len(table))))
            rotations.append(torch.tensor(table.poses.rotations))
            shifts.append(torch.tensor(-table.poses.origins_angst / particles.pixel_size_angst))
        flat = torch.cat(images).flatten(1)
        cls.known = flat / flat.norm(dim=1, keepdim=True)
        cls.rotations, cls.shifts = torch.cat(rotations).float(), torch.cat(shifts).float()

    def set_loss(self, views):
        return 0.0 * sum(parameter.sum() for parameter in self.parameters())

    def encode(self, images):
        likeness = images.flatten(1) @ self.known.T
        return likeness.argmax(dim=1).float()[:, None, None]

    def decode_exactly(self, features, rows, columns, with_images=True):
        particle = features[..., 0, 0].long()
        rotations = relative_rotations(self.rotations[particle])
        if self.mirrored:
            rotations = MIRROR @ rotations @ MIRROR
        patch = self.network.config.patch_px
        points = maps_of_poses(rotations, self.shifts[particle], patch * rows, patch * columns)
        return PlanarMaps(points, torch.full(points.shape[:-1], 4.0), None)
