"""Score the predictions of both halves of an entry: the door of this room."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cesped.data.table import ParticleTable
from cesped.evaluation.calibration import confidence_rows
from cesped.evaluation.half_sets import (
    fixed_view,
    pair_predictions,
    random_poses,
    reconstruct_maps,
)
from cesped.evaluation.inputs import read_known_entry
from cesped.evaluation.kept import check_kept, score_kept
from cesped.evaluation.map_figures import rows_of_maps, score_all_maps
from cesped.evaluation.map_intervals import check_map_groups, map_interval_stamp, map_intervals
from cesped.evaluation.misread import notes_on_misreadings
from cesped.evaluation.outputs import write_evaluation
from cesped.evaluation.published import published_metrics
from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.evaluation.scores import (
    PoseScores,
    particle_table,
    score_poses,
)
from cesped.evaluation.setting import Setting, notes_of, stamps_of
from cesped.evaluation.uncertainty import IntervalOptions, with_intervals
from cesped.evaluation.volumes import MapPair
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group
from cesped.progress import SILENT, Progress
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import ReconstructionOptions, Reconstructor
from cesped.vocabulary import Backend, PoseOrigin, PredictionType

_RANDOM_POSES = 0x72616E64  # after the seed, so that its random numbers are not those of the seed


def evaluate_entry(
    target: str,
    half0_preds: str | os.PathLike[str],
    half1_preds: str | os.PathLike[str],
    prediction_type: PredictionType | str,
    *,
    use_pred_confidence: bool = True,
    benchmark_dir: str | os.PathLike[str] | None = None,
    mask: str | os.PathLike[str] | None = None,
    use_mask: bool = True,
    reconstructor: Reconstructor | Backend | str = Backend.NATIVE,
    outdir: str | os.PathLike[str] | None = None,
    ignore_symmetry: bool = False,
    threads: int | None = None,
    random_reference: bool = True,
    fixed_view_map: bool = False,
    kept_shares: Sequence[float] = (),
    map_groups: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> EvaluationResult:
    """Score the predicted poses of an entry by the paper's half-set protocol.

    Parameters
    ----------
    target : name of an entry of the benchmark folder
    half0_preds, half1_preds : star files with the predicted poses of half 0 and of half 1
    prediction_type : S2, SO3 or SO3xR2; what was not predicted is taken from the truth
    use_pred_confidence : weight particles by rlnParticleFigureOfMerit in the predicted maps
    benchmark_dir : folder of entries; see `cesped.data.store.default_benchmark_dir` when None
    mask : mask for the maps; the entry's own mask.mrc when None
    use_mask : False for unmasked figures alone, whatever masks there are
    reconstructor : which program makes the maps
    outdir : folder for maps and tables; nothing is written when None
    ignore_symmetry : score and reconstruct as C1
    threads : CPU threads of the reconstruction; all when None
    random_reference : also score random poses and one fixed view, which no prediction should fall
        below
    fixed_view_map : make and score the map of the fixed view too, not its poses alone
    kept_shares : shares, above 0 and below 1, of the most confident particles of each half whose
        maps are made and scored as well; each costs a further map
    map_groups : also find intervals of figures of maps, from maps without each of so many groups
        of particles, 5 to 100; 0 for none. Each group costs two or three further maps of a half
    seed : of the random poses, of the intervals, and of those groups
    progress : told of every long step

    Returns
    -------
    EvaluationResult

    Raises
    ------
    OptionError
        If the prediction type or the backend is none, shares are to be kept that are none or of
        particles without confidence, or there cannot be so many groups.
    EntryNotFoundError
        If the entry is not there.
    IdMismatchError
        If predictions and particles are not the same.
    StarFileError, MetadataError
        If a star file cannot be read, or holds values that cannot be true, or the two halves of
        the entry do not belong together.
    MrcFileError, PixelSizeError
        If the mask does not fit the particles.
    ProgramNotFoundError, ProgramError
        If an external program is missing or fails.
    DiskFullError
        If the outputs cannot be written; `outdir` is left as it was.
    """
    started = time.monotonic()
    engine = make_reconstructor(reconstructor) if isinstance(reconstructor, str) else reconstructor
    prediction_paths = (str(half0_preds), str(half1_preds))
    chosen_type = PredictionType.parse(prediction_type)
    known = read_known_entry(target, benchmark_dir, mask, use_mask, ignore_symmetry, progress)
    halves = pair_predictions(known.tables, prediction_paths, chosen_type, use_pred_confidence)
    setting = Setting(
        known=known,
        halves=halves,
        prediction_type=chosen_type,
        use_pred_confidence=use_pred_confidence,
        random=random_pair(known.tables, seed) if random_reference else None,
        fixed_view=fixed_pair(known.tables) if random_reference else None,
        prediction_paths=prediction_paths,
        engine=engine,
        options=ReconstructionOptions(symmetry=known.symmetry, threads=threads),
        seed=seed,
        fixed_view_map=fixed_view_map,
        kept_shares=check_kept(halves, kept_shares),
        map_groups=check_map_groups(map_groups, halves),
    )
    result, maps = score_setting(setting, progress)
    result = replace(result, notes=(*result.notes, *_misreadings(setting, result)))
    stamps = {**result.stamps, "seconds": round(time.monotonic() - started, 3)}
    result = replace(result, stamps=stamps)
    if outdir is None:
        return result
    return write_evaluation(result, named_maps(setting, maps), setting.pixel_size_angst, outdir)


def _misreadings(setting: Setting, result: EvaluationResult) -> tuple[str, ...]:
    """Return what seems to be wrong with the predictions; ab initio poses have notes of their own.

    Notes of misread poses come from those poses alone, so all processes have the same.
    """
    table = result.particles
    first, second = (
        table.loc[table["half"] == half, "angular_error_deg"].to_numpy() for half in (0, 1)
    )
    return notes_on_misreadings(
        setting.halves, (first, second), setting.prediction_type, setting.symmetry, setting.seed
    )


def score_setting(
    setting: Setting, progress: Progress = SILENT
) -> tuple[EvaluationResult, dict[PoseOrigin, MapPair]]:
    """Reconstruct and score: an evaluation of poses that have been read and checked.

    Returns
    -------
    result : with its stamps, and nothing written
    maps : by whose poses they are made from

    Raises
    ------
    The errors of `Reconstructor.reconstruct`.
    """
    maps = reconstruct_maps(
        setting.halves,
        setting.prediction_type,
        setting.engine,
        setting.options,
        use_pred_confidence=setting.use_pred_confidence,
        floors=setting.mapped_floors,
        progress=progress,
    )
    result = _score(setting, maps, progress)
    if setting.map_groups:
        found = map_intervals(setting, progress)
        result = replace(
            result,
            rows=tuple(found.added_to(result.rows)),
            reference_rows=tuple(found.added_to(result.reference_rows)),
        )
    kept_rows, kept_curves = score_kept(setting, result.particles, maps, progress)
    result = replace(
        result,
        reference_rows=(*result.reference_rows, *kept_rows),
        fsc_curves={**result.fsc_curves, **kept_curves},
        stamps={**stamps_of(setting), **map_interval_stamp(setting)},
    )
    return result, maps


def random_pair(tables: tuple[ParticleTable, ParticleTable], seed: int) -> tuple[Poses, Poses]:
    """Return random poses of both halves, the same for the same seed."""
    # not of the plain seed: whoever simulated the entry may have drawn the true poses from that
    generator = np.random.default_rng([seed, _RANDOM_POSES])
    first, second = (random_poses(table.require_poses(), generator) for table in tables)
    return first, second


def fixed_pair(tables: tuple[ParticleTable, ParticleTable]) -> tuple[Poses, Poses]:
    """Return one fixed view as the pose of every particle of both halves."""
    return fixed_view(tables[0].require_poses()), fixed_view(tables[1].require_poses())


def _score(
    setting: Setting, maps: dict[PoseOrigin, MapPair], progress: Progress
) -> EvaluationResult:
    pose_scores = _score_all_poses(setting)
    map_scores = score_all_maps(setting, maps, progress)
    origins = list(dict.fromkeys([*maps, *pose_scores]))
    rows: dict[PoseOrigin, list[MetricRow]] = {
        origin: list(pose_scores[origin].rows) if origin in pose_scores else []
        for origin in origins
    }
    for origin, found in rows_of_maps(setting.target, map_scores).items():
        rows[origin] += found
    prediction = pose_scores[PoseOrigin.PREDICTION]
    rows[PoseOrigin.PREDICTION] = _own_rows(setting, prediction, rows[PoseOrigin.PREDICTION])
    references = [origin for origin in origins if origin is not PoseOrigin.PREDICTION]
    return EvaluationResult(
        target=setting.target,
        prediction_type=setting.prediction_type.value,
        symmetry=setting.symmetry,
        has_mask=setting.mask is not None,
        rows=tuple(rows[PoseOrigin.PREDICTION]),
        reference_rows=tuple(row for origin in references for row in rows[origin]),
        published=published_metrics(
            prediction, map_scores[PoseOrigin.TRUTH], map_scores[PoseOrigin.PREDICTION]
        ),
        stamps={},
        notes=notes_of(setting),
        fsc_curves={
            f"{origin.value}_{name}{'_masked' if masked else ''}": agreement.curve
            for origin, by_mask in map_scores.items()
            for masked, scores in by_mask.items()
            for name, agreement in scores.named().items()
            if (origin, name) != (PoseOrigin.TRUTH, "to_truth")  # which is 1 throughout
        },
        particles=particle_table(setting.halves, prediction.errors),
    )


def _own_rows(setting: Setting, scores: PoseScores, rows: list[MetricRow]) -> list[MetricRow]:
    """Return the rows of the prediction with their intervals, and what its confidence is worth."""
    first, second = setting.halves
    with_ends = with_intervals(
        rows,
        scores.errors,
        (first.truth.confidence, second.truth.confidence),
        IntervalOptions(seed=setting.seed),
    )
    confidence = [
        half.predicted.confidence if half.has_confidence else None for half in setting.halves
    ]
    errors_deg = scores.errors[0].angular_deg, scores.errors[1].angular_deg
    known = confidence_rows(
        setting.target, PoseOrigin.PREDICTION.value, (confidence[0], confidence[1]), errors_deg
    )
    return [*with_ends, *known]


def _score_all_poses(setting: Setting) -> dict[PoseOrigin, PoseScores]:
    group = point_group(setting.symmetry)
    truth = (setting.halves[0].truth, setting.halves[1].truth)
    poses = {
        PoseOrigin.PREDICTION: (setting.halves[0].predicted, setting.halves[1].predicted),
        PoseOrigin.TRUTH: truth,
        **setting.floors,
    }
    return {
        origin: score_poses(setting.target, origin, truth, pair, setting.prediction_type, group)
        for origin, pair in poses.items()
    }


def named_maps(setting: Setting, maps: dict[PoseOrigin, MapPair]) -> dict[str, np.ndarray]:
    """Return the maps worth keeping: truth and prediction with their halves, random, mask."""
    volumes: dict[str, np.ndarray] = {}
    for origin in (PoseOrigin.TRUTH, PoseOrigin.PREDICTION):
        pair = maps[origin]
        volumes[origin.value] = pair.full
        volumes[f"{origin.value}_half0"] = pair.half0
        volumes[f"{origin.value}_half1"] = pair.half1
    if PoseOrigin.RANDOM in maps:
        volumes[PoseOrigin.RANDOM.value] = maps[PoseOrigin.RANDOM].full
    if setting.mask is not None:
        volumes["mask"] = setting.mask
    return volumes
