"""The paper's evaluation protocol (section II.E): half maps of the truth and of the prediction.

Each half of an entry was predicted by a model of the other half. All maps of one half are made in
one pass over its images, so truth and prediction share reading, transforms and CTFs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cesped.data.conventions import read_predictions
from cesped.data.table import ParticleTable
from cesped.errors import MetadataError
from cesped.evaluation.angular import completed_poses
from cesped.evaluation.matching import match_rows
from cesped.evaluation.volumes import MapPair, Volume
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations
from cesped.progress import SILENT, Progress
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions, Reconstructor
from cesped.vocabulary import PoseOrigin, PredictionType

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedHalf:
    """One half of an entry and its predicted poses, in the order of the entry's star file.

    Parameters
    ----------
    table : the particles with their true poses
    predicted : poses as predicted, `P` of them
    has_confidence : whether the prediction states its confidence
    """

    table: ParticleTable
    predicted: Poses
    has_confidence: bool

    @property
    def truth(self) -> Poses:
        """Return the true poses."""
        return self.table.require_poses()

    def weights(self, use_pred_confidence: bool) -> FloatArray | None:
        """Return the weight `(P,)` of each particle in the predicted maps; None for all alike."""
        if not (use_pred_confidence and self.has_confidence):
            return None
        return self.predicted.confidence


def pair_predictions(
    tables: tuple[ParticleTable, ParticleTable],
    prediction_paths: tuple[str, str],
    prediction_type: PredictionType,
    use_pred_confidence: bool = True,
) -> tuple[PredictedHalf, PredictedHalf]:
    """Read the predictions of both halves and put them in the order of the entry.

    Raises
    ------
    StarFileError, MetadataError
        If a file cannot be read, or holds values that cannot be poses.
    IdMismatchError
        If its particles are not those of the half.
    """
    first, second = (
        read_half(
            table,
            path,
            prediction_type,
            use_pred_confidence,
            other_half_ids=tables[1 - half].ids,
        )
        for half, (table, path) in enumerate(zip(tables, prediction_paths, strict=True))
    )
    return first, second


def read_half(
    table: ParticleTable,
    path: str,
    prediction_type: PredictionType,
    use_pred_confidence: bool = True,
    *,
    other_half_ids: NDArray[np.object_] | None = None,
) -> PredictedHalf:
    """Read the predictions of one half and put them in the order of the entry.

    Raises as `pair_predictions` does; with the ids of the other half, files that were given in
    the wrong order are told from wrong ones.
    """
    ids, poses, has_confidence = read_predictions(path)
    order = match_rows(
        table.ids,
        ids,
        truth_source=table.source,
        predicted_source=str(path),
        other_half_ids=other_half_ids,
    )
    check_predictions(poses, str(path), table, prediction_type)
    if use_pred_confidence and has_confidence:
        check_confidence(poses, str(path))
    return PredictedHalf(table, poses.select(order), has_confidence)


def check_confidence(poses: Poses, path: str) -> None:
    """Raise MetadataError if no pose has any confidence, so that all particles would weigh 0."""
    if not poses.confidence.any():
        raise MetadataError(
            f"{path}: rlnParticleFigureOfMerit is 0 in all {len(poses)} rows, so no particle "
            "would be reconstructed; predict a confidence, or do not use it "
            "(--NOT_usePredConfidence)"
        )


def check_predictions(
    poses: Poses, path: str, table: ParticleTable, prediction_type: PredictionType
) -> None:
    """Raise MetadataError if shifts, where they are scored, move a particle out of its image.

    Parameters
    ----------
    poses : predicted, in the order of the file
    path : the file, for the message
    table : particles of the same images
    prediction_type : shifts are what is scored for SO3xR2 alone
    """
    if prediction_type is not PredictionType.SO3XR2:
        return
    box_angst = table.image_size * table.sampling_rate
    outside = np.flatnonzero(np.abs(poses.origins_angst).max(axis=1) > box_angst)
    if outside.size:
        row = int(outside[0])
        x, y = poses.origins_angst[row]
        raise MetadataError(
            f"row {row + 1} of {path}: the origin ({x:g}, {y:g}) angstrom lies outside the image, "
            f"which is {box_angst:g} angstrom wide ({outside.size} such rows); give "
            "rlnOriginXAngst and rlnOriginYAngst in angstrom"
        )


def notes_on_origins(
    halves: tuple[PredictedHalf, PredictedHalf], prediction_type: PredictionType
) -> tuple[str, ...]:
    """Return a sentence for each half whose shifts are scored, but were not predicted."""
    if prediction_type is not PredictionType.SO3XR2:
        return ()
    return tuple(
        f"The prediction of half {number} has no origins, or all are 0: its maps are made without "
        "shifts. If shifts were not predicted, score SO3."
        for number, half in enumerate(halves)
        if not half.predicted.origins_angst.any()
    )


def random_poses(truth: Poses, generator: np.random.Generator) -> Poses:
    """Return random orientations with the true shifts, one for each of `P` particles."""
    return Poses(random_rotations(len(truth), generator), truth.origins_angst, np.ones(len(truth)))


def fixed_view(truth: Poses) -> Poses:
    """Return one and the same orientation, the map's own, with the true shifts, for `P` particles.

    What a predictor scores that has learned nothing and always answers the same.
    """
    rotations = np.broadcast_to(np.eye(3), (len(truth), 3, 3)).copy()
    return Poses(rotations, truth.origins_angst, np.ones(len(truth)))


def reconstruct_maps(
    halves: tuple[PredictedHalf, PredictedHalf],
    prediction_type: PredictionType,
    reconstructor: Reconstructor,
    options: ReconstructionOptions,
    *,
    use_pred_confidence: bool = True,
    floors: Mapping[PoseOrigin, tuple[Poses, Poses]] | None = None,
    progress: Progress = SILENT,
) -> dict[PoseOrigin, MapPair]:
    """Return the half maps of the prediction, of the truth and of the references.

    Parameters
    ----------
    halves : particles and predictions
    prediction_type : decides what is completed from the truth
    reconstructor, options : how maps are made, the same for all
    use_pred_confidence : whether predicted confidence weights the particles of the predicted map;
        the map of the truth is never weighted, as published
    floors : poses of both halves that know nothing, unweighted, by what they are called
    progress : told of every particle

    Raises
    ------
    The errors of `Reconstructor.reconstruct`.

    Notes
    -----
    Without predicted confidence the truth under the same weights is the truth itself.
    """
    maps: list[dict[PoseOrigin, Volume]] = []
    for half in (0, 1):
        sets = pose_sets(
            halves[half],
            prediction_type,
            use_pred_confidence,
            {origin: pair[half] for origin, pair in (floors or {}).items()},
        )
        volumes = reconstructor.reconstruct(
            halves[half].table, list(sets.values()), options, progress
        )
        maps.append(dict(zip(sets, volumes, strict=True)))
    return paired_maps(maps[0], maps[1])


def paired_maps(
    first: Mapping[PoseOrigin, Volume], second: Mapping[PoseOrigin, Volume]
) -> dict[PoseOrigin, MapPair]:
    """Return the pairs of the maps of half 0 and of half 1, the weighted truth among them."""
    pairs = {}
    for origin in dict.fromkeys([*first, *second]):
        # a half without weights has no weighted truth: there the truth itself is that
        one, other = (made.get(origin, made[PoseOrigin.TRUTH]) for made in (first, second))
        pairs[origin] = MapPair(one, other)
    pairs.setdefault(PoseOrigin.TRUTH_SAME_WEIGHTS, pairs[PoseOrigin.TRUTH])
    return pairs


def pose_sets(
    half: PredictedHalf,
    prediction_type: PredictionType,
    use_pred_confidence: bool,
    floors: Mapping[PoseOrigin, Poses],
) -> dict[PoseOrigin, PoseSet]:
    """Return what the maps of one half are made of; parameters as of `reconstruct_maps`."""
    weights = half.weights(use_pred_confidence)
    predicted = completed_poses(half.truth, half.predicted, prediction_type)
    sets = {
        PoseOrigin.TRUTH: PoseSet(half.truth, reusable=True),
        PoseOrigin.PREDICTION: PoseSet(predicted, weights),
    }
    if weights is not None:
        sets[PoseOrigin.TRUTH_SAME_WEIGHTS] = PoseSet(half.truth, weights)
    floor_sets = {origin: PoseSet(poses, reusable=True) for origin, poses in floors.items()}
    return sets | floor_sets
