"""Hold intervals of figures of maps against how the figures scatter over draws of particles.

The particles of an entry are dealt into draws that share none. Each draw is scored with poses that
are off by a known angle, and its intervals stand beside the deviation of all draws.
"""

import argparse
import os

import numpy as np
from scipy import stats

from cesped.evaluation.entry import score_setting
from cesped.evaluation.half_sets import PredictedHalf
from cesped.evaluation.inputs import KnownEntry, read_known_entry
from cesped.evaluation.map_intervals import LEVEL
from cesped.evaluation.setting import Setting
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import ReconstructionOptions
from cesped.vocabulary import PredictionType


def score_draw(known, rows, noise_deg, n_groups, seed):
    """Return the result of some particles of both halves, their poses turned by `noise_deg`."""
    generator = np.random.default_rng(seed)
    tables = tuple(table.select(chosen) for table, chosen in zip(known.tables, rows, strict=True))
    halves = []
    for table in tables:
        truth = table.require_poses()
        turns = rotations_about_random_axes(len(table), noise_deg, generator)
        turned = Poses(turns @ truth.rotations, truth.origins_angst, truth.confidence)
        halves.append(PredictedHalf(table, turned, has_confidence=False))
    setting = Setting(
        known=KnownEntry(known.halves, tables, known.symmetry, known.mask_path, known.mask),
        halves=tuple(halves),
        prediction_type=PredictionType.SO3,
        use_pred_confidence=False,
        random=None,
        prediction_paths=(),
        engine=NativeReconstructor(),
        options=ReconstructionOptions(symmetry=known.symmetry, threads=1),
        seed=seed,
        map_groups=n_groups,
    )
    result, _ = score_setting(setting)
    return result


def main():
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="DEMO")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--noise-deg", type=float, default=10.0)
    asked = parser.parse_args()
    known = read_known_entry(asked.target, None)
    generator = np.random.default_rng(0)
    dealt = [
        np.array_split(generator.permutation(len(table)), asked.draws) for table in known.tables
    ]
    found = {}
    for seed, rows in enumerate(zip(*dealt, strict=True)):
        result = score_draw(known, rows, asked.noise_deg, asked.groups, seed)
        for row in result.rows:
            is_of_all = row.half == "all" and row.masked == result.has_mask
            if (
                is_of_all
                and row.interval
                and row.metric.startswith(("pcc", "res", "delta", "mean_d"))
            ):
                found.setdefault(row.metric, []).append((row.value, *row.interval))
    reach = stats.t.ppf(0.5 + LEVEL / 2, asked.groups - 1)
    sizes = " + ".join(str(len(part[0])) for part in dealt)
    print(f"{asked.target}: {asked.draws} draws of {sizes} particles, {asked.groups} groups")
    print(
        f"{'figure':<38}{'mean':>10}{'deviation':>11}{'stated':>10}{'ratio':>7}{'holds mean':>12}"
    )
    for metric, triples in found.items():
        value, low, high = np.array(triples).T
        if len(value) < asked.draws:
            continue  # some draws have no interval: at Nyquist
        deviation, stated = value.std(ddof=1), np.mean(high - low) / (2 * reach)
        holds = np.mean((low < value.mean()) & (value.mean() < high))
        print(
            f"{metric:<38}{value.mean():10.4f}{deviation:11.5f}{stated:10.5f}"
            f"{stated / deviation:7.2f}{holds:12.0%}"
        )


if __name__ == "__main__":
    main()
