"""Changing a batch of training images and their poses together, on the model's device."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.augmentation.augmenter import Augmenter
from ..data.warp import move_images
from ..geometry.inplane import InPlaneMove
from .sections import AugmentationRecipe

# Training images are small or the network slow: there is time to interpolate without loss.
_OVERSAMPLING = 2


class BatchAugmentation:
    """What a training recipe says about augmentation, ready to be applied.

    Parameters
    ----------
    recipe : ranges of its own, or the name or path of an augmentation recipe
    noise_deviation : of the background of the training images, which the latter's strengths are
        in units of

    Raises
    ------
    OptionError
        If the augmentation recipe does not exist or is wrong.
    """

    def __init__(self, recipe: AugmentationRecipe, noise_deviation: float = 1.0) -> None:
        self.recipe = recipe
        self._noise_deviation = noise_deviation
        self._augmenter: Augmenter | None = None
        if recipe.recipe is not None:
            self._augmenter = Augmenter(recipe.recipe, oversampling=_OVERSAMPLING)

    @property
    def _moves(self) -> bool:
        recipe = self.recipe
        return bool(recipe.max_turn_deg or recipe.max_shift_px or recipe.opposite_views)

    def __call__(
        self,
        images: torch.Tensor,
        rotations: torch.Tensor,
        origins_px: torch.Tensor,
        generator: torch.Generator,
        images_seen: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return changed images `(B, 1, n, n)`, their rotations `(B, 3, 3)` and origins `(B, 2)`.

        Parameters
        ----------
        images, rotations, origins_px : on any device; origins in pixels of these images
        generator : on the CPU, so that every device draws the same moves. Noise of images on a GPU
            is drawn there, from a seed out of this: on the CPU it would take as long as the step
        images_seen : in the training so far; schedules go by it
        """
        if self._augmenter is not None:
            return self._augmenter.augment(
                images,
                rotations,
                origins_px,
                generator=generator,
                images_seen=images_seen,
                noise_deviation=self._noise_deviation,
                grey_generator=_beside(images, generator),
            )
        move = draw_moves(len(images), self.recipe, generator)
        moved = images
        if self._moves:  # images that are drawn anew in each step need not be turned as well
            moved = move_images(images, move, oversampling=_OVERSAMPLING)
        if self.recipe.noise_std > 0:
            strength = torch.rand(len(images), 1, 1, 1, generator=generator)
            source = _beside(images, generator)
            noise = torch.randn(images.shape, generator=source, device=source.device)
            moved = moved + self.recipe.noise_std * (noise * strength.to(noise)).to(moved)
        turned = move.apply_to_rotations(_numbers(rotations))
        origins = move.apply_to_origins_px(_numbers(origins_px))
        return (
            moved,
            torch.from_numpy(turned).to(rotations),
            torch.from_numpy(origins).to(origins_px),
        )


def _beside(images: torch.Tensor, generator: torch.Generator) -> torch.Generator:
    """Return a generator on the GPU of the images, seeded by another; that one, without a GPU."""
    if not images.is_cuda:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(images.device).manual_seed(seed)


def _numbers(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()


def draw_moves(count: int, recipe: AugmentationRecipe, generator: torch.Generator) -> InPlaneMove:
    """Return `count` random moves within the limits of `recipe`."""
    uniform = torch.rand(count, 4, generator=generator, dtype=torch.float64).numpy()
    return InPlaneMove(
        recipe.max_turn_deg * (2 * uniform[:, 1] - 1),
        recipe.max_shift_px * (2 * uniform[:, 2:] - 1),
        np.ones(count),
        (uniform[:, 0] < 0.5) & recipe.opposite_views,
    )
