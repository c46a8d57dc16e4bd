"""Intervals of figures of maps: the jackknife against what new particles really change."""

import json

import numpy as np
import pytest
from fake_entry import write_fake_entry
from scipy import stats
from tiny_entries import turned

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.errors import OptionError
from cesped.evaluation import map_intervals as module
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.half_sets import pair_predictions, reconstruct_maps
from cesped.evaluation.inputs import read_known_entry
from cesped.evaluation.map_figures import rows_of_maps, score_all_maps
from cesped.evaluation.map_intervals import dealt, jackknife_interval, map_intervals
from cesped.evaluation.outputs import read_metrics
from cesped.evaluation.setting import Setting
from cesped.reconstruction.protocol import ReconstructionOptions
from cesped.vocabulary import Backend, PoseOrigin, PredictionType

N, BOX, GROUPS = 120, 16, 10
DRAWS = 24  # of which a deviation is known to 15 %


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intervals")
    return write_fake_entry(folder, n_particles=N, box=BOX, snr=1.0, with_mask=True)


@pytest.fixture(scope="module")
def predictions(entry):
    generator = np.random.default_rng(0)
    paths = []
    for half in (0, 1):
        table = read_particle_table(entry.star(half), entry.folder)
        paths.append(str(entry.folder / f"predicted_{half}.star"))
        poses = turned(table.poses, 15.0, generator)
        confidence = generator.uniform(0.2, 1, N)
        write_particle_table(paths[-1], table.with_poses(poses), predicted_confidence=confidence)
    return tuple(paths)


def make_setting(entry, predictions, engine, **changes):
    known = read_known_entry("FAKE", entry.benchmark_dir, use_mask=False)
    given = {
        "known": known,
        "halves": pair_predictions(known.tables, predictions, PredictionType.SO3),
        "prediction_type": PredictionType.SO3,
        "use_pred_confidence": True,
        "random": None,
        "prediction_paths": predictions,
        "engine": engine,
        "options": ReconstructionOptions(threads=1),
        "seed": 0,
        "map_groups": GROUPS,
    }
    return Setting(**{**given, **changes})


class MeanOfNoise:
    """Maps that are weighted means of what single particles show: a signal, and noise of theirs.

    Predicted poses show another signal. Drawing all noise again is drawing other particles.
    """

    name = Backend.NATIVE

    def __init__(self, seed):
        self.seed = seed
        grid = np.indices((BOX,) * 3) - BOX // 2
        self.signal = np.exp(-(grid**2).sum(axis=0) / 8.0)
        self.asked = []

    def version(self):
        return "stub 1"

    def reconstruct(self, table, pose_sets, options, progress=None):
        half = int(table.source.endswith("1.star"))
        noise = np.random.default_rng([self.seed, half]).normal(size=(N, BOX**3))
        volumes = []
        for given in pose_sets:
            self.asked.append(given)
            weights = np.ones(N) if given.weights is None else given.weights
            is_truth = np.allclose(given.poses.rotations, table.poses.rotations)
            signal = self.signal if is_truth else np.roll(self.signal, 2, axis=0)
            mean = (weights @ noise / weights.sum()).reshape((BOX,) * 3)
            volumes.append((signal + mean).astype(np.float32))
        return volumes


def values_of(setting):
    maps = reconstruct_maps(
        setting.halves, setting.prediction_type, setting.engine, setting.options
    )
    rows = rows_of_maps("FAKE", score_all_maps(setting, maps))
    return {row.metric: row for row in rows[PoseOrigin.PREDICTION] if row.half == "all"}


def test_intervals_are_as_wide_as_new_particles_move_the_figures(entry, predictions):
    """Some draws of all particles: the interval of each, against how the figures really scatter."""
    found = {}
    for seed in range(DRAWS):
        setting = make_setting(entry, predictions, MeanOfNoise(seed), seed=seed)
        rows = values_of(setting)
        for row in map_intervals(setting).added_to(list(rows.values())):
            if row.interval is not None:
                found.setdefault(row.metric, []).append((row.value, *row.interval))
    reach = stats.t.ppf(0.975, GROUPS - 1)
    for metric in ("pcc_crossed", "pcc_halves", "pcc_to_truth", "delta_pcc_crossed"):
        value, low, high = np.array(found[metric]).T
        error = np.mean(high - low) / (2 * reach)
        assert 0.65 < error / value.std(ddof=1) < 1.5, metric
        covered = np.mean((low < value.mean()) & (value.mean() < high))
        assert covered > stats.binom.ppf(0.001, DRAWS, 0.95) / DRAWS - 0.05, metric


