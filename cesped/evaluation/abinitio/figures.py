"""Figures of poses that were found without a reference: CryoFastAR's own, and ours after alignment.

CryoFastAR (Zhang et al. 2025), appendix D, equations 16 and 17. Its rotations take the map to the
image, ours the image to the map: its `R_i R_j^T`, the view j as the view i sees it, is our
`R_i^T R_j`. It does not change with the frame of the map. In the norm of Frobenius its error is

    |R_i^T R_j - P_i^T P_j| = |R_j P_j^T - R_i P_i^T| = |B_j - B_i|

with the votes `B_j = R_j P_j^T` of `frame_search`: taking view i as the reference is taking its
vote for the frame of all. The paper does this for up to 5,000 views and reports the least mean
error.
"""

import numpy as np

from cesped.evaluation.abinitio.frame_search import relative_rotations
from cesped.evaluation.abinitio.pose_alignment import PoseAlignment
from cesped.evaluation.abinitio.volume_alignment import VolumeAlignment
from cesped.evaluation.angular import FloatArray
from cesped.evaluation.results import Direction, MetricRow
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair, compare_maps
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import PointGroup, symmetric_distance_deg
from cesped.physics.fsc import FscCurve
from cesped.vocabulary import PoseOrigin, PredictionType

#: Reference views that are tried at most, as published.
MAX_REFERENCES = 5000
_THRESHOLDS = {0.5: "05", 0.143: "0143"}
_CHUNK = 8_000_000  # pairs of views at a time


