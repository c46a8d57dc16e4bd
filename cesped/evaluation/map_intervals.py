"""How far figures of maps would move with other particles of the same kind: 95 % intervals.

A bootstrap would need a thousand maps. The jackknife needs few: the particles of each half are
dealt to groups at random, and every map is made again without each group (delete-a-group
jackknife; P. S. Kott, J. Off. Stat. 17, 521, 2001). What another training of the same method would
change is not in these intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cesped.errors import OptionError
from cesped.evaluation.half_sets import PredictedHalf, paired_maps, pose_sets
from cesped.evaluation.map_figures import rows_of_maps, score_all_maps
from cesped.evaluation.results import MetricRow
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair, Volume
from cesped.physics.half_ball import HalfBall, ball_radius
from cesped.progress import SILENT, Progress
from cesped.reconstruction.protocol import PoseSet
from cesped.vocabulary import PoseOrigin

FloatArray = NDArray[np.float64]
Interval = tuple[float, float]
Figure = tuple[str, str, str, bool]

LEVEL = 0.95
FEWEST_GROUPS, MOST_GROUPS = 5, 100
_SUMS_BYTES = 12  # of a voxel of the half ball
_HELD_BYTES = 1_500_000_000


def check_map_groups(n_groups: int, halves: tuple[PredictedHalf, PredictedHalf]) -> int:
    """Return the number of groups, 0 for no intervals.

    Raises
    ------
    OptionError
        If there are fewer than 5 groups, more than 100, or fewer than two particles in a group.
    """
    smallest = min(len(half.table) for half in halves)
    if n_groups and not FEWEST_GROUPS <= n_groups <= min(MOST_GROUPS, smallest // 2):
        raise OptionError(
            f"intervals of maps by {n_groups} groups of particles: use {FEWEST_GROUPS} to "
            f"{MOST_GROUPS} groups of at least 2 of the {smallest} particles of a half, such as 10"
        )
    return n_groups


def map_interval_stamp(setting: Setting) -> dict[str, Any]:
    """Return what a result is stamped with; nothing without such intervals."""
    if not setting.map_groups:
        return {}
    return {
        "map_intervals": {
            "method": "delete-a-group jackknife over particles within halves, t distribution",
            "groups": setting.map_groups,
            "level": LEVEL,
            "seed": setting.seed,
        }
    }


def map_intervals(setting: Setting, progress: Progress = SILENT) -> "MapIntervals":
    """Make all maps again without each group of particles.

    Parameters
    ----------
    setting : says how many groups
    progress : told of every particle

    Raises
    ------
    The errors of `Reconstructor.reconstruct`.
    """
    replicates: dict[Figure, list[float]] = {}
    for maps in _maps_without_a_group(setting, progress):
        by_origin = rows_of_maps(setting.target, score_all_maps(setting, maps))
        for row in (row for rows in by_origin.values() for row in rows):
            replicates.setdefault(_figure(row), []).append(row.value)
    return MapIntervals(
        {figure: np.array(values) for figure, values in replicates.items()},
        setting.pixel_size_angst,
    )


class MapIntervals:
    """The figures of maps without each group of particles.

    Parameters
    ----------
    replicates : `(G,)` each, by poses, half, metric and whether masked
    pixel_size_angst : of the maps; no resolution is finer than two of it
    """

    def __init__(self, replicates: Mapping[Figure, FloatArray], pixel_size_angst: float) -> None:
        self._replicates = replicates
        self._pixel_size_angst = pixel_size_angst

    def added_to(self, rows: Sequence[MetricRow]) -> list[MetricRow]:
        """Return `rows` with the intervals of those that are figures of maps."""
        return [
            replace(row, interval=self._interval(row)) if _figure(row) in self._replicates else row
            for row in rows
        ]

    def _interval(self, row: MetricRow) -> Interval | None:
        found = self._replicates[_figure(row)]
        if row.metric.startswith("pcc_"):
            # so that no end is beyond 1
            with np.errstate(divide="ignore"):
                ends = jackknife_interval(float(np.arctanh(row.value)), np.arctanh(found))
            return None if ends is None else (float(np.tanh(ends[0])), float(np.tanh(ends[1])))
        if not row.metric.startswith("resolution_"):
            return jackknife_interval(row.value, found)
        # errors are those of a frequency: in angstrom they would be lopsided
        ends = jackknife_interval(1 / row.value, 1 / found)
        if ends is None or not ends[0] > 0:
            return None
        return max(1 / ends[1], min(2 * self._pixel_size_angst, row.value)), 1 / ends[0]


def jackknife_interval(
    value: float, replicates: FloatArray, level: float = LEVEL
) -> Interval | None:
    """Return the interval of a figure from its values without each of `G` groups `(G,)`.

    The variance is `(G - 1) / G * sum (x_g - mean)^2`; the interval is the value with the quantiles
    of Student's t of G - 1 degrees of freedom. None if the figure never moves, as at Nyquist, or
    is not finite.

    Examples
    --------
    >>> low, high = jackknife_interval(3.0, np.array([2.9, 3.0, 3.0, 3.0, 3.1]))
    >>> round(low, 3), round(high, 3)
    (2.649, 3.351)
    """
    n_groups = len(replicates)
    if not (np.isfinite(replicates).all() and np.isfinite(value)):
        return None
    squares = float(np.square(replicates - replicates.mean()).sum())
    if squares == 0.0:
        return None
    error = np.sqrt((n_groups - 1) / n_groups * squares)
    reach = float(special.stdtrit(n_groups - 1, 0.5 + level / 2) * error)
    return value - reach, value + reach


def dealt(n_particles: int, n_groups: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the group `(P,)` of each particle: groups differ by one particle at most."""
    return np.asarray(generator.permutation(n_particles) % n_groups)


