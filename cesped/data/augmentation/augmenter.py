"""`Augmenter`: a recipe applied to batches of images and their poses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from cesped.data.augmentation.operation import uniform
from cesped.data.augmentation.recipe import AugmentationPlan, load_plan
from cesped.data.augmentation.schedules import ImageCounter
from cesped.data.warp import move_images, warp_images
from cesped.errors import GeometryError, OptionError
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.inplane import InPlaneMove

if TYPE_CHECKING:
    from cesped.data.preprocessing import Preprocessor

#: What was done to an image: names of operations, and for the move of them all its values.
Applied = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class AugmentedBatch:
    """Images that were changed, and what is known about them.

    Parameters
    ----------
    images : `(B, n, n)`
    rotations : `(B, 3, 3)`
    origins_px : `(B, 2)` x, y [px of these images]
    scale : `(B,)` by how much each was magnified: its pixel size [angstrom] is divided by this
    """

    images: Tensor
    rotations: Tensor
    origins_px: Tensor
    scale: NDArray[np.float64]


class Augmenter:
    """Changes images at random as a recipe says, and their poses with them.

    Parameters
    ----------
    recipe : name or path of a recipe, or what one holds; that of the paper when None. See
        `cesped.data.augmentation.recipe.load_plan`.
    generator : source of all that is drawn. When None, torch's own, which a DataLoader seeds anew
        in every worker and epoch. In a DataLoader's worker a generator given here is replaced by
        one seeded from it and from the worker's own seed, so that workers and epochs differ.
    oversampling : see `cesped.data.warp.warp_images`

    Raises
    ------
    OptionError
        If the recipe is wrong, or `oversampling` below 1.

    Notes
    -----
    The moves of an image are combined in the order of the recipe and done by one interpolation,
    together with crop and resize; operations on grey values follow, in their order.

    Examples
    --------
    >>> augmenter = Augmenter({"operations": {"inPlaneRotations90": {"p": 1.0}}})
    >>> images, rotations, origins_px = augmenter.augment(
    ...     torch.zeros(2, 1, 8, 8), torch.eye(3).expand(2, 3, 3)
    ... )
    >>> tuple(images.shape)
    (2, 1, 8, 8)
    """

    def __init__(
        self,
        recipe: str | os.PathLike[str] | Mapping[str, Any] | AugmentationPlan | None = None,
        generator: torch.Generator | None = None,
        *,
        oversampling: int = 1,
    ) -> None:
        if oversampling < 1:
            raise OptionError(f"oversampling is {oversampling}; use 1, or 2 for no loss")
        self.plan = load_plan(recipe)
        self.oversampling = oversampling
        self._generator = generator
        self._of_worker: tuple[int, torch.Generator] | None = None
        changing = any(one.probability.changes for one in self.plan.operations)
        # Shared memory, so only where something depends on it
        self._counter = ImageCounter() if changing else None

    @property
    def images_seen(self) -> int:
        """Images augmented so far, in this process and its workers; 0 without any schedule."""
        return 0 if self._counter is None else self._counter.total()

    @images_seen.setter
    def images_seen(self, count: int) -> None:
        if self._counter is not None:
            self._counter.restart(count)

    def augment(
        self,
        images: Tensor,
        rotations: Tensor,
        origins_px: Tensor | None = None,
        generator: torch.Generator | None = None,
        images_seen: int | None = None,
        noise_deviation: float = 1.0,
        grey_generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return changed images with their rotations and origins; those given stay as they are.

        Parameters
        ----------
        images : `(B, C, n, n)` float tensor on any device, preprocessed
        rotations : `(B, 3, 3)` poses of the images
        origins_px : `(B, 2)` x, y [px of these images]; centred when None
        generator : source of all that is drawn; that of the augmenter when None. One on the CPU
            draws the same for every device.
        images_seen : what schedules go by; the augmenter's own count when None
        noise_deviation : of the background of these images: `Preprocessor.noise_deviation`
        grey_generator : source of what is drawn to change grey values, noise for each pixel among
            it, which a device draws faster than it gets there; `generator` when None

        Returns
        -------
        images, rotations, origins_px : shapes, types and devices as given

        Raises
        ------
        GeometryError
            If shapes do not fit together.
        """
        if origins_px is None:
            origins_px = rotations.new_zeros((len(images), 2))
        _check(images, rotations, origins_px)
        source = generator or self._own_generator()
        move, rounds, seen = self._draw(len(images), images.shape[-1], source, images_seen)
        moved = move_images(images, move, oversampling=self.oversampling)
        self._change_greys(moved, noise_deviation, rounds, seen, source, grey_generator)
        turned = move.apply_to_rotations(_numbers(rotations))
        origins = move.apply_to_origins_px(_numbers(origins_px))
        return moved, _like(turned, rotations), _like(origins, origins_px)

    def augment_normalised(
        self,
        images: Tensor,
        preprocessor: Preprocessor,
        rotations: Tensor,
        origins_raw_px: Tensor,
        generator: torch.Generator | None = None,
    ) -> AugmentedBatch:
        """Crop, resize and move images by one interpolation, then change their grey values.

        Parameters
        ----------
        images : `(B, box, box)` float tensor, normalised at the full box
        preprocessor : says how images are cropped and resized
        rotations : `(B, 3, 3)` poses of the images
        origins_raw_px : `(B, 2)` x, y [px of the full box]
        generator : as `augment` takes it

        Returns
        -------
        AugmentedBatch
            Images of `preprocessor.image_size`; the pixel size of image i is what the
            preprocessor leaves, divided by `scale[i]`.

        Raises
        ------
        GeometryError
            If shapes do not fit together.
        """
        _check(images, rotations, origins_raw_px)
        source = generator or self._own_generator()
        size, magnification = preprocessor.image_size, preprocessor.magnification
        move, rounds, seen = self._draw(len(images), size, source)
        moved = warp_images(
            images,
            move,
            size=size,
            magnification=magnification,
            oversampling=self.oversampling,
        )
        deviation = preprocessor.noise_deviation
        self._change_greys(moved[:, None], deviation, rounds, seen, source)
        turned = move.apply_to_rotations(_numbers(rotations))
        origins = move.apply_to_origins_px(magnification * _numbers(origins_raw_px))
        return AugmentedBatch(
            moved, _like(turned, rotations), _like(origins, origins_raw_px), move.scale
        )

    def __call__(
        self, img: Tensor, eulerDeg: Tensor, shiftFraction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Applied]:
        """Change one image, as the published package calls an augmenter.

        Parameters
        ----------
        img : `(1, n, n)` tensor
        eulerDeg : `(3,)` rot, tilt, psi [degrees]
        shiftFraction : `(2,)` origin as a fraction of the image

        Returns
        -------
        img, eulerDeg, shiftFraction : new tensors of the same shapes and types
        applied : the move, if any, and the operations on grey values. What a zoom made of the pixel
            size is told here alone; a dataset, which asks for batches, states it in its samples
        """
        n = img.shape[-1]
        rotation = euler_to_rotation(_numbers(eulerDeg)[None])
        origin_px = n * _numbers(shiftFraction)[None]
        source = self._own_generator()
        move, rounds, seen = self._draw(1, n, source)
        moved = move_images(img[None], move, oversampling=self.oversampling)
        applied = self._change_greys(moved, 1.0, rounds, seen, source)
        euler = rotation_to_euler(move.apply_to_rotations(rotation))[0]
        fraction = move.apply_to_origins_px(origin_px)[0] / n
        done: Applied = [("move", _values(move)), *((name, {}) for name in applied)]
        return moved[0], _like(euler, eulerDeg), _like(fraction, shiftFraction), done

    def __getstate__(self) -> dict[str, Any]:
        # A generator lends workers memory that it gives back too early: its bytes go instead.
        own = self._generator
        state = None if own is None else (str(own.device), own.get_state().numpy().tobytes())
        return {**self.__dict__, "_generator": state, "_of_worker": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_generator"] is not None:
            device, content = state["_generator"]
            self._generator = torch.Generator(device)
            self._generator.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def _draw(
        self,
        count: int,
        size: int,
        generator: torch.Generator | None,
        images_seen: int | None = None,
    ) -> tuple[InPlaneMove, NDArray[np.int64], int]:
        """Return the moves of `count` images, how many rounds each goes, and the images before."""
        seen = self.images_seen if images_seen is None else images_seen
        if self._counter is not None and images_seen is None:
            self._counter.add(count)
        fewest, most = self.plan.min_rounds, self.plan.max_rounds
        rounds = np.full(count, most)
        if fewest < most:
            rounds = fewest + np.floor((most + 1 - fewest) * uniform((count,), generator))
            rounds = rounds.astype(np.int64)
        move = InPlaneMove.identity(count)
        for number in range(most):
            for _, operation, probability in self.plan.geometric:
                p = probability.after(seen)
                chosen = (uniform((count,), generator) < p) & (rounds > number)
                if chosen.any():
                    move = move.compose(operation.draw(count, size, generator).where(chosen))
        return move, rounds, seen

    def _change_greys(
        self,
        images: Tensor,
        noise_deviation: float,
        rounds: NDArray[np.int64],
        seen: int,
        generator: torch.Generator | None,
        grey_generator: torch.Generator | None = None,
    ) -> list[str]:
        """Change the grey values of `images` `(B, C, n, n)` in place; return what was done."""
        applied, source = [], grey_generator or generator
        for number in range(self.plan.max_rounds):
            for name, operation, probability in self.plan.grey:
                p = probability.after(seen)
                chosen = (uniform((len(images),), generator) < p) & (rounds > number)
                if not chosen.any():
                    continue
                where = torch.from_numpy(np.flatnonzero(chosen)).to(images.device)
                images[where] = operation.apply(images[where], noise_deviation, source)
                applied.append(name)
        return applied

    def _own_generator(self) -> torch.Generator | None:
        worker = get_worker_info()
        if self._generator is None or worker is None:
            return self._generator
        if self._of_worker is None or self._of_worker[0] != worker.seed:
            seeds = np.random.SeedSequence([self._generator.initial_seed(), worker.seed])
            seed = int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1))
            self._of_worker = worker.seed, torch.Generator().manual_seed(seed)
        return self._of_worker[1]


def _check(images: Tensor, rotations: Tensor, origins_px: Tensor) -> None:
    count = len(images)
    if rotations.shape != (count, 3, 3) or origins_px.shape != (count, 2):
        raise GeometryError(
            f"{count} images need rotations ({count}, 3, 3) and origins ({count}, 2); found "
            f"{tuple(rotations.shape)} and {tuple(origins_px.shape)}"
        )


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()


def _like(values: NDArray[np.float64], model: Tensor) -> Tensor:
    return torch.as_tensor(values).to(model)


def _values(move: InPlaneMove) -> dict[str, Any]:
    """Return the one move as plain numbers."""
    return {
        "angle_deg": float(move.angle_deg[0]),
        "shift_px": move.shift_px[0].tolist(),
        "scale": float(move.scale[0]),
        "mirrored": bool(move.mirrored[0]),
    }