def frobenius_error(
    truth: FloatArray,
    predicted: FloatArray,
    generator: np.random.Generator,
    max_references: int = MAX_REFERENCES,
) -> float:
    """Return the rotation error of equation 16, the least over the reference views.

    Parameters
    ----------
    truth, predicted : `(P, 3, 3)` rotations of the same particles, at least one
    generator : chooses the reference views where there are more particles
    max_references : reference views to try, at most

    Returns
    -------
    float between 0 and sqrt(8); an error of `a` degrees is sqrt(8) sin(a / 2)

    Notes
    -----
    As published, neither the other hand nor the symmetry of the particle is allowed for: poses of
    the other hand have an error of about 2.2, and so have many poses of a symmetric particle.

    Examples
    --------
    >>> frobenius_error(np.eye(3)[None], np.eye(3)[None], np.random.default_rng(0))
    0.0
    """
    votes = relative_rotations(np.asarray(truth), np.asarray(predicted)).reshape(-1, 9)
    references = generator.permutation(len(votes))[:max_references]
    rows = max(1, _CHUNK // len(votes))
    means = np.empty(len(references))
    flat = np.ascontiguousarray(votes, dtype=np.float32)
    for start in range(0, len(references), rows):
        chosen = flat[references[start : start + rows]]
        # |B_j - B_i|^2 = 6 - 2 <B_j, B_i>
        squares = np.maximum(6.0 - 2.0 * (chosen @ flat.T), 0.0)
        means[start : start + rows] = np.sqrt(squares).mean(axis=1, dtype=np.float64)
    # single precision is enough to choose among views, not to state the error of the chosen one
    best = references[np.argsort(means)[:5]]
    return min(float(np.linalg.norm(votes - votes[view], axis=1).mean()) for view in best)


def aligned_frobenius_error(truth: FloatArray, aligned: FloatArray, group: PointGroup) -> float:
    """Return the mean over the views of the least `|g R_j - P_j|` over the group.

    Parameters
    ----------
    truth, aligned : `(P, 3, 3)` rotations in one frame and hand
    group : views are the same up to its operators

    Notes
    -----
    |R - P| = sqrt(8) sin(a / 2), a being the angle between them: the least is at the least angle.
    """
    angles_deg = symmetric_distance_deg(truth, aligned, group)
    return float(np.mean(np.sqrt(8.0) * np.sin(np.radians(angles_deg) / 2.0)))


def translation_error_px(truth: Poses, predicted: Poses, pixel_size_angst: float) -> float:
    """Return the mean length of the difference of the origins, equation 17 [pixel]."""
    difference = predicted.origins_angst - truth.origins_angst
    return float(np.linalg.norm(difference, axis=1).mean() / pixel_size_angst)


def abinitio_pose_rows(
    entry: str,
    origin: PoseOrigin,
    half: str,
    truth: Poses,
    submitted: Poses,
    aligned: Poses,
    *,
    group: PointGroup,
    prediction_type: PredictionType,
    pixel_size_angst: float,
    generator: np.random.Generator,
) -> list[MetricRow]:
    """Return the rows of CryoFastAR's figures of poses, as submitted and after alignment.

    Parameters
    ----------
    entry, origin, half : what the rows are labelled with
    truth, submitted, aligned : poses of the same particles
    group : symmetry of the particle, for the figures after alignment
    prediction_type : there are no figures of shifts that were not predicted
    pixel_size_angst : of the images [angstrom]
    generator : chooses reference views
    """
    figures = [
        ("frobenius_error", frobenius_error(truth.rotations, submitted.rotations, generator), ""),
        (
            "frobenius_error_aligned",
            aligned_frobenius_error(truth.rotations, aligned.rotations, group),
            "",
        ),
    ]
    if prediction_type is PredictionType.SO3XR2:
        figures += [
            (name, translation_error_px(truth, poses, pixel_size_angst), "px")
            for name, poses in (
                ("translation_error_px", submitted),
                ("translation_error_aligned_px", aligned),
            )
        ]
    direction: Direction = "min"
    return [
        MetricRow(origin.value, entry, half, metric, False, value, unit, direction)
        for metric, value, unit in figures
    ]


def frame_stamp(alignment: PoseAlignment) -> dict[str, object]:
    """Return a frame and how surely it is known, for the stamps of a result."""
    frame = alignment.frame
    return {
        "is_found": alignment.is_found,
        "p_value": alignment.p_value,
        "is_mirrored": frame.is_mirrored,
        "is_hand_known": alignment.is_hand_known,
        "hand_nats": round(alignment.hand_nats, 3),
        "other_hand_share": round(alignment.other_hand_share, 6),
        "rotation_zyz_deg": [round(float(a), 6) for a in rotation_to_euler(frame.rotation)],
        "rotation_error_deg": alignment.rotation_error_deg,
        "offset_angst": [round(float(c), 6) for c in frame.offset_angst],
        "offset_error_angst": alignment.offset_error_angst,
        "inlier_share": alignment.inlier_share,
        "spread_deg": alignment.spread_deg,
    }


def moved_map_rows(
    setting: Setting, maps: dict[PoseOrigin, MapPair], moved: VolumeAlignment
) -> tuple[list[MetricRow], dict[str, FscCurve]]:
    """Return the figures of the predicted map after it was aligned to the map of the truth.

    Returns
    -------
    rows : correlation, and resolution at 0.5 and at 0.143 (CryoFastAR, appendix D, equation 18)
    curves : the FSC, by name
    """
    volume = moved.apply(maps[PoseOrigin.PREDICTION].full)
    rows, curves = [], {}
    for masked, mask in setting.masks.items():
        found = compare_maps(maps[PoseOrigin.TRUTH].full, volume, setting.pixel_size_angst, mask)
        curves[f"prediction_volume_aligned{'_masked' if masked else ''}"] = found.curve
        rows.append(_volume_row(setting, "pcc_volume_aligned", masked, found.pcc, "", "max"))
        for threshold, name in _THRESHOLDS.items():
            metric = f"resolution_volume_aligned_{name}_angst"
            value = found.resolution_angst(threshold)
            rows.append(_volume_row(setting, metric, masked, value, "angst", "min"))
    return rows, curves


def _volume_row(
    setting: Setting, metric: str, masked: bool, value: float, unit: str, direction: Direction
) -> MetricRow:
    origin = PoseOrigin.PREDICTION.value
    return MetricRow(origin, setting.target, "all", metric, masked, value, unit, direction)


def volume_stamp(moved: VolumeAlignment) -> dict[str, object]:
    """Return what was left to align after the poses had been, for the stamps of a result."""
    return {
        "is_mirrored": moved.is_mirrored,
        "rotation_zyz_deg": [round(float(a), 6) for a in rotation_to_euler(moved.rotation)],
        "shift_px": [round(float(c), 6) for c in moved.shift_px],
        "rotation_error_deg": moved.rotation_error_deg,
        "shift_error_px": moved.shift_error_px,
    }


def abinitio_notes(alignments: list[PoseAlignment]) -> list[str]:
    """Return what a reader must know of the frames, one sentence each.

    Parameters
    ----------
    alignments : of each half; one and the same for both if they share a frame
    """
    is_one_frame = all(found is alignments[0] for found in alignments)
    notes = ["Ab initio track: poses were moved to the frame and hand of the truth before scoring."]
    named = {f"Half {half} of the predictions": found for half, found in enumerate(alignments)}
    if is_one_frame:
        named = {"The predictions": alignments[0]}
    for name, found in named.items():
        if not found.is_found:
            notes.append(
                f"{name}: no frame was found; they agree with the truth no better than shuffled "
                f"poses do (p = {found.p_value:.2g}), so their figures are those of chance."
            )
            continue
        hand = "the other hand" if found.frame.is_mirrored else "the hand of the truth"
        known = "" if found.is_hand_known else ", which these views hardly tell from its mirror"
        verb = "are" if is_one_frame else "is"
        notes.append(
            f"{name} {verb} of {hand}{known}; {100 * found.inlier_share:.0f} % of the poses agree "
            f"with a frame that is known to {found.rotation_error_deg:.2g} degrees."
        )
        if found.is_of_both_hands:
            notes.append(
                f"{name} {'mix' if is_one_frame else 'mixes'} both hands: "
                f"{100 * found.other_hand_share:.0f} % of the poses agree with a frame of the "
                "other hand instead, and count as wrong; were results of several runs put together?"
            )
    if is_one_frame:
        notes.append(
            "One file for all particles: the half maps are not of independent runs, and their "
            "agreement may be too good."
        )
    return notes
