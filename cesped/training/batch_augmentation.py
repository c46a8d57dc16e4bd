"""Changing a batch of training images and their poses together, on the model's device.

An in-plane turn and shift, noise, and the view from the opposite side, which costs nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..data.augmentation import move_images
from ..geometry.inplane import InPlaneMove
from .recipe import AugmentationRecipe

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
        flip = torch.from_numpy(self.mirrored).to(images.device)[:, None, None, None]
        return move_images(torch.where(flip, mirror_in_x(images), images), self.inplane)


def mirror_in_x(images: torch.Tensor) -> torch.Tensor:
    """Return images `(..., n, n)` whose content at (x, y) is what was at (-x, y), about n // 2.

    The first column of an even image, -n / 2, has no partner and stays.
    """
    mirrored = images.flip(-1)
    return mirrored.roll(1, dims=-1) if images.shape[-1] % 2 == 0 else mirrored


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
