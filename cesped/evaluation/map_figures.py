"""All comparisons of the maps of one evaluation, and the rows that they give."""

from collections.abc import Mapping

from cesped.evaluation.results import MetricRow
from cesped.evaluation.scores import MapScorer, MapScores, map_rows
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair
from cesped.physics.backprojection import available_threads
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
        for masked in setting.masks:
            scorer = scorer_of(setting, maps[PoseOrigin.TRUTH], masked)
            for origin, pair in maps.items():
                scores[origin][masked] = scorer.score(pair)
                advance(1)
    return scores


def scorer_of(setting: Setting, truth: MapPair, masked: bool) -> MapScorer:
    """Return what compares pairs of half maps with those of the truth, inside the mask or not."""
    mask = setting.masks[masked]
    threads = setting.options.threads or available_threads()
    return MapScorer(truth, setting.pixel_size_angst, mask, threads)


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
