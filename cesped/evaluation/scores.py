"""From poses and maps to the rows of the result: every figure of docs/metrics.md is named here."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cesped.data.table import ParticleTable
from cesped.evaluation.angular import FloatArray, PoseErrors, pose_errors
from cesped.evaluation.half_sets import PredictedHalf
from cesped.evaluation.pose_figures import pose_rows
from cesped.evaluation.results import Direction, MetricRow
from cesped.evaluation.volumes import (
    Agreement,
    MapPair,
    Volume,
    agreement_of,
    delta_pcc,
    delta_resolution_angst,
    mean_agreement,
    mean_delta_fsc,
)
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import PointGroup
from cesped.physics.fsc import check_pixel_size
from cesped.physics.shell_products import MapSpectra, ShellProducts
from cesped.vocabulary import FSC_THRESHOLDS, PoseOrigin, PredictionType

ALL = "all"
_THRESHOLD_NAMES = {0.143: "0143", 0.5: "05"}


@dataclass(frozen=True)
class PoseScores:
    """Errors of all poses of both halves.

    Parameters
    ----------
    errors : per half
    rows : the summary of each half and of both
    """

    errors: tuple[PoseErrors, PoseErrors]
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True)
class MapScores:
    """How the maps of one kind of poses agree with each other and with the truth.

    Parameters
    ----------
    halves : the two half maps with each other
    to_truth : the mean of the half maps with that of the truth; the truth itself agrees in full,
        which is the ceiling of these figures
    crossed : half map i with the truth's half map 1 - i, which shares no particle with it
    """

    halves: Agreement
    to_truth: Agreement
    crossed: tuple[Agreement, Agreement]

    @property
    def mean_crossed(self) -> Agreement:
        """Return the mean of the two crossed comparisons."""
        return mean_agreement(list(self.crossed))

    def named(self) -> dict[str, Agreement]:
        """Return the comparisons over both halves, by name."""
        return {"halves": self.halves, "to_truth": self.to_truth, "crossed": self.mean_crossed}


def score_poses(
    entry: str,
    origin: PoseOrigin,
    truth: tuple[Poses, Poses],
    poses: tuple[Poses, Poses],
    prediction_type: PredictionType,
    group: PointGroup,
) -> PoseScores:
    """Return the errors of poses and their summary rows.

    Parameters
    ----------
    entry, origin : what the rows are labelled with
    truth, poses : of half 0 and of half 1, in the same order
    prediction_type : S2 is scored by viewing directions
    group : symmetry up to which poses are the same
    """
    first, second = (
        pose_errors(truth[half], poses[half], prediction_type, group) for half in (0, 1)
    )
    confidences = [truth[half].confidence for half in (0, 1)]
    rows = [
        *pose_rows(entry, origin.value, "0", first, confidences[0]),
        *pose_rows(entry, origin.value, "1", second, confidences[1]),
        *pose_rows(
            entry,
            origin.value,
            ALL,
            PoseErrors.joined([first, second]),
            np.concatenate(confidences),
        ),
    ]
    return PoseScores((first, second), tuple(rows))


class MapScorer:
    """Scores pairs of half maps against those of the truth, which are transformed once.

    Parameters
    ----------
    truth : half maps of the true poses
    pixel_size_angst : [angstrom per voxel]
    mask : multiplies every map; None for unmasked figures
    threads : threads to use

    Notes
    -----
    Holds four transforms, 32 n^3 bytes: 70 MB at a box of 128, 540 MB at 256.
    """

    def __init__(
        self, truth: MapPair, pixel_size_angst: float, mask: Volume | None, threads: int = 1
    ) -> None:
        check_pixel_size(pixel_size_angst)
        self._truth, self._pixel_size_angst = truth, pixel_size_angst
        self._n = len(truth.half0)
        self._spectra = MapSpectra(4, self._n, mask, threads)
        self._put(0, truth)

    def score(self, pair: MapPair) -> MapScores:
        """Return the agreements of a pair of half maps, both maps of each masked or neither.

        The mean of two half maps is the mean of their transforms.
        """
        if pair is self._truth:
            halves = self._agreement(self._spectra.products(2), (1, 0), (0, 1))
            full = replace(halves.curve, correlation=np.ones_like(halves.curve.correlation))
            return MapScores(halves, Agreement(1.0, full), (halves, halves))
        self._put(2, pair)
        products = self._spectra.products()
        return MapScores(
            halves=self._agreement(products, (0, 0, 1, 0), (0, 0, 0, 1)),
            to_truth=self._agreement(products, (0.5, 0.5, 0, 0), (0, 0, 0.5, 0.5)),
            crossed=(
                self._agreement(products, (0, 0, 1, 0), (0, 1, 0, 0)),
                self._agreement(products, (0, 0, 0, 1), (1, 0, 0, 0)),
            ),
        )

    def _agreement(
        self, products: ShellProducts, first: tuple[float, ...], second: tuple[float, ...]
    ) -> Agreement:
        return agreement_of(products, first, second, self._n, self._pixel_size_angst)

    def _put(self, place: int, pair: MapPair) -> None:
        self._spectra.put(place, pair.half0)
        self._spectra.put(place + 1, pair.half1)


def agreement_rows(
    entry: str, poses: str, scores: MapScores, *, masked: bool
) -> tuple[MetricRow, ...]:
    """Return the correlations and resolutions of one kind of poses.

    Parameters
    ----------
    entry, poses, masked : what the rows are labelled with
    scores : agreements of these poses
    """

    def row(
        half: str, metric: str, value: float, unit: str = "", direction: Direction = "max"
    ) -> MetricRow:
        return MetricRow(poses, entry, half, metric, masked, value, unit, direction)

    comparisons = [(ALL, name, agreement) for name, agreement in scores.named().items()]
    comparisons += [(str(half), "crossed", scores.crossed[half]) for half in (0, 1)]
    rows = []
    for half, name, agreement in comparisons:
        rows.append(row(half, f"pcc_{name}", agreement.pcc))
        for threshold, value in agreement.resolutions_angst().items():
            metric = f"resolution_{name}_{_THRESHOLD_NAMES[threshold]}_angst"
            rows.append(row(half, metric, value, "angst", "min"))
    return tuple(rows)


def map_rows(
    entry: str,
    origin: PoseOrigin,
    scores: MapScores,
    truth: MapScores,
    ceiling: MapScores,
    *,
    masked: bool,
) -> tuple[MetricRow, ...]:
    """Return the rows of one kind of poses.

    Parameters
    ----------
    entry, origin, masked : what the rows are labelled with
    scores : agreements of these poses
    truth : agreements of the true poses
    ceiling : agreements of the true poses under the weights of these poses, which the crossed
        differences are measured from
    """

    def row(metric: str, value: float, unit: str = "") -> MetricRow:
        return MetricRow(origin.value, entry, ALL, metric, masked, value, unit, "min")

    rows = list(agreement_rows(entry, origin.value, scores, masked=masked))
    differences = [
        ("_crossed", ceiling.mean_crossed, scores.mean_crossed),
        ("", truth.halves, scores.to_truth),
    ]
    for suffix, best, found in differences:
        rows.append(row(f"delta_pcc{suffix}", delta_pcc(best, found)))
        rows.append(row(f"mean_delta_fsc{suffix}", mean_delta_fsc(best, found)))
        for threshold in FSC_THRESHOLDS:
            metric = f"delta_resolution{suffix}_{_THRESHOLD_NAMES[threshold]}_angst"
            rows.append(row(metric, delta_resolution_angst(best, found, threshold), "angst"))
    return tuple(rows)


def particle_table(
    halves: tuple[PredictedHalf, PredictedHalf], errors: tuple[PoseErrors, PoseErrors]
) -> pd.DataFrame:
    """Return one row per particle, half 0 first, each half in the order of its star file.

    Columns: id, half, rot_deg and tilt_deg of the true pose, angular_error_deg,
    direction_error_deg, inplane_error_deg, shift_error_angst, truth_confidence,
    predicted_confidence, and defocus_angst, the mean of both axes; NaN where it is not known.
    """
    parts = [half_table(halves[half], half, errors[half]) for half in (0, 1)]
    return pd.concat(parts, ignore_index=True)


def half_table(half: PredictedHalf, halfset: int, errors: PoseErrors) -> pd.DataFrame:
    """Return the rows of `particle_table` of one half."""
    angles_deg = rotation_to_euler(half.truth.rotations)
    return pd.DataFrame(
        {
            "id": half.table.ids,
            "half": halfset,
            "rot_deg": angles_deg[:, 0],
            "tilt_deg": angles_deg[:, 1],
            "angular_error_deg": errors.angular_deg,
            "direction_error_deg": errors.direction_deg,
            "inplane_error_deg": errors.inplane_deg,
            "shift_error_angst": errors.shift_angst,
            "truth_confidence": half.truth.confidence,
            "predicted_confidence": half.predicted.confidence,
            "defocus_angst": _defocus_angst(half.table),
        }
    )


def _defocus_angst(table: ParticleTable) -> FloatArray:
    """Return the mean defocus `(P,)` of each particle [angstrom]; NaN without a CTF."""
    if table.ctf is None:
        return np.full(len(table), np.nan)
    defocus_angst: FloatArray = 0.5 * (table.ctf.defocus_u_angst + table.ctf.defocus_v_angst)
    return defocus_angst
