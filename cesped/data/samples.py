"""Batches of images with their poses, and their augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cesped.data.particle_images import SampleImages
from cesped.data.preprocessing import Preprocessor
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses

if TYPE_CHECKING:
    from cesped.data.augmentation import AugmentedBatch

#: The published way to augment: image, Euler angles and shift go in one by one.
SampleAugmenter = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Any]]


@runtime_checkable
class BatchAugmenter(Protocol):
    """What augments a batch at once; see `cesped.data.augmentation.Augmenter`."""

    def augment_normalised(
        self,
        images: Tensor,
        preprocessor: Preprocessor,
        rotations: Tensor,
        origins_raw_px: Tensor,
        generator: torch.Generator | None = None,
    ) -> AugmentedBatch:
        """Crop, resize and change images of the full box."""


Augmenter = BatchAugmenter | SampleAugmenter


class ParticleBatch(NamedTuple):
    """Samples as tensors of one length.

    images : `(B, 1, n, n)` float32
    rotations : `(B, 3, 3)` float32
    origins_angst : `(B, 2)` float32, x and y [angstrom]
    confidence : `(B, 1)` float32
    pixel_size_angst : `(B,)` float64, of `images` [angstrom/px]
    """

    images: Tensor
    rotations: Tensor
    origins_angst: Tensor
    confidence: Tensor
    pixel_size_angst: Tensor


def load_batch(
    images: SampleImages,
    rows: NDArray[np.int64],
    poses: Poses,
    augmenter: Augmenter | None = None,
) -> ParticleBatch:
    """Return the samples of some rows of a table.

    Parameters
    ----------
    images : of the table
    rows : `(B,)` counted from 0
    poses : of all particles of the table
    augmenter : changes images and poses, if given

    Raises
    ------
    ImageValueError, MissingImageError
        If an image is faulty; names it.
    """
    raw_px_angst = images.table.pixel_size_angst[rows]
    pixel_size = images.preprocessor.pixel_size_after(raw_px_angst)
    rotations, origins_angst = poses.rotations[rows], poses.origins_angst[rows]
    if augmenter is None:
        prepared = images.prepared(rows)
    elif isinstance(augmenter, BatchAugmenter):
        changed = augmenter.augment_normalised(
            images.normalised(rows),
            images.preprocessor,
            torch.from_numpy(rotations),
            torch.from_numpy(origins_angst / raw_px_angst[:, None]),
        )
        prepared, rotations = changed.images, changed.rotations.numpy()
        pixel_size = pixel_size / changed.scale
        origins_angst = changed.origins_px.numpy() * pixel_size[:, None]
    else:
        prepared, rotations, origins_angst = _augment_each(
            augmenter, images.prepared(rows), rotations, origins_angst, pixel_size
        )
    return ParticleBatch(
        prepared[:, None],
        torch.from_numpy(rotations.astype(np.float32)),
        torch.from_numpy(origins_angst.astype(np.float32)),
        torch.from_numpy(poses.confidence[rows, None].astype(np.float32)),
        torch.from_numpy(pixel_size),
    )


def _augment_each(
    augmenter: SampleAugmenter,
    images: Tensor,
    rotations: NDArray[np.float64],
    origins_angst: NDArray[np.float64],
    pixel_size_angst: NDArray[np.float64],
) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Call `augmenter` once for every image, with Euler angles and the shift as a fraction."""
    widths_angst = images.shape[-1] * pixel_size_angst[:, None]
    euler_deg = torch.from_numpy(rotation_to_euler(rotations))
    fractions = torch.from_numpy(origins_angst / widths_angst)
    changed = [
        augmenter(image[None], euler.clone(), fraction.clone())[:3]
        for image, euler, fraction in zip(images, euler_deg, fractions, strict=True)
    ]
    new_images = torch.stack([one[0][0] for one in changed])
    new_euler_deg = np.array([np.asarray(one[1], dtype=np.float64) for one in changed])
    new_fractions = np.array([np.asarray(one[2], dtype=np.float64) for one in changed])
    return new_images, euler_to_rotation(new_euler_deg), new_fractions * widths_angst
