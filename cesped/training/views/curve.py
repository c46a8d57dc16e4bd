"""The course of a training on views as a picture."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from ..history import blank_figure, write_figure
from .run_folder import ViewRow


def draw_curve(path: Path, rows: Sequence[ViewRow]) -> None:
    """Draw loss, rotation error and shift error against the step as a PNG.

    The rotation error of the best constant rotation is beside that of the network: one that has
    learned nothing lies on it. Stages are told apart by vertical lines.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = blank_figure(12, 3.5)
    loss, rotation, shift = figure.subplots(1, 3)
    steps = [row.step for row in rows]
    loss.plot(steps, [row.train_loss for row in rows], "o-", ms=3)
    loss.set(xlabel="step", ylabel="loss while learning")
    rotation.plot(steps, [row.rotation_error for row in rows], "o-", ms=3, label="network")
    rotation.plot(steps, [row.constant_error for row in rows], "--", label="best constant")
    rotation.set(xlabel="step", ylabel="rotation error, held out (Frobenius)")
    rotation.legend(frameon=False)
    shift.plot(steps, [row.shift_error_px for row in rows], "o-", ms=3)
    shift.set(xlabel="step", ylabel="shift error, held out [px]")
    ends = [row.step for row, after in itertools.pairwise(rows) if after.stage != row.stage]
    for axes in (loss, rotation, shift):
        axes.grid(alpha=0.3)
        for end in ends:
            axes.axvline(end, color="grey", lw=0.8)
    for axes in (rotation, shift):
        axes.set_ylim(bottom=0)
    write_figure(path, figure)
