"""Where the files of a submission contradict each other."""

from pathlib import Path

from ..errors import MissingFileError
from ..evaluation.results import METRIC_VERSION, EvaluationResult
from ..evaluation.stamps import package_version
from ..vocabulary import Track
from .manifest import EntrySubmission, Manifest
from .particle_errors import ParticleErrors, errors_name, read_errors
from .submission import inside


def complaints_about_result(
    result: EvaluationResult, manifest: Manifest, entry: EntrySubmission
) -> list[str]:
    """Return how a score contradicts the manifest that it is submitted with."""
    found = []
    names = {result.target, str(result.stamps["entry"]), *(row.entry for row in result.rows)}
    if names != {entry.name}:
        others = ", ".join(sorted(names - {entry.name}))
        found.append(f"is a score of another entry: {others}")
    if result.prediction_type != manifest.prediction_type:
        found.append(
            f"is a score of {result.prediction_type}, the manifest says {manifest.prediction_type}"
        )
    track = result.stamps.get("track", Track.SUPERVISED.value)
    if track != manifest.track.value:
        found.append(f"is a score of the track {track}, the manifest says {manifest.track}")
    stamped = tuple(file["checksum"] for file in result.stamps["prediction_files"])
    if len(stamped) == 1:
        found.append(
            "is a score of one file of all particles; score one file per half, such as the "
            "aligned_0.star and aligned_1.star that were written with it, and submit those"
        )
    elif stamped != entry.checksums:
        found.append("is a score of other predictions: their checksums differ")
    return found


def unknown_version(result: EvaluationResult) -> str | None:
    """Return why the figures of a score mean nothing here; None if their version is known.

    A version that this program does not know may mean anything, and whoever wrote the number may
    have made it up: such a score heads no board.
    """
    version = int(result.stamps["metric_version"])
    if version <= METRIC_VERSION:
        return None
    return (
        f"has figures of metric version {version}, which cesped {package_version()} does not know "
        f"(it knows versions up to {METRIC_VERSION}); use a newer cesped, or score the predictions "
        "again with this one"
    )


def errors_beside(folder: Path, score_name: str, result: EvaluationResult) -> ParticleErrors | None:
    """Return the errors of single particles that lie beside a score; None if there are none.

    Parameters
    ----------
    folder : of the submission
    score_name : of the score in it
    result : the score

    Raises
    ------
    SubmissionError
        If they are not those of the score, or no plain file of the submission.
    """
    try:
        path = inside(folder, errors_name(score_name))
    except MissingFileError:
        return None
    return read_errors(path, result)
