"""All comparisons of the maps of one evaluation, and the rows that they give."""

from collections.abc import Mapping

from cesped.evaluation.results import MetricRow
from cesped.evaluation.scores import MapScores, map_rows, score_maps
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair
from cesped.progress import SILENT, Progress
from cesped.vocabulary import PoseOrigin

#: Their ceiling is the truth under the weights of the prediction.
_WEIGHTED = (PoseOrigin.PREDICTION, PoseOrigin.TRUTH_SAME_WEIGHTS)


def score_all_maps(
    setting: Setting, maps: Mapping[PoseOrigin, MapPair], progress: Progress = SILENT
) -> dict[PoseOrigin, dict[bool, MapScores]]:
    """Return the agreements of every pair of half maps, by whose poses and by whether masked.

    Parameters
    ----------
    setting : the masks, and the size of a voxel
    maps : by whose poses they are made from, the truth among them
    progress : told of every pair
    """
    scores: dict[PoseOrigin, dict[bool, MapScores]] = {origin: {} for origin in maps}
    with progress.task("Comparing maps", len(maps) * len(setting.masks)) as advance:
        for origin, pair in maps.items():
            for masked, mask in setting.masks.items():
                scores[origin][masked] = score_maps(
                    pair, maps[PoseOrigin.TRUTH], setting.pixel_size_angst, mask
                )
                advance(1)
    return scores


def rows_of_maps(
    entry: str, scores: Mapping[PoseOrigin, Mapping[bool, MapScores]]
) -> dict[PoseOrigin, list[MetricRow]]:
    """Return the rows of all agreements, by whose poses.

    Parameters
    ----------
    entry : what the rows are labelled with
    scores : of `score_all_maps`
    """
    rows: dict[PoseOrigin, list[MetricRow]] = {}
    for origin, by_mask in scores.items():
        ceiling = scores[PoseOrigin.TRUTH_SAME_WEIGHTS if origin in _WEIGHTED else PoseOrigin.TRUTH]
        rows[origin] = [
            row
            for masked, own in by_mask.items()
            for row in map_rows(
                entry, origin, own, scores[PoseOrigin.TRUTH][masked], ceiling[masked], masked=masked
            )
        ]
    return rows
