"""What one evaluation scores, and how; and what its result is stamped with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cesped.data.aberrations import unmodelled_aberrations
from cesped.data.table import ParticleTable
from cesped.evaluation.half_sets import PredictedHalf, notes_on_origins
from cesped.evaluation.inputs import KnownEntry
from cesped.evaluation.results import METRIC_VERSION
from cesped.evaluation.stamps import (
    file_stamp,
    hardware,
    images_stamp,
    package_version,
    records_stamp,
)
from cesped.evaluation.uncertainty import IntervalOptions
from cesped.evaluation.volumes import Volume
from cesped.geometry.poses import Poses
from cesped.reconstruction.protocol import ReconstructionOptions, Reconstructor
from cesped.vocabulary import Backend, PoseOrigin, PredictionType, Track


@dataclass(frozen=True)
class Setting:
    """What is scored, and how: all that the steps of one evaluation share.

    Parameters
    ----------
    known : the entry, its true poses, symmetry and mask
    halves : the poses to score
    prediction_type : what of them was predicted
    use_pred_confidence : whether their confidence weights the particles in the predicted maps
    random : random poses of both halves; None to leave that reference out
    prediction_paths : the files that the poses to score came from
    engine, options : what makes the maps, and how
    seed : of the random poses, and of the intervals
    fixed_view : the one pose that knows nothing, of both halves; None to leave that reference out
    fixed_view_map : whether its map is made and scored as well
    kept_shares : shares of the most confident particles to make maps of as well
    map_groups : groups of particles that maps are made without, for their intervals; 0 for none
    """

    known: KnownEntry
    halves: tuple[PredictedHalf, PredictedHalf]
    prediction_type: PredictionType
    use_pred_confidence: bool
    random: tuple[Poses, Poses] | None
    prediction_paths: tuple[str, ...]
    engine: Reconstructor
    options: ReconstructionOptions
    seed: int
    fixed_view: tuple[Poses, Poses] | None = None
    fixed_view_map: bool = False
    kept_shares: tuple[float, ...] = ()
    map_groups: int = 0

    @property
    def target(self) -> str:
        """Return the name of the entry."""
        return self.known.halves[0].target

    @property
    def symmetry(self) -> str:
        """Return the point group that the entry is scored with."""
        return self.known.symmetry

    @property
    def tables(self) -> tuple[ParticleTable, ParticleTable]:
        """Return the particles of half 0 and of half 1, with their true poses."""
        return self.known.tables

    @property
    def mask(self) -> Volume | None:
        """Return the mask `(N, N, N)` [z, y, x] of the maps; None for unmasked figures alone."""
        return self.known.mask

    @property
    def floors(self) -> dict[PoseOrigin, tuple[Poses, Poses]]:
        """Return the poses of both halves that know nothing, by what they are called."""
        floors = {PoseOrigin.RANDOM: self.random, PoseOrigin.FIXED_VIEW: self.fixed_view}
        return {origin: pair for origin, pair in floors.items() if pair is not None}

    @property
    def mapped_floors(self) -> dict[PoseOrigin, tuple[Poses, Poses]]:
        """Return those of the floors that maps are made of."""
        return {
            origin: pair
            for origin, pair in self.floors.items()
            if origin is not PoseOrigin.FIXED_VIEW or self.fixed_view_map
        }

    @property
    def pixel_size_angst(self) -> float:
        """Return the pixel size of the particles, and of the maps [angstrom]."""
        return self.tables[0].sampling_rate

    @property
    def masks(self) -> dict[bool, Volume | None]:
        """Return the masks to score with, by whether the figures are masked."""
        return {False: None} if self.mask is None else {False: None, True: self.mask}


def notes_of(setting: Setting) -> tuple[str, ...]:
    """Return what a reader of the figures must know, one sentence each."""
    notes = []
    if setting.mask is None:
        notes.append("No mask was used: all figures of maps are unmasked.")
    for half, predicted in enumerate(setting.halves):
        if not predicted.table.has_confidence:
            notes.append(
                f"Half {half} of the ground truth has no rlnMaxValueProbDistribution: its "
                "particles weigh 1 in wMAnE."
            )
        if setting.use_pred_confidence and not predicted.has_confidence:
            notes.append(
                f"The prediction of half {half} has no rlnParticleFigureOfMerit: its particles "
                "weigh 1 in the predicted maps."
            )
    if not setting.use_pred_confidence:
        notes.append("Predicted confidence was not used: particles weigh 1 in the predicted maps.")
    if setting.prediction_type is PredictionType.S2:
        notes.append("S2: angular errors are between viewing directions, maps use the true psi.")
    if setting.prediction_type is not PredictionType.SO3XR2:
        notes.append("Maps use the true shifts; the shift error is that of the files alone.")
    frames = [frame for table in setting.tables for frame in (table.particles, table.optics)]
    aberrations = unmodelled_aberrations(frames)
    if aberrations:
        notes.append(
            f"The entry states aberrations ({', '.join(aberrations)}) that no backend corrects "
            "here, --backend relion included: maps of truth and prediction lack fine detail alike, "
            "and resolutions are worse than those of RELION run on the star file itself."
        )
    return (*notes, *notes_on_origins(setting.halves, setting.prediction_type))


def stamps_of(setting: Setting) -> dict[str, Any]:
    """Return what the result is stamped with; the time that it took comes later."""
    entry_halves, options = setting.known.halves, setting.options
    return {
        "package_version": package_version(),
        "metric_version": METRIC_VERSION,
        "track": Track.SUPERVISED.value,
        "entry": setting.target,
        "entry_files": [file_stamp(half.star_path) for half in entry_halves],
        "image_files": images_stamp(stack for table in setting.tables for stack in table.stacks),
        "published_records": records_stamp(entry_halves),
        "prediction_files": [file_stamp(path) for path in setting.prediction_paths],
        "mask_file": None
        if setting.known.mask_path is None
        else file_stamp(setting.known.mask_path),
        "particles": [len(table) for table in setting.tables],
        "image_size_px": setting.tables[0].image_size,
        "pixel_size_angst": setting.pixel_size_angst,
        "prediction_type": setting.prediction_type.value,
        "symmetry": setting.symmetry,
        "entry_symmetry": entry_halves[0].symmetry,
        "uses_predicted_confidence": setting.use_pred_confidence,
        "has_predicted_confidence": [half.has_confidence for half in setting.halves],
        "has_true_confidence": [table.has_confidence for table in setting.tables],
        "backend": Backend.parse(setting.engine.name).value,
        "backend_version": setting.engine.version(),
        "backend_options": {
            "ctf": options.ctf,
            "gridding": options.gridding,
            "padding": options.padding,
            "symmetry": options.symmetry,
        },
        "seed": setting.seed,
        "intervals": IntervalOptions(seed=setting.seed).stamp(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
    }