def _maps_without_a_group(
    setting: Setting, progress: Progress
) -> Iterator[dict[PoseOrigin, MapPair]]:
    """Yield the maps without each group; as many are made at once as fit into the memory."""
    generator = np.random.default_rng(setting.seed)
    groups = [dealt(len(table), setting.map_groups, generator) for table in setting.tables]
    all_sets = [
        pose_sets(half, setting.prediction_type, setting.use_pred_confidence, {})
        for half in setting.halves
    ]
    radius = ball_radius(setting.tables[0].image_size, setting.options.padding)
    set_bytes = _SUMS_BYTES * HalfBall.of_radius(radius).n_voxels
    at_once = max(1, _HELD_BYTES // (set_bytes * max(map(len, all_sets))))
    with progress.task("Intervals of maps", setting.map_groups) as advance:
        for start in range(0, setting.map_groups, at_once):
            chosen = range(start, min(start + at_once, setting.map_groups))
            made = [
                _without(setting, half, all_sets[half], groups[half], chosen, progress)
                for half in (0, 1)
            ]
            for first, second in zip(*made, strict=True):
                yield paired_maps(first, second)
                advance(1)


def _without(
    setting: Setting,
    half: int,
    sets: Mapping[PoseOrigin, PoseSet],
    groups: NDArray[np.int64],
    left_out: Sequence[int],
    progress: Progress,
) -> list[dict[PoseOrigin, Volume]]:
    """Return the maps of one half without each of several groups."""
    asked = []
    for group in left_out:
        kept = (groups != group).astype(np.float64)
        for given in sets.values():
            weights = kept if given.weights is None else kept * given.weights
            asked.append(PoseSet(given.poses, weights))
    maps = setting.engine.reconstruct(setting.tables[half], asked, setting.options, progress)
    size = len(sets)
    return [
        dict(zip(sets, maps[number * size : (number + 1) * size], strict=True))
        for number in range(len(left_out))
    ]


def _figure(row: MetricRow) -> Figure:
    return row.poses, row.half, row.metric, row.masked
