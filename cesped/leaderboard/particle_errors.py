"""The errors of single particles of a submission: what two methods are held apart by.

They lie beside a score as `NAME.errors.csv`, with columns id, angular_error_deg and
truth_confidence. The file may come from anybody.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import MetadataError, SubmissionError
from ..evaluation.comparison import paired_p_value
from ..evaluation.outputs import PARTICLES_NAME
from ..evaluation.results import EvaluationResult
from ..io.files import atomic_path
from .plain_text import plain
from .rescore import TOLERANCES, Difference

FloatArray = NDArray[np.float64]

#: The figure that follows from the file.
FIGURE = "weighted_mean_angular_error_deg"
_ID, _ERROR, _WEIGHT = "id", "angular_error_deg", "truth_confidence"
_SUFFIX = ".errors.csv"
_SAME_WEIGHT = 1e-4  # of the largest; the file has six digits
_ROUNDING_DEG = 5e-5  # it has four decimals
_ROW_BYTES, _MOST_PARTICLES = 1024, (500_000, 500_000)
_SEED = 0  # the same results always make the same pages


@dataclass(frozen=True, eq=False)
class ParticleErrors:
    """The angular errors of the `P` particles of both halves.

    Parameters
    ----------
    ids : `(P,)` names, each once
    angular_deg : `(P,)` errors
    weights : `(P,)` confidence of the known poses
    """

    ids: pd.Index
    angular_deg: FloatArray
    weights: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weighted_mean_deg(self) -> float:
        """Return the figure that ranks are by."""
        return float(self.weights @ self.angular_deg / self.weights.sum())


def errors_name(score_name: str) -> str:
    """Return the name of the file that lies beside a score.

    Examples
    --------
    >>> errors_name("results/DEMO.json")
    'results/DEMO.errors.csv'
    """
    return score_name.removesuffix(".json") + _SUFFIX


def write_errors(score: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Write the errors that lie beside `score` to `target`; tell whether there are any.

    Parameters
    ----------
    score : metrics.json as `cesped evaluate` wrote it, beside its particles.csv
    target : file to write; removed if there are no errors, as it would be of another score

    Raises
    ------
    MetadataError
        If particles.csv is no such table.
    DiskFullError
        If the disk is full.
    """
    source = Path(score).with_name(PARTICLES_NAME)
    if not source.is_file():
        Path(target).unlink(missing_ok=True)
        return False
    try:
        table = pd.read_csv(source, usecols=[_ID, _ERROR, _WEIGHT], dtype={_ID: str})
    except ValueError as error:
        raise MetadataError(
            f"{source} is not the table of particles that `cesped evaluate` writes ({error}); "
            "evaluate again, or take it away"
        ) from error
    table = table.assign(
        **{_ERROR: table[_ERROR].map("{:.4f}".format), _WEIGHT: table[_WEIGHT].map("{:.6g}".format)}
    )
    with atomic_path(target) as temporary:
        table[[_ID, _ERROR, _WEIGHT]].to_csv(temporary, index=False)
    return True


def read_errors(path: Path, result: EvaluationResult) -> ParticleErrors:
    """Read the errors of single particles, and hold them against the score that they belong to.

    Parameters
    ----------
    path : a plain file of a submission
    result : the score beside it

    Raises
    ------
    SubmissionError
        If it is no such table, or its errors are not those of the score.
    """
    counts = result.stamps.get("particles", _MOST_PARTICLES)
    if path.stat().st_size > _ROW_BYTES * (1 + sum(counts)):
        raise SubmissionError(
            f"{path.name} has {path.stat().st_size:,} bytes, far more than the errors of "
            f"{sum(counts):,} particles; leave it out, or copy it again"
        )
    try:
        table = pd.read_csv(
            path,
            usecols=[_ID, _ERROR, _WEIGHT],
            dtype={_ID: str, _ERROR: np.float64, _WEIGHT: np.float64},
            keep_default_na=False,
            na_values={_ERROR: [""], _WEIGHT: [""]},
        )
    except (ValueError, OSError) as error:
        raise SubmissionError(
            f"{path.name} is no table of {_ID}, {_ERROR} and {_WEIGHT}: {plain(error)}"
        ) from error
    errors = ParticleErrors(
        pd.Index(table[_ID]), table[_ERROR].to_numpy(), table[_WEIGHT].to_numpy()
    )
    complaint = _complaint(errors, result)
    if complaint:
        raise SubmissionError(f"{path.name} {complaint}; leave it out, or copy it again")
    return errors


