"""The course of a run: one row per round, as CSV, as a picture and for TensorBoard."""

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from ..io.files import atomic_path, write_text_atomic
from .event_file import EventFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_NAME = "log.csv"
CURVE_NAME = "learning_curve.png"
#: The picture is renewed during a run, but not more often [s].
_BETWEEN_PICTURES_S = 60.0


@dataclass(frozen=True)
class HistoryRow:
    """What was seen at the end of a round.

    Losses are means over the round's batches and over the validation particles; errors are
    those of the validation particles [degrees]; `seconds` counts this round's training.
    """

    step: int
    epoch: float
    learning_rate: float
    train_loss: float
    val_loss: float
    val_mean_error_deg: float
    val_median_error_deg: float
    seconds: float


class RunLog:
    """Writes the course of a run into its folder after every round.

    Parameters
    ----------
    folder : of the run; gets `log.csv`, `learning_curve.png` and a file of events
    title : of the picture
    """

    def __init__(self, folder: Path, title: str) -> None:
        self._folder = folder
        self._title = title
        self._events: EventFile | None = None
        self._drawn_s = time.monotonic()

    def write(self, rows: Sequence[HistoryRow], losses: NDArray[np.float64]) -> None:
        """Add the last of `rows`, and the training losses `(S,)` of the steps up to it."""
        write_csv(self._folder / LOG_NAME, rows)
        if self._events is None:  # not before there is something to say
            self._events = EventFile(self._folder)
        last = asdict(rows[-1])
        step = last.pop("step")
        for number, loss in enumerate(losses, start=step - len(losses) + 1):
            self._events.add(number, {"train_loss_of_step": float(loss)})
        self._events.add(step, last)
        self._events.flush()
        if time.monotonic() - self._drawn_s > _BETWEEN_PICTURES_S:
            self.draw(rows)

    def draw(self, rows: Sequence[HistoryRow]) -> None:
        """Draw the learning curve.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        draw_learning_curve(self._folder / CURVE_NAME, rows, self._title)
        self._drawn_s = time.monotonic()


def write_csv(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Write the rows, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(HistoryRow)])
    for row in rows:
        values = astuple(row)
        writer.writerow([values[0], *(f"{value:.6g}" for value in values[1:])])
    write_text_atomic(path, text.getvalue())


def read_csv(path: Path) -> list[HistoryRow]:
    """Return the rows that `write_csv` wrote."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [HistoryRow(int(row[0]), *map(float, row[1:])) for row in rows]


def draw_learning_curve(path: Path, rows: Sequence[HistoryRow], title: str) -> None:
    """Draw losses and angular errors against the step as a PNG.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = blank_figure(9, 3.5)
    left, right = figure.subplots(1, 2)
    steps = [row.step for row in rows]
    left.plot(steps, [row.train_loss for row in rows], "o-", ms=3, label="training")
    left.plot(steps, [row.val_loss for row in rows], "o-", ms=3, label="validation")
    left.set(xlabel="step", ylabel="loss")
    right.plot(steps, [row.val_mean_error_deg for row in rows], "o-", ms=3, label="mean")
    right.plot(steps, [row.val_median_error_deg for row in rows], "o-", ms=3, label="median")
    right.set(xlabel="step", ylabel="validation angular error [degrees]")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if any(math.isfinite(row.train_loss) for row in rows):
            axes.legend(frameon=False)
    figure.suptitle(title)
    write_figure(path, figure)


def blank_figure(width_in: float, height_in: float) -> "Figure":
    """Return a figure of this size [inches] to draw a curve in.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "learning curves need matplotlib; run: pip install 'cesped[train]'"
        ) from error
    return Figure(figsize=(width_in, height_in), layout="constrained")


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a figure of `blank_figure` as a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
