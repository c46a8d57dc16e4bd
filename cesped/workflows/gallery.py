"""A sheet of particles to look at: as they are, as a model gets them, and augmented."""

import os
from pathlib import Path

import numpy as np

from ..data.particle_images import ParticleImages
from ..data.preprocessing import PreprocessingOptions
from ..data.table import ParticleTable
from ..errors import OptionError
from ..progress import SILENT, Progress


def show_particles(
    table: ParticleTable,
    out: str | os.PathLike[str],
    options: PreprocessingOptions,
    *,
    count: int = 8,
    augmentation: str | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Path:
    """Write a PNG with `count` particles of `table`, evenly spread: raw above, preprocessed below.

    Parameters
    ----------
    table : the particles.
    out : picture to write.
    options : preprocessing of the lower row.
    count : number of particles.
    augmentation : name or path of an augmentation recipe, for a third row.
    seed : of what the recipe draws.

    Raises
    ------
    OptionError
        If `count` is not positive, the augmentation recipe is wrong, or `out` is no PNG.
    UnwritableError
        If nothing can be written there.
    """
    import torch

    from ..data.augmentation import Augmenter
    from ..report.canvas import check_png_path, write_png
    from ..report.figures import particle_figure

    if count < 1:
        raise OptionError(f"{count} particles cannot be shown; use 1 or more")
    check_png_path(out)
    rows = np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).astype(np.int64))
    images = ParticleImages(table, options)
    size = images.preprocessor.image_size
    with progress.task("Preprocessing", len(rows)) as advance:
        raw, prepared = images.raw(rows), images.prepared(rows).numpy()
        advance(len(rows))
    names = [str(table.ids[row]) for row in rows]
    angst = float(table.pixel_size_angst[rows[0]])
    after = float(images.preprocessor.pixel_size_after(angst))
    kinds = {
        f"raw, {table.image_size} px of {angst:.3g} Å": raw,
        f"prepared, {size} px of {after:.3g} Å": prepared,
    }
    if augmentation is not None:
        changed = Augmenter(augmentation).augment_normalised(
            images.normalised(rows),
            images.preprocessor,
            torch.eye(3).expand(len(rows), 3, 3),
            torch.zeros(len(rows), 2),
            torch.Generator().manual_seed(seed),
        )
        kinds[f"augmented, {Path(augmentation).stem}"] = changed.images.numpy()
    return write_png(particle_figure(kinds, names), out)
