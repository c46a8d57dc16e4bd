"""The raw image of a particle beside the one whose CTF was corrected, as two channels.

What a correction loses, the raw image has, and what the two differ in is the CTF itself, which the
network is told of in no other way.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.preprocessing import PreprocessingOptions
from ..data.table import ParticleTable
from ..errors import MetadataError, OptionError
from ..models.registry import model_class
from ..progress import SILENT, Progress
from ..vocabulary import CtfCorrection
from .prepared import PreparedParticles, preprocessing_to_dict
from .sections import ModelRecipe

#: Key of a checkpoint's preprocessing, there if it is so.
_KEY = "raw_channel"


def channel_options(
    options: PreprocessingOptions, raw_channel: bool
) -> tuple[PreprocessingOptions, ...]:
    """Return how each channel is prepared: the corrected image, then the raw one if wanted.

    Raises
    ------
    OptionError
        If both would be the same.
    """
    if not raw_channel:
        return (options,)
    if options.ctf_correction is CtfCorrection.NONE:
        raise OptionError(
            "data.raw_channel puts the raw image beside the corrected one, but data.ctf_correction "
            "is none; correct the CTF, or leave the channel out"
        )
    return (options, replace(options, ctf_correction=CtfCorrection.NONE))


class ParticlesWithRaw(PreparedParticles):
    """Prepared particles whose images `(B, 2, n, n)` are the corrected and the raw one.

    Parameters
    ----------
    table, options, max_memory_gib, cache_dir : see `PreparedParticles`; the corrected image is
        prepared by `options`

    Raises
    ------
    OptionError
        If `options` correct nothing.
    MetadataError
        If the particles come with their CTF corrected, so that there is no raw image.
    """

    def __init__(
        self,
        table: ParticleTable,
        options: PreprocessingOptions,
        max_memory_gib: float = 4.0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        corrected, raw = channel_options(options, True)
        if table.ctf_correction_done is not CtfCorrection.NONE:
            raise MetadataError(
                f"{table.source}: the images come with their CTF corrected "
                f"({table.ctf_correction_done}); there are no raw ones for data.raw_channel"
            )
        super().__init__(table, corrected, max_memory_gib / 2, cache_dir)
        self._raw = PreparedParticles(table, raw, max_memory_gib / 2, cache_dir)

    def load(
        self,
        progress: Progress = SILENT,
        what: str = "Preparing images",
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Prepare images now; see `PreparedParticles.load`."""
        super().load(progress, what, rows)
        self._raw.load(progress, f"{what}, raw", rows)

    def read(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, 2, n, n)` of rows; raises as `PreparedParticles.read`."""
        return torch.cat([super().read(rows), self._raw.read(rows)], dim=1)


def particles_of(
    table: ParticleTable,
    options: PreprocessingOptions,
    raw_channel: bool,
    max_memory_gib: float = 4.0,
    cache_dir: str | os.PathLike[str] | None = None,
) -> PreparedParticles:
    """Return the prepared particles of a table, `(B, 1, n, n)` or `(B, 2, n, n)` images.

    Raises
    ------
    The errors of `PreparedParticles` and `ParticlesWithRaw`.
    """
    kind = ParticlesWithRaw if raw_channel else PreparedParticles
    return kind(table, options, max_memory_gib, cache_dir)


def channels_to_dict(options: PreprocessingOptions, raw_channel: bool) -> dict[str, Any]:
    """Return how images are prepared as plain values, for a checkpoint."""
    return {**preprocessing_to_dict(options), **({_KEY: True} if raw_channel else {})}


def has_raw_channel(preprocessing: Mapping[str, Any]) -> bool:
    """Return whether a model was trained on both images, from its checkpoint's preprocessing."""
    return bool(preprocessing.get(_KEY, False))


def model_options(recipe: ModelRecipe, raw_channel: bool) -> dict[str, Any]:
    """Return the model's options, told how many images a particle has.

    Raises
    ------
    OptionError
        If the model takes one image, or was told of another number.
    """
    options, wanted = dict(recipe.options), 2 if raw_channel else 1
    chosen = model_class(recipe.name)
    if raw_channel and "image_channels" not in (chosen.__init__.__kwdefaults__ or {}):
        raise OptionError(
            f"the model {recipe.name} takes one image of a particle (it has no option "
            "image_channels); leave data.raw_channel out"
        )
    preset = chosen.presets.get(recipe.preset, {}) if recipe.preset else {}
    asked = {**preset, **options}.get("image_channels", wanted)
    if asked != wanted:
        raise OptionError(
            f"model.image_channels is {asked}, but a particle has {wanted}; leave it out, or "
            f"{'leave out' if raw_channel else 'set'} data.raw_channel"
        )
    return {**options, "image_channels": wanted} if raw_channel else options
