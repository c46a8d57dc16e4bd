"""A stand-in for a perfect CryoFastAR: it knows its images and their poses by heart."""

import math
from types import SimpleNamespace

import torch

from cesped.data.particle_images import ParticleImages
from cesped.data.preprocessing import PreprocessingOptions
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses, relative_rotations
from cesped.models.cryofastar.views import normalized_views
from cesped.models.image2sphere.turns import turned_images
from cesped.vocabulary import CtfCorrection, MapConvention, Normalization, ViewNormalization

PATCH_PX = 8
_QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # of content: (x, y) to (-y, x)


class KnownNetwork(torch.nn.Module):
    """Recognises the images of a table, also turned by quarters, and returns exact planar maps."""

    convention, normalization = MapConvention.PAPER, ViewNormalization.IMAGE
    config = SimpleNamespace(patch_px=PATCH_PX, encoder_width=2)

    def __init__(self, table, image_size=None, confidence=None):
        super().__init__()
        recipe = PreprocessingOptions(
            image_size, Normalization.NONE, CtfCorrection.NONE, crop_fraction=0.0
        )
        images = ParticleImages(table, recipe)
        side = images.preprocessor.image_size
        pixel_size = float(images.preprocessor.pixel_size_after(table.sampling_rate))
        known = images.prepared(range(len(table)))[:, None]
        turned = [turned_images(known, k * math.pi / 2) for k in range(4)]
        self.known = normalized_views(torch.stack(turned, 1), self.normalization).flatten(-3)
        self.rotations = torch.from_numpy(table.poses.rotations).float()
        self.shifts = torch.from_numpy(-table.poses.origins_angst / pixel_size).float()
        self.quality = torch.full((len(table),), 3.0) if confidence is None else confidence
        self.side = side
        self.patches = torch.nn.Linear(1, 1)
        self.encoded = 0

    def grid_of(self, images):
        return images.shape[-2] // PATCH_PX, images.shape[-1] // PATCH_PX

    def encode(self, images):
        self.encoded += len(images)
        likeness = torch.einsum("bi,pki->bpk", images.flatten(1), self.known).flatten(1)
        best = likeness.argmax(dim=1)
        numbers = torch.stack([best // 4, best % 4], dim=-1).float()
        tokens = (self.side // PATCH_PX) ** 2
        return numbers[:, None].expand(-1, tokens, -1).contiguous()

    def decode(self, features, rows, columns, with_images=True):
        particle, quarters = features[..., 0, :].long().unbind(-1)
        turns = torch.stack([torch.linalg.matrix_power(_QUARTER, k) for k in range(4)])[quarters]
        back = torch.eye(3).repeat(*quarters.shape, 1, 1)
        back[..., :2, :2] = turns.transpose(-1, -2)
        rotations = relative_rotations(self.rotations[particle] @ back)
        shifts = (turns @ self.shifts[particle][..., None])[..., 0]
        points = maps_of_poses(rotations, shifts, PATCH_PX * rows, PATCH_PX * columns)
        confidence = self.quality[particle][..., None, None].expand(points.shape[:-1])
        return PlanarMaps(points, confidence, None)
