"""The folder of a training on sets of views: whose it is, its state, its log, its result."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError
from ...io.files import write_text_atomic
from ..checkpoint import read_torch_file, write_torch_file

WEIGHTS_NAME = "weights.safetensors"
STATE_NAME = "last.ckpt"
IDENTITY_NAME = "run.json"
LOG_NAME = "log.csv"
PROVENANCE_NAME = "provenance.json"
CURVE_NAME = "learning_curve.png"
_MARK, _FORMAT = "cesped training on views", 1


@dataclass(frozen=True)
class ViewRow:
    """What was seen at the end of a round of steps.

    Errors are means over held-out sets of the stage: of the rotation to the reference as the
    Frobenius norm of R - R_true, with that of the one rotation that is best for all beside it;
    of the shift as a length. `train_loss` and `confidence` are means over the round and over the
    held-out sets; `seconds` counts this round.
    """

    step: int
    stage: int
    learning_rate: float
    train_loss: float
    rotation_error: float
    constant_error: float
    shift_error_px: float
    confidence: float
    seconds: float


@dataclass(frozen=True)
class ViewState:
    """An unfinished training: steps done over all stages, weights, optimizer, log.

    `streams` says where a stage's source is, if it is one that goes through files: `stage`, and
    `lanes` with what each needs to go on. `pixel_sizes_angst` are the least and the largest that
    were shown.
    """

    step: int
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    rows: tuple[ViewRow, ...]
    streams: dict[str, Any] = field(default_factory=dict)
    pixel_sizes_angst: tuple[float, float] | None = None


class ViewRunFolder:
    """Reads and writes the files of one training.

    Parameters
    ----------
    path : of the folder
    identity : all that determines the result, as JSON values
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))
        self.weights = self.path / WEIGHTS_NAME
        self._state = self.path / STATE_NAME

    @property
    def is_done(self) -> bool:
        """Whether the training has come to its end."""
        return self.weights.is_file() and not self._state.is_file()

    def claim(self, resume: bool = True, is_main: bool = True) -> None:
        """Refuse a folder that holds the work of another training, or empty it.

        Parameters
        ----------
        resume : go on with what is there
        is_main : whether this process writes; others only look

        Raises
        ------
        CheckpointError
            If another training is there and is to be gone on with.
        """
        identity = self.path / IDENTITY_NAME
        if not resume:
            for name in (STATE_NAME, WEIGHTS_NAME, PROVENANCE_NAME, LOG_NAME, CURVE_NAME):
                if is_main:
                    (self.path / name).unlink(missing_ok=True)
        elif self._state.is_file() or self.weights.is_file():
            different = _differences(_read_json(identity), self.identity)
            if different:
                raise CheckpointError(
                    f"{self.path} holds another training: it differs in {', '.join(different)} "
                    f"(see {identity}); use another folder, or start anew without resuming"
                )
            return
        if is_main:
            write_text_atomic(identity, json.dumps(self.identity, indent=2) + "\n")

    def read_state(self) -> ViewState | None:
        """Return the state of an unfinished training, if there is one.

        Raises
        ------
        CheckpointError
            If it is damaged or something else.
        """
        if not self._state.is_file():
            return None
        content = read_torch_file(self._state)
        is_ours = isinstance(content, dict) and content.get("what") == _MARK
        if not is_ours or content.get("format") != _FORMAT:
            raise CheckpointError(
                f"{self._state} is no state of a training on views of this version; start anew "
                "without resuming"
            )
        rows = tuple(ViewRow(**row) for row in content["rows"])
        return ViewState(
            content["step"],
            content["weights"],
            content["optimizer"],
            rows,
            content.get("streams", {}),  # earlier versions had neither
            content.get("pixel_sizes_angst"),
        )

    def write_state(self, state: ViewState) -> None:
        """Keep a state and its log, in place of the last one."""
        rows = [asdict(row) for row in state.rows]
        write_torch_file(
            self._state,
            {
                "what": _MARK,
                "format": _FORMAT,
                "step": state.step,
                "weights": state.weights,
                "optimizer": state.optimizer,
                "rows": rows,
                "streams": state.streams,
                "pixel_sizes_angst": state.pixel_sizes_angst,
            },
        )
        self.write_log(state.rows)

    def write_log(self, rows: Sequence[ViewRow]) -> None:
        """Write the rows as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([each.name for each in fields(ViewRow)])
        for row in rows:
            values = astuple(row)
            writer.writerow([*values[:2], *(f"{value:.6g}" for value in values[2:])])
        write_text_atomic(self.path / LOG_NAME, text.getvalue())

    def read_log(self) -> list[ViewRow]:
        """Return the rows of the log; none if there is none."""
        path = self.path / LOG_NAME
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        return [ViewRow(int(row[0]), int(row[1]), *map(float, row[2:])) for row in rows]

    def forget_state(self) -> None:
        """Remove the state, which is not needed any more."""
        self._state.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a training; use another folder") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not describe a training; use another folder")
    return found


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], start: str = "") -> list[str]:
    """Return the dotted names of what differs, for messages."""
    different = []
    for key in sorted(found.keys() | wanted.keys()):
        one, other, name = found.get(key), wanted.get(key), f"{start}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            different += _differences(one, other, f"{name}.")
        elif one != other:
            different.append(name)
    return different
