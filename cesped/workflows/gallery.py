"""A sheet of particles to look at: as they are, and as a model gets them."""

import os
from pathlib import Path

import numpy as np

from ..data.images import ImageSource
from ..data.preprocessing import PreprocessingOptions, Preprocessor
from ..data.table import ParticleTable
from ..errors import OptionError
from ..progress import SILENT, Progress


def show_particles(
    table: ParticleTable,
    out: str | os.PathLike[str],
    options: PreprocessingOptions,
    *,
    count: int = 8,
    progress: Progress = SILENT,
) -> Path:
    """Write a PNG with `count` particles of `table`, evenly spread: raw above, preprocessed below.

    Parameters
    ----------
    table : the particles.
    out : picture to write.
    options : preprocessing of the lower row.
    count : number of particles.

    Raises
    ------
    OptionError
        If `count` is not positive.
    """
    import torch

    from ..report.canvas import write_png
    from ..report.figures import particle_figure

    if count < 1:
        raise OptionError(f"{count} particles cannot be shown; use 1 or more")
    rows = np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).astype(np.int64))
    raw = ImageSource(table).read(rows)
    preprocessor = Preprocessor(options, table.image_size)
    with progress.task("Preprocessing", len(rows)) as advance:
        prepared = preprocessor(
            torch.from_numpy(raw),
            None if table.ctf is None else table.ctf.select(rows),
            table.pixel_size_angst[rows],
            lambda i: table.describe_row(int(rows[i])),
        ).numpy()
        advance(len(rows))
    names = [str(table.ids[row]) for row in rows]
    angst = float(table.pixel_size_angst[rows[0]])
    after = float(preprocessor.pixel_size_after(angst))
    return write_png(
        particle_figure(
            {
                f"raw, {table.image_size} px of {angst:.3g} Å": raw,
                f"prepared, {preprocessor.image_size} px of {after:.3g} Å": prepared,
            },
            names,
        ),
        out,
    )
