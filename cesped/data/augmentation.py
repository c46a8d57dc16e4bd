"""Moving particle images in their plane, and their poses with them.

Image and pose are moved by one `InPlaneMove`, so they cannot part. Turning an image by a
multiple of 90 degrees about its centre pixel, and shifting it by whole pixels, is exact for odd
sizes and loses only the edge of the band for even ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cesped.data.preprocessing import resize_band_limited
from cesped.errors import OptionError
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.inplane import InPlaneMove

_FINER = 2


def move_images(images: Tensor, move: InPlaneMove, *, padding: str = "reflection") -> Tensor:
    """Return images whose content has been turned and shifted by `move`.

    Parameters
    ----------
    images : `(B, C, n, n)` float tensor
    move : `B` moves; shifts in pixels of these images
    padding : what enters from outside: "reflection" keeps the statistics of the noise, "zeros"
        does not

    Returns
    -------
    `(B, C, n, n)` tensor

    Notes
    -----
    Bicubic interpolation between pixels twice as fine, which a padded Fourier transform gives.
    Between the pixels themselves torch's bicubic kernel is off by up to 0.03 px and takes 15 % of
    the deviation of white noise; so it is off by less than 0.005 px and takes none.
    """
    n = images.shape[-1]
    fine = resize_band_limited(images, _FINER * n)
    n_fine = fine.shape[-1]
    # grid_sample asks where each pixel of the result comes from: p = A^-1 (p' - t)
    inverse = torch.as_tensor(move.matrices(), dtype=images.dtype).transpose(1, 2)
    shift = torch.as_tensor(move.shift_px, dtype=images.dtype)
    inverse, shift = inverse.to(images.device), shift.to(images.device)
    axis = torch.arange(n, dtype=images.dtype, device=images.device) - n // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    moved = torch.stack([x, y], dim=-1).reshape(1, n * n, 2) - shift[:, None, :]
    pixels = _FINER * (moved @ inverse.transpose(1, 2)) + n_fine // 2
    grid = (2 * pixels / (n_fine - 1) - 1).reshape(len(move), n, n, 2)
    return grid_sample(fine, grid, mode="bicubic", padding_mode=padding, align_corners=True)


@dataclass(frozen=True)
class InPlaneAugmenter:
    """Draws random in-plane turns and shifts and applies them to images and poses.

    Parameters
    ----------
    max_angle_deg : turns are uniform within plus or minus this [degrees]; 180 for all angles
    max_shift_px : shifts are uniform within plus or minus this, along each axis [px]
    quarter_turns : add a random multiple of 90 degrees, which interpolates nothing
    generator : used when the augmenter is called as a dataset's; torch's own when None, which
        a DataLoader seeds anew in every worker and epoch

    Raises
    ------
    OptionError
        If an angle or a shift is negative.
    """

    max_angle_deg: float = 180.0
    max_shift_px: float = 0.0
    quarter_turns: bool = False
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if self.max_angle_deg < 0 or self.max_shift_px < 0:
            raise OptionError(
                f"largest turn {self.max_angle_deg} and shift {self.max_shift_px} of the "
                "augmentation must not be negative"
            )

    def draw(self, count: int, generator: torch.Generator | None = None) -> InPlaneMove:
        """Return `count` random moves."""
        uniform = torch.rand((count, 4), generator=generator, dtype=torch.float64).numpy()
        angle_deg = self.max_angle_deg * (2 * uniform[:, 0] - 1)
        if self.quarter_turns:
            angle_deg = angle_deg + 90 * np.floor(4 * uniform[:, 1])
        return InPlaneMove(angle_deg, self.max_shift_px * (2 * uniform[:, 2:] - 1))

    def augment(
        self,
        images: Tensor,
        rotations: Tensor,
        origins_px: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return moved images with their rotations and origins.

        Parameters
        ----------
        images : `(B, C, n, n)` float tensor
        rotations : `(B, 3, 3)` poses of the images
        origins_px : `(B, 2)` x, y [px of these images]; centred when None
        generator : source of the moves; torch's own when None

        Returns
        -------
        images, rotations, origins_px : shapes and types as given
        """
        if origins_px is None:
            origins_px = torch.zeros((len(images), 2), dtype=rotations.dtype)
        move = self.draw(len(images), generator)
        turned = move.apply_to_rotations(rotations.detach().cpu().numpy())
        origins = move.apply_to_origins_px(origins_px.detach().cpu().numpy())
        return (
            move_images(images, move),
            torch.as_tensor(turned).to(rotations),
            torch.as_tensor(origins).to(origins_px),
        )

    def __call__(
        self, img: Tensor, eulerDeg: Tensor, shiftFraction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Move one image, as `ParticlesDataset.augmenter` is called.

        Parameters
        ----------
        img : `(1, n, n)` tensor
        eulerDeg : `(3,)` rot, tilt, psi [degrees]
        shiftFraction : `(2,)` origin as a fraction of the image

        Returns
        -------
        img, eulerDeg, shiftFraction : as given, moved
        applied : what was done, one line each
        """
        n = img.shape[-1]
        move = self.draw(1, self.generator)
        rotation = euler_to_rotation(eulerDeg[None].double().numpy())
        origin_px = n * shiftFraction[None].double().numpy()
        euler = torch.as_tensor(rotation_to_euler(move.apply_to_rotations(rotation))[0])
        origin = torch.as_tensor(move.apply_to_origins_px(origin_px)[0] / n)
        done = [
            f"turned by {move.angle_deg[0]:.2f} degrees",
            f"shifted by {move.shift_px[0, 0]:.2f}, {move.shift_px[0, 1]:.2f} px",
        ]
        moved = move_images(img[None], move)[0]
        return moved, euler.to(eulerDeg), origin.to(shiftFraction), done