def test_a_group_is_left_out_of_all_maps_and_counted_in_the_others(entry, predictions):
    engine = MeanOfNoise(0)
    setting = make_setting(entry, predictions, engine)
    map_intervals(setting)
    assert len(engine.asked) == 2 * 3 * GROUPS  # halves; truth, prediction, truth as weighted
    truth = [s.weights for s in engine.asked if set(np.unique(s.weights)) == {0.0, 1.0}]
    for half in (truth[:GROUPS], truth[GROUPS:]):
        np.testing.assert_array_equal(np.sum(half, axis=0), np.full(N, GROUPS - 1))
    confidence = setting.halves[0].predicted.confidence
    for kept, weighted in zip(truth, engine.asked[1::3], strict=True):
        if weighted is engine.asked[1]:
            np.testing.assert_allclose(weighted.weights, kept * confidence)


def test_what_is_held_at_once_changes_nothing(entry, predictions, monkeypatch):
    setting = make_setting(entry, predictions, MeanOfNoise(3))
    rows = list(values_of(setting).values())
    at_once = map_intervals(setting).added_to(rows)
    monkeypatch.setattr(module, "_HELD_BYTES", 1)
    assert map_intervals(setting).added_to(rows) == at_once


def test_the_jackknife_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(1).gamma(2.0, size=25)
    without = (values.sum() - values) / 24
    low, high = jackknife_interval(values.mean(), without)
    expected = stats.t.interval(0.95, 24, values.mean(), stats.sem(values))
    np.testing.assert_allclose((low, high), expected, rtol=1e-12)
    assert jackknife_interval(1.0, np.ones(10)) is None
    assert jackknife_interval(1.0, np.array([1.0, np.inf, 2.0, 1.0, 1.0])) is None
    assert jackknife_interval(np.nan, without) is None


@pytest.mark.parametrize(("n_particles", "n_groups"), [(10, 5), (103, 10), (1000, 7)])
def test_groups_are_of_one_size(n_particles, n_groups):
    groups = dealt(n_particles, n_groups, np.random.default_rng(0))
    counts = np.bincount(groups)
    assert len(counts) == n_groups
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("count", [1, 4, 101, 61])
def test_groups_that_say_nothing_are_refused(entry, predictions, count):
    with pytest.raises(OptionError, match=f"intervals of maps by {count} groups of particles"):
        evaluate_entry(
            "FAKE",
            *predictions,
            "SO3",
            benchmark_dir=entry.benchmark_dir,
            reconstructor=None,  # not asked for anything
            map_groups=count,
        )


def test_the_command_writes_intervals_and_moves_no_figure(entry, predictions, tmp_path, capsys):
    words = ["evaluate", "-t", "FAKE", "--predictionType", "SO3", "-b", str(entry.benchmark_dir)]
    words += ["--half0PredsFname", predictions[0], "--half1PredsFname", predictions[1]]
    words += ["--n_cpus", "1", "--outdir"]
    assert main([*words, str(tmp_path / "without")]) == 0
    assert main([*words, str(tmp_path / "with"), "--map_intervals", "5"]) == 0
    plain, result = (read_metrics(tmp_path / d / "metrics.json") for d in ("without", "with"))
    assert "map_intervals" not in plain.stamps
    assert result.stamps["map_intervals"]["groups"] == 5
    for before, after in zip(
        (*plain.rows, *plain.reference_rows), (*result.rows, *result.reference_rows), strict=True
    ):
        np.testing.assert_equal(after.value, before.value)
        assert before.interval is None or after.interval == before.interval
    of_maps = [row for row in result.rows if row.metric.startswith(("pcc", "delta", "resolution"))]
    known = [row for row in of_maps if row.interval is not None]
    assert {row.masked for row in known} == {False, True}
    assert len(known) > 0.8 * len(of_maps)  # a resolution at Nyquist has none
    for row in known:
        low, high = row.interval
        assert low <= row.value <= high, row
        assert row.metric[:3] != "pcc" or high < 1
    ceiling = next(
        r for r in result.reference_rows if (r.poses, r.metric) == ("truth", "pcc_to_truth")
    )
    assert ceiling.interval is None
    random = [row for row in result.reference_rows if row.poses == "random"]
    assert {row.interval for row in random} == {None}
    page = (tmp_path / "with" / "report.html").read_text()
    assert page.count('class="ci"') > (tmp_path / "without" / "report.html").read_text().count(
        'class="ci"'
    )
    json.loads((tmp_path / "with" / "metrics.json").read_text())
    capsys.readouterr()
    assert main([*words, str(tmp_path / "no"), "--map_intervals", "3"]) == 1
    assert "use 5 to 100 groups" in capsys.readouterr().err
