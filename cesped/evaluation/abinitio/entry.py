"""Score poses in an arbitrary frame and hand: the door of the ab initio track.

The poses are brought to the frame of the truth by one rotation, hand and offset each, which cannot
make poses better that are wrong relative to one another; then they are scored like any others, and
by CryoFastAR's own figures.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cesped.data.conventions import read_predictions, write_particle_table
from cesped.data.table import ParticleTable
from cesped.errors import OptionError
from cesped.evaluation.abinitio.figures import (
    abinitio_notes,
    abinitio_pose_rows,
    frame_stamp,
    moved_map_rows,
    volume_stamp,
)
from cesped.evaluation.abinitio.pose_alignment import PoseAlignment, align_poses, aligned
from cesped.evaluation.abinitio.volume_alignment import align_volumes
from cesped.evaluation.entry import named_maps, random_pair, score_setting
from cesped.evaluation.half_sets import (
    PredictedHalf,
    check_confidence,
    check_predictions,
    notes_on_origins,
    pair_predictions,
)
from cesped.evaluation.inputs import read_known_entry
from cesped.evaluation.map_intervals import check_map_groups
from cesped.evaluation.matching import match_rows
from cesped.evaluation.outputs import write_evaluation
from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import PointGroup, point_group
from cesped.io.files import check_writable
from cesped.progress import SILENT, Progress
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import ReconstructionOptions, Reconstructor
from cesped.vocabulary import Backend, PoseOrigin, PredictionType, Track

#: The predictions of each half in the frame of the truth.
ALIGNED_NAMES = ("aligned_0.star", "aligned_1.star")


@dataclass(frozen=True)
class _Half:
    """One half before and after the alignment."""

    submitted: PredictedHalf
    aligned: PredictedHalf
    alignment: PoseAlignment


def evaluate_abinitio(
    target: str,
    predictions: Sequence[str | os.PathLike[str]],
    prediction_type: PredictionType | str = PredictionType.SO3XR2,
    *,
    use_pred_confidence: bool = True,
    benchmark_dir: str | os.PathLike[str] | None = None,
    mask: str | os.PathLike[str] | None = None,
    use_mask: bool = True,
    reconstructor: Reconstructor | Backend | str = Backend.NATIVE,
    outdir: str | os.PathLike[str] | None = None,
    ignore_symmetry: bool = False,
    threads: int | None = None,
    map_groups: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> EvaluationResult:
    """Score poses of an entry that are in a frame of their own.

    Parameters
    ----------
    target : name of an entry of the benchmark folder
    predictions : one star file of all particles, which share a frame, or two, of half 0 and of half
        1, each with a frame of its own
    prediction_type : SO3xR2, or SO3 where no shifts were predicted: the known ones are used then
    use_pred_confidence, benchmark_dir, mask, use_mask, reconstructor, outdir, ignore_symmetry,
        threads, map_groups, progress : as of `cesped.evaluation.entry.evaluate_entry`
    seed : of random poses, of reference views, and of the samples of the alignment

    Returns
    -------
    EvaluationResult with `stamps["track"]` "ab-initio" and the frames in `stamps["frames"]`

    Raises
    ------
    OptionError
        If there are not one or two files, or the prediction type is S2: without psi no frame is
        fixed.
    The errors of `evaluate_entry`.
    """
    started = time.monotonic()
    chosen_type = PredictionType.parse(prediction_type)
    if chosen_type is PredictionType.S2:
        raise OptionError("viewing directions alone (S2) are not aligned; predict SO3 or SO3xR2")
    paths = tuple(str(path) for path in predictions)
    if len(paths) not in (1, 2):
        raise OptionError(f"{len(paths)} files of predictions; give one of all, or one per half")
    if outdir is not None:
        check_writable(Path(outdir) / ALIGNED_NAMES[0])
    engine = make_reconstructor(reconstructor) if isinstance(reconstructor, str) else reconstructor
    known = read_known_entry(target, benchmark_dir, mask, use_mask, ignore_symmetry, progress)
    tables, group = known.tables, point_group(known.symmetry)
    generator = np.random.default_rng(seed)
    submitted = _read(tables, paths, chosen_type, use_pred_confidence)
    halves = _in_truth_frame(submitted, len(paths) == 1, chosen_type, group, generator, progress)
    random = random_pair(tables, seed)
    setting = Setting(
        known=known,
        halves=(halves[0].aligned, halves[1].aligned),
        prediction_type=chosen_type,
        use_pred_confidence=use_pred_confidence,
        random=_aligned_randoms(tables, random, group, generator),
        prediction_paths=paths,
        engine=engine,
        options=ReconstructionOptions(symmetry=known.symmetry, threads=threads),
        seed=seed,
        map_groups=check_map_groups(map_groups, submitted),
    )
    result, maps = score_setting(setting, progress)
    result = _with_own_figures(result, setting, halves, maps, random, generator, progress)
    seconds = round(time.monotonic() - started, 3)
    result = replace(result, stamps={**result.stamps, "seconds": seconds})
    return result if outdir is None else _write(result, setting, maps, halves, Path(outdir))


def _with_own_figures(
    result: EvaluationResult,
    setting: Setting,
    halves: tuple[_Half, _Half],
    maps: dict[PoseOrigin, MapPair],
    random: tuple[Poses, Poses],
    generator: np.random.Generator,
    progress: Progress,
) -> EvaluationResult:
    """Return the result with the figures, notes and stamps of this track."""
    moved = align_volumes(
        maps[PoseOrigin.TRUTH].full,
        maps[PoseOrigin.PREDICTION].full,
        threads=setting.options.threads,
        progress=progress,
    )
    volume_rows, curves = moved_map_rows(setting, maps, moved)
    # the alignment may have given shifts to poses that had none
    submitted = (halves[0].submitted, halves[1].submitted)
    notes = [
        *abinitio_notes([half.alignment for half in halves]),
        *result.notes,
        *notes_on_origins(submitted, setting.prediction_type),
    ]
    return replace(
        result,
        rows=(*_prediction_rows(setting, halves, generator), *result.rows, *volume_rows),
        reference_rows=(*_random_rows(setting, random, generator), *result.reference_rows),
        fsc_curves={**result.fsc_curves, **curves},
        notes=tuple(dict.fromkeys(notes)),
        stamps={
            **result.stamps,
            "track": Track.AB_INITIO.value,
            "frames": [frame_stamp(half.alignment) for half in halves],
            "volume_alignment": volume_stamp(moved),
        },
    )


def _write(
    result: EvaluationResult,
    setting: Setting,
    maps: dict[PoseOrigin, MapPair],
    halves: tuple[_Half, _Half],
    outdir: Path,
) -> EvaluationResult:
    """Write the evaluation, and the aligned predictions beside it."""
    written = write_evaluation(result, named_maps(setting, maps), setting.pixel_size_angst, outdir)
    for name, half in zip(ALIGNED_NAMES, halves, strict=True):
        confidence = half.aligned.predicted.confidence if half.aligned.has_confidence else None
        table = half.aligned.table.with_poses(half.aligned.predicted)
        write_particle_table(outdir / name, table, predicted_confidence=confidence)
    return written


def _read(
    tables: tuple[ParticleTable, ParticleTable],
    paths: tuple[str, ...],
    prediction_type: PredictionType,
    use_pred_confidence: bool,
) -> tuple[PredictedHalf, PredictedHalf]:
    """Return the predictions of both halves from one file or two."""
    if len(paths) == 2:
        return pair_predictions(tables, (paths[0], paths[1]), prediction_type, use_pred_confidence)
    ids, poses, has_confidence = read_predictions(paths[0])
    order = match_rows(
        np.concatenate([table.ids for table in tables]),
        ids,
        truth_source=f"both halves ({tables[0].source}, {tables[1].source})",
        predicted_source=paths[0],
    )
    check_predictions(poses, paths[0], tables[0], prediction_type)
    if use_pred_confidence and has_confidence:
        check_confidence(poses, paths[0])
    count = len(tables[0])
    first, second = (
        PredictedHalf(table, poses.select(rows), has_confidence)
        for table, rows in zip(tables, (order[:count], order[count:]), strict=True)
    )
    return first, second


def _in_truth_frame(
    halves: tuple[PredictedHalf, PredictedHalf],
    is_one_frame: bool,
    prediction_type: PredictionType,
    group: PointGroup,
    generator: np.random.Generator,
    progress: Progress,
) -> tuple[_Half, _Half]:
    with_offset = prediction_type is PredictionType.SO3XR2
    sets = [(half.truth, half.predicted) for half in halves]
    if is_one_frame:
        sets = [(_joined(sets[0][0], sets[1][0]), _joined(sets[0][1], sets[1][1]))]
    found = [
        align_poses(truth, predicted, group, generator, with_offset=with_offset, progress=progress)
        for truth, predicted in sets
    ]
    first, second = (
        _Half(half, replace(half, predicted=aligned(half.predicted, by.frame)), by)
        for half, by in zip(halves, (found[0], found[-1]), strict=True)
    )
    return first, second


def _is_one_frame(halves: tuple[_Half, _Half]) -> bool:
    return halves[0].alignment is halves[1].alignment


def _joined(first: Poses, second: Poses) -> Poses:
    return Poses(
        np.concatenate([first.rotations, second.rotations]),
        np.concatenate([first.origins_angst, second.origins_angst]),
        np.concatenate([first.confidence, second.confidence]),
    )


def _aligned_randoms(
    tables: tuple[ParticleTable, ParticleTable],
    random: tuple[Poses, Poses],
    group: PointGroup,
    generator: np.random.Generator,
) -> tuple[Poses, Poses]:
    """Return random poses in the frame that suits them best: they get the same chance."""
    first, second = (
        aligned(
            poses,
            align_poses(
                table.require_poses(), poses, group, generator, with_offset=False, shuffles=0
            ).frame,
        )
        for table, poses in zip(tables, random, strict=True)
    )
    return first, second


def _prediction_rows(
    setting: Setting, halves: tuple[_Half, _Half], generator: np.random.Generator
) -> list[MetricRow]:
    rows = []
    for index, half in enumerate(halves):
        poses = (half.submitted.truth, half.submitted.predicted, half.aligned.predicted)
        rows += _rows(setting, PoseOrigin.PREDICTION, str(index), poses, generator)
    if _is_one_frame(halves):
        # with two frames there is no figure of all views as seen by one
        both = tuple(
            _joined(*pair)
            for pair in (
                (halves[0].submitted.truth, halves[1].submitted.truth),
                (halves[0].submitted.predicted, halves[1].submitted.predicted),
                (halves[0].aligned.predicted, halves[1].aligned.predicted),
            )
        )
        return rows + _rows(setting, PoseOrigin.PREDICTION, "all", both, generator)
    counts = [len(half.submitted.predicted) for half in halves]
    return rows + _means_of_halves(rows, counts)


def _random_rows(
    setting: Setting, random: tuple[Poses, Poses], generator: np.random.Generator
) -> list[MetricRow]:
    if setting.random is None:
        return []
    rows = []
    for half in (0, 1):
        poses = (setting.halves[half].truth, random[half], setting.random[half])
        rows += _rows(setting, PoseOrigin.RANDOM, str(half), poses, generator)
    return rows + _means_of_halves(rows, [len(table) for table in setting.tables])


def _rows(
    setting: Setting,
    origin: PoseOrigin,
    half: str,
    poses: tuple[Poses, ...],
    generator: np.random.Generator,
) -> list[MetricRow]:
    truth, submitted, in_truth_frame = poses
    is_random = origin is PoseOrigin.RANDOM  # which have the true shifts
    return abinitio_pose_rows(
        setting.target,
        origin,
        half,
        truth,
        submitted,
        in_truth_frame,
        group=point_group(setting.symmetry),
        prediction_type=PredictionType.SO3 if is_random else setting.prediction_type,
        pixel_size_angst=setting.pixel_size_angst,
        generator=generator,
    )


def _means_of_halves(rows: list[MetricRow], counts: list[int]) -> list[MetricRow]:
    """Return the rows of all particles: the means of the halves' means by their particles."""
    merged = []
    for row in (row for row in rows if row.half == "0"):
        other = next(o for o in rows if (o.half, o.metric) == ("1", row.metric))
        value = (counts[0] * row.value + counts[1] * other.value) / sum(counts)
        merged.append(replace(row, half="all", value=value))
    return merged
