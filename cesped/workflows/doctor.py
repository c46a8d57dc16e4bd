"""Examine an entry, a star file, or predictions: from names to a diagnosis."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IdMismatchError, PixelSizeError
from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..data.entry_checks import EntryHalf
    from ..data.table import ParticleTable
    from ..evaluation.diagnosis.examination import ExaminationOptions
    from ..evaluation.diagnosis.findings import Diagnosis
    from ..geometry.poses import Poses

_HALVES = (0, 1)


def diagnose_entry(
    target: str,
    halfset: int,
    benchmark_dir: str | os.PathLike[str] | None = None,
    options: "ExaminationOptions | None" = None,
    progress: Progress = SILENT,
) -> "Diagnosis":
    """Return what can be said of half an entry.

    Raises
    ------
    EntryNotFoundError, StarFileError, MetadataError, MissingImageError, MrcFileError
        If the entry cannot be opened or read.
    """
    from ..data.opening import open_entry

    half = open_entry(target, halfset, benchmark_dir, progress)
    return _examined(
        half.star_path, half.root_dir, half.symmetry, _subject(half), options, progress
    )


def diagnose_particles(
    star: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    symmetry: str = "C1",
    options: "ExaminationOptions | None" = None,
    progress: Progress = SILENT,
) -> "Diagnosis":
    """Return what can be said of the particles of a star file.

    Parameters
    ----------
    star : star file with poses.
    root : folder that its image names start from; its own folder when None.
    symmetry : point group that the particles are said to have.
    options : how much is looked at.

    Raises
    ------
    StarFileError, MetadataError, MissingImageError, MrcFileError
        If the file or its images cannot be read.
    """
    return _examined(star, root, symmetry, str(star), options, progress)


def _examined(
    star: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    symmetry: str,
    subject: str,
    options: "ExaminationOptions | None",
    progress: Progress,
) -> "Diagnosis":
    """Return the diagnosis of a star file, also if the headers of its images contradict it."""
    from ..data.conventions import read_particle_table
    from ..evaluation.diagnosis.contradiction import with_contradiction
    from ..evaluation.diagnosis.examination import examine

    try:
        table, contradiction = read_particle_table(star, root), None
    except PixelSizeError as error:  # which of the two is right, the images may tell
        table, contradiction = read_particle_table(star, root, check_headers=False), str(error)
    diagnosis = examine(table, symmetry, subject, options, progress)
    if contradiction is None:
        return diagnosis
    return with_contradiction(diagnosis, contradiction)


def diagnose_predictions(
    predictions: str | os.PathLike[str],
    target: str,
    halfset: int | None = None,
    benchmark_dir: str | os.PathLike[str] | None = None,
    options: "ExaminationOptions | None" = None,
    progress: Progress = SILENT,
) -> "Diagnosis":
    """Return what can be said of predicted poses, held against the known ones of an entry.

    Parameters
    ----------
    predictions : star file of one pose for each particle of a half.
    target : entry that they are of.
    halfset : which half; found by the names of the particles when None.

    Raises
    ------
    IdMismatchError
        If the particles are those of neither half.
    EntryNotFoundError, StarFileError, MetadataError, MissingImageError, MrcFileError,
    PixelSizeError
        If entry or predictions cannot be read.
    """
    from ..evaluation.diagnosis.against_truth import compare_with_truth
    from ..evaluation.diagnosis.examination import (
        ExaminationOptions,
        agreement_of_poses,
    )
    from ..evaluation.diagnosis.findings import Diagnosis, combined_health
    from ..evaluation.diagnosis.summing_up import verdict
    from ..geometry.symmetry import point_group

    chosen = options or ExaminationOptions()
    half, table, predicted = _paired(predictions, target, halfset, benchmark_dir, progress)
    rng = np.random.default_rng(chosen.seed)
    truth = table.require_poses()
    with progress.task("comparing predicted with known poses", None):
        findings, facts = compare_with_truth(
            truth, predicted, table.pixel_size_angst, point_group(half.symmetry), rng
        )
    sample, agreements = agreement_of_poses(
        table, half.symmetry, {"known": truth, "predicted": predicted}, chosen, progress
    )
    return Diagnosis(
        subject=f"{predictions} against {_subject(half)}",
        n_particles=len(table),
        box=sample.box,
        pixel_size_angst=float(np.median(sample.pixel_size_angst)),
        verdict=verdict(findings),
        health=combined_health(findings),
        findings=findings,
        facts=facts | agreements,
    )


def _paired(
    predictions: str | os.PathLike[str],
    target: str,
    halfset: int | None,
    benchmark_dir: str | os.PathLike[str] | None,
    progress: Progress,
) -> tuple["EntryHalf", "ParticleTable", "Poses"]:
    """Return the half that the predictions are of, its particles, and the poses in their order."""
    from ..data.conventions import read_particle_table, read_predictions
    from ..data.opening import open_entry
    from ..evaluation.matching import match_rows

    ids, poses, _ = read_predictions(predictions)
    failures = []
    for candidate in _HALVES if halfset is None else (halfset,):
        half = open_entry(target, candidate, benchmark_dir, progress)
        table = read_particle_table(half.star_path, half.root_dir)
        try:
            order = match_rows(
                table.ids, ids, truth_source=table.source, predicted_source=str(predictions)
            )
        except IdMismatchError as error:
            failures.append(error)
            continue
        return half, table, poses.select(order)
    raise failures[0]


def _subject(half: "EntryHalf") -> str:
    return f"{half.target}, half {half.halfset}"


def check_figure(out: str | os.PathLike[str]) -> None:
    """Raise unless `write_figure` can write there: to be asked before the work, not after.

    Raises
    ------
    OptionError
        If the name is not that of a PNG.
    UnwritableError
        If no file can be written there.
    """
    from ..report.canvas import check_png_path

    check_png_path(out)


def write_figure(diagnosis: "Diagnosis", out: str | os.PathLike[str]) -> Path:
    """Draw how well each reading fits, and write it as PNG.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    from ..report.canvas import write_png
    from ..report.diagnosis_figure import diagnosis_figure

    return write_png(diagnosis_figure(diagnosis), out)
