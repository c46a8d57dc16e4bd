"""The score as a table for the terminal."""

from typing import TYPE_CHECKING

from ..report.glossary import MAP_TERMS, POSE_TERMS

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult

#: Columns of the table: whose poses, and what they are called.
_COLUMNS = {"prediction": "prediction", "random": "random poses", "truth": "known poses"}
#: Figures that only the report explains well enough.
_REPORT_ONLY = ("delta", "mean_delta")


def print_score(result: "EvaluationResult") -> None:
    """Print the figures of `result` between those of random and of known poses."""
    mask = "maps compared inside a mask" if result.has_mask else "no mask"
    print()
    print(
        f"{result.target}: {len(result.particles):,} particles, symmetry {result.symmetry}, {mask}"
    )
    print(" " * 52 + "".join(f"{title:>15}" for title in _COLUMNS.values()))
    values = {poses: result.metrics_of(poses) for poses in _COLUMNS}
    for metric, term in (POSE_TERMS | MAP_TERMS).items():
        if metric.startswith(_REPORT_ONLY) or metric not in values["prediction"]:
            continue
        cells = (term.show(values[poses].get(metric, float("nan"))) for poses in _COLUMNS)
        print(f"{term.label:<52}" + "".join(f"{cell:>15}" for cell in cells))
    for note in result.notes:
        print(f"note: {note}")
    print()
