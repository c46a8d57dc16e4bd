"""Changing a batch of training images and their poses together, on the model's device.

Images are oversampled twice in Fourier space and interpolated once: turning white noise of a
32-pixel image with a bilinear kernel at its own pixels would halve its highest frequencies, and a
model would learn that turned images are smooth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from ..data.preprocessing import resize_band_limited
from ..geometry.inplane import InPlaneMove
from .recipe import AugmentationRecipe

_OVERSAMPLING = 2

#: The half turn about the image's y that makes a mirrored image a projection again.
_ABOUT_Y = np.diag([-1.0, 1.0, -1.0])


@dataclass(frozen=True)
class BatchMove:
    """What is done to each image of a batch: perhaps a mirror image in x, then an in-plane move.

    Parameters
    ----------
    mirrored : `(B,)` bool
    inplane : `B` moves, applied after the mirror
    """

    mirrored: np.ndarray
    inplane: InPlaneMove

    def apply_to_rotations(self, rotations: np.ndarray) -> np.ndarray:
        """Return the poses `(B, 3, 3)` of the changed images.

        Notes
        -----
        A projection sums over z, so the content at (-x, y) of the view R is that at (x, y) of
        the view R Ry(180), from the opposite side: a mirrored image is a projection of the same
        particle, of the same hand, with that pose.
        """
        turned = np.where(self.mirrored[:, None, None], rotations @ _ABOUT_Y, rotations)
        return self.inplane.apply_to_rotations(turned)

    def apply_to_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the changed images `(B, 1, n, n)`; what enters from outside is a reflection."""
        n = images.shape[-1]
        fine = resize_band_limited(images, _OVERSAMPLING * n)
        place = self._where_pixels_come_from(images)  # (B, n, n, 2) about the centre
        m = fine.shape[-1]
        place = (place * _OVERSAMPLING + m // 2) * (2.0 / (m - 1)) - 1.0
        return grid_sample(
            fine, place, mode="bilinear", padding_mode="reflection", align_corners=True
        )

    def _where_pixels_come_from(self, images: torch.Tensor) -> torch.Tensor:
        """Return, for each pixel p' of the result, p = M A^-1 (p' - t) with M the mirror."""
        n = images.shape[-1]
        inverse = np.swapaxes(self.inplane.matrices(), 1, 2)
        sign = np.where(self.mirrored, -1.0, 1.0)
        inverse = inverse * np.stack([sign, np.ones_like(sign)], axis=1)[:, :, None]
        axis = np.arange(n) - n // 2
        pixels = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(1, n * n, 2)
        from_where = (pixels - self.inplane.shift_px[:, None]) @ np.swapaxes(inverse, 1, 2)
        return torch.from_numpy(from_where.reshape(-1, n, n, 2)).to(images)


def draw_moves(count: int, recipe: AugmentationRecipe, generator: torch.Generator) -> BatchMove:
    """Return `count` random moves within the limits of `recipe`."""
    uniform = torch.rand(count, 4, generator=generator, dtype=torch.float64).numpy()
    return BatchMove(
        mirrored=(uniform[:, 0] < 0.5) & recipe.opposite_views,
        inplane=InPlaneMove(
            recipe.max_turn_deg * (2 * uniform[:, 1] - 1),
            recipe.max_shift_px * (2 * uniform[:, 2:] - 1),
        ),
    )


def augment(
    images: torch.Tensor,
    rotations: torch.Tensor,
    recipe: AugmentationRecipe,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return changed images `(B, 1, n, n)` and their rotations `(B, 3, 3)`.

    Parameters
    ----------
    images, rotations : on any device
    recipe : which changes, and how large
    generator : on the CPU, so that every device draws the same
    """
    moves = draw_moves(len(images), recipe, generator)
    moved = moves.apply_to_images(images)
    if recipe.noise_std > 0:
        deviation = recipe.noise_std * torch.rand(len(images), 1, 1, 1, generator=generator)
        noise = torch.randn(images.shape, generator=generator) * deviation
        moved = moved + noise.to(moved)
    turned = moves.apply_to_rotations(rotations.detach().cpu().double().numpy())
    return moved, torch.from_numpy(turned).to(rotations)