def difference_from(submitted: ParticleErrors, particles: pd.DataFrame) -> Difference | None:
    """Return the particle whose submitted error differs most from the one found here.

    Parameters
    ----------
    submitted : the errors that came with a score
    particles : table of an evaluation of the same predictions

    Returns
    -------
    None if all agree within the tolerance of angles, and weights to the digits of the file.
    """
    order = submitted.ids.get_indexer(pd.Index(particles["id"].astype(str)))
    if (order < 0).any():
        return Difference("all", "errors.csv", False, math.nan, math.nan, part="its particles")
    found_deg = particles[_ERROR].to_numpy(np.float64)
    found_weights = particles[_WEIGHT].to_numpy(np.float64)
    weights = submitted.weights[order]
    if not np.allclose(weights, found_weights, rtol=_SAME_WEIGHT, atol=_SAME_WEIGHT):
        worst = int(np.argmax(np.abs(weights - found_weights)))
        values = float(weights[worst]), float(found_weights[worst])
        return Difference("all", "errors.csv", False, *values, part="the confidence of a particle")
    apart = np.abs(submitted.angular_deg[order] - found_deg)
    worst = int(np.argmax(apart))
    if apart[worst] <= TOLERANCES["deg"] + _ROUNDING_DEG:
        return None
    values = float(submitted.angular_deg[order][worst]), float(found_deg[worst])
    return Difference("all", "errors.csv", False, *values, part="the error of a particle")


def _complaint(errors: ParticleErrors, result: EvaluationResult) -> str | None:
    """Return why errors cannot be those of a score; None if they can."""
    angles, weights = errors.angular_deg, errors.weights
    doubled = errors.ids[errors.ids.duplicated()]
    if len(doubled):
        return f"lists {len(doubled)} particles twice, such as {plain(doubled[0])!r}"
    wrong = np.flatnonzero(~((angles >= 0) & (angles <= 180) & (weights >= 0) & (weights < np.inf)))
    if wrong.size:
        row = int(wrong[0])
        return (
            f"has an error of {angles[row]:g} degrees and a confidence of {weights[row]:g} in row "
            f"{row + 1}, which cannot be"
        )
    counts = result.stamps.get("particles")
    if counts is not None and sum(counts) != len(errors):
        return f"has {len(errors)} particles, and the score {sum(counts)}"
    if not weights.sum() > 0:
        return "has no particle with any confidence"
    stated = result.metrics_of("prediction").get(FIGURE, np.nan)
    found = errors.weighted_mean_deg
    if not abs(found - stated) <= TOLERANCES["deg"]:
        return f"has a weighted mean error of {found:.4f} degrees, and the score {stated:.4f}"
    return None


def difference_p_value(
    first: ParticleErrors, second: ParticleErrors, level: float = 0.05
) -> float | None:
    """Return the p value of two methods having one weighted mean error.

    The paired permutation test of `cesped.evaluation.comparison`, fine enough to be held against
    `level`: what makes a particle hard for both cancels. None if the two are not of the same
    particles, with the same weights.
    """
    if len(first) != len(second):
        return None
    order = second.ids.get_indexer(first.ids)
    if (order < 0).any():
        return None
    weights = second.weights[order]
    if np.abs(first.weights - weights).max() > _SAME_WEIGHT * first.weights.max():
        return None
    differences = (first.angular_deg - second.angular_deg[order]) * first.weights
    return paired_p_value(differences, np.random.default_rng(_SEED), level)
