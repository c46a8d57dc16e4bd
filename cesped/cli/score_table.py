"""The score as a table for the terminal."""

import math
from typing import TYPE_CHECKING

from ..report.glossary import ABINITIO_TERMS, MAIN_MAP_GROUPS, POSE_TERMS
from ..vocabulary import PredictionType, Track

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult

#: Columns of the table: whose poses, and what they are called.
_COLUMNS = {"prediction": "prediction", "random": "random poses", "truth": "known poses"}
_LABEL_WIDTH, _COLUMN_WIDTH = 38, 14


def print_score(result: "EvaluationResult") -> None:
    """Print the main figures of `result` between those of random and of known poses."""
    mask = "maps compared inside a mask" if result.has_mask else "no mask"
    print()
    print(
        f"{result.target}: {len(result.particles):,} particles, symmetry {result.symmetry}, {mask}"
    )
    titles = "".join(f"{title:>{_COLUMN_WIDTH}}" for title in _COLUMNS.values())
    print(" " * _LABEL_WIDTH + titles)
    values = {poses: result.metrics_of(poses) for poses in _COLUMNS}
    groups = {"Poses": POSE_TERMS, **MAIN_MAP_GROUPS}
    if result.stamps.get("track") == Track.AB_INITIO.value:
        groups["Ab initio"] = ABINITIO_TERMS
    for group, terms in groups.items():
        print(group)
        for metric, term in terms.items():
            is_of_shifts = metric.startswith(("shift_rmse", "translation_error"))
            if is_of_shifts and not _predicts_shifts(result):
                continue
            cells = (term.show(values[poses].get(metric, math.nan)) for poses in _COLUMNS)
            row = "".join(f"{cell:>{_COLUMN_WIDTH}}" for cell in cells)
            print(f"{'  ' + term.label:<{_LABEL_WIDTH}}{row}")
    for note in result.notes:
        print(f"note: {note}")
    print()


def _predicts_shifts(result: "EvaluationResult") -> bool:
    return PredictionType.parse(result.prediction_type) is PredictionType.SO3XR2
