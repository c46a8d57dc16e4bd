"""The ceiling, the floors and the most confident particles: rows that frame the prediction's."""

import numpy as np
import pytest
from tiny_entries import read_entry, turned

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.errors import OptionError
from cesped.evaluation.entry import evaluate_entry, random_pair
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations

#: The columns of the paper's Table III and the rows that hold them (docs/metrics.md, section 6).
TABLE_III = {
    "MAnE": ("meanAngularError", "mean_angular_error_deg", "prediction"),
    "wMAnE": ("wMeanAngularError", "weighted_mean_angular_error_deg", "prediction"),
    "PCC(V0, V1)": ("half2half_correlation", "pcc_halves", "prediction"),
    "PCC(GT, V)": ("mapVsGT_correlaton_masked", "pcc_to_truth", "prediction"),
    "FSCR0.143(V0, V1)": ("half2half_resolution", "resolution_halves_0143_angst", "prediction"),
    "FSCR0.5(V0, V1)": ("half2half_resolution05", "resolution_halves_05_angst", "prediction"),
    "FSCR0.143(GT, V)": ("mapVsGT_resolution", "resolution_to_truth_0143_angst", "prediction"),
    "FSCR0.5(GT, V)": ("mapVsGT_resolution05", "resolution_to_truth_05_angst", "prediction"),
    "FSCR0.143(GT0, GT1)": ("GT_resolution0143", "resolution_halves_0143_angst", "truth"),
    "FSCR0.5(GT0, GT1)": ("GT_resolution05", "resolution_halves_05_angst", "truth"),
    "PCC(GT0, GT1)": ("GT_correlation", "pcc_halves", "truth"),
}


@pytest.fixture(scope="module")
def half_lost(tiny_dir, tmp_path_factory):
    """Predictions of which half are off by 2 degrees and sure, half random and unsure."""
    generator = np.random.default_rng(51)
    folder = tmp_path_factory.mktemp("half-lost")
    paths = []
    for half, table in enumerate(read_entry(tiny_dir, "TINY")):
        good = turned(table.poses, 2.0, generator)
        lost = generator.random(len(table)) < 0.5
        rotations = good.rotations.copy()
        rotations[lost] = random_rotations(int(lost.sum()), generator)
        confidence = np.where(lost, 0.1, 0.8) + generator.uniform(0, 0.1, len(table))
        paths.append(folder / f"predicted_{half}.star")
        write_particle_table(
            paths[-1],
            table.with_poses(Poses(rotations, good.origins_angst, good.confidence)),
            predicted_confidence=confidence,
        )
    return paths


@pytest.fixture(scope="module")
def scored(half_lost, tiny_dir):
    return evaluate_entry(
        "TINY",
        *half_lost,
        "SO3",
        benchmark_dir=tiny_dir,
        use_pred_confidence=False,
        fixed_view_map=True,
        kept_shares=(0.4, 0.99),
    )


@pytest.mark.parametrize("seed", [0, 3])
def test_random_poses_are_not_those_of_an_entry_simulated_with_the_same_seed(tables, seed):
    first, second = random_pair(tables, seed)
    for seeds in (seed, [seed], [seed, 0], [seed, 0, 0], [seed, 1]):
        true = random_rotations(len(first), np.random.default_rng(seeds))
        for guessed in (first, second):
            assert np.mean(geodesic_distance_deg(true, guessed.rotations)) > 90


def test_every_column_of_the_papers_table_has_its_row(scored):
    for column, (key, metric, poses) in TABLE_III.items():
        assert key in PUBLISHED_KEYS
        masked = not metric.endswith("error_deg")
        value = scored.value(metric, poses=poses, masked=masked)
        if column == "MAnE":  # the mean of the halves, which have equally many particles here
            assert value == pytest.approx(scored.published[key], abs=1e-9)
        else:
            assert value == scored.published[key], column


def test_the_truth_is_the_ceiling_of_every_figure(scored):
    truth = scored.metrics_of("truth")
    assert truth["mean_angular_error_deg"] < 1e-6
    assert truth["share_under_5_deg"] == 1
    assert truth["pcc_to_truth"] == 1
    assert truth["resolution_to_truth_05_angst"] == pytest.approx(12.0)  # two pixels of 6
    for name in ("delta_pcc_crossed", "mean_delta_fsc_crossed"):
        assert truth[name] == 0
    # the published difference rewards noise that truth and prediction share: not even 0 is best
    assert truth["delta_pcc"] < 0
    assert "truth_to_truth" not in scored.fsc_curves


def test_one_fixed_view_is_a_floor_that_agrees_with_itself(scored, tables):
    fixed = scored.metrics_of("fixed_view")
    expected = [geodesic_distance_deg(np.eye(3), table.poses.rotations) for table in tables]
    assert fixed["mean_angular_error_deg"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert fixed["shift_rmse_angst"] == 0
    assert fixed["pcc_crossed"] < scored.metrics["pcc_crossed"]
    # half maps of the same fault agree: why agreement of halves is no proof of anything
    assert fixed["pcc_halves"] > scored.metrics_of("truth")["pcc_halves"]


def test_the_map_of_the_fixed_view_is_made_only_if_asked_for(half_lost, tiny_dir):
    result = evaluate_entry("TINY", *half_lost, "SO3", benchmark_dir=tiny_dir)
    fixed = result.metrics_of("fixed_view")
    assert fixed["mean_angular_error_deg"] > 60
    assert not any(name.startswith("pcc") for name in fixed)


def test_keeping_the_confident_half_leaves_the_lost_ones_out(scored):
    kept = scored.metrics_of("prediction_kept_40")
    everything = scored.metrics_of("prediction_kept_99")
    assert kept["mean_angular_error_deg"] == pytest.approx(2.0, abs=1e-3)
    assert everything["mean_angular_error_deg"] > 40
    assert everything["pcc_crossed"] == pytest.approx(scored.metrics["pcc_crossed"], abs=0.02)
    assert {name for name in scored.fsc_curves if "kept_40" in name} == {
        f"prediction_kept_40_{name}{mask}"
        for name in ("halves", "to_truth", "crossed")
        for mask in ("", "_masked")
    }


def test_the_kept_map_is_that_of_weights_0_and_1(scored, half_lost, tiny_dir, tmp_path):
    """The other way to it: the 60 most confident of 150 by hand, as weights in the files."""
    paths = []
    for half, path in enumerate(half_lost):
        table = read_particle_table(path, tiny_dir / "TINY")
        confidence = table.particles["rlnParticleFigureOfMerit"].to_numpy(float)
        chosen = np.isin(confidence, sorted(confidence)[-60:]).astype(float)
        paths.append(tmp_path / f"kept_{half}.star")
        write_particle_table(paths[-1], table, predicted_confidence=chosen)
    by_hand = evaluate_entry("TINY", *paths, "SO3", benchmark_dir=tiny_dir, random_reference=False)
    kept = scored.metrics_of("prediction_kept_40")
    for metric in ("pcc_halves", "pcc_to_truth", "pcc_crossed", "resolution_crossed_05_angst"):
        assert kept[metric] == pytest.approx(by_hand.metrics[metric], rel=1e-4), metric


def test_intervals_and_confidence_stand_in_the_prediction_s_rows_alone(scored):
    rows = {(row.half, row.metric): row for row in scored.rows if not row.masked}
    low, high = rows["all", "mean_angular_error_deg"].interval
    assert low < scored.metrics["mean_angular_error_deg"] < high
    assert rows["all", "pcc_crossed"].interval is None
    assert all(row.interval is None for row in scored.reference_rows)
    assert rows["all", "confidence_gain"].value > 0.8
    assert 0.5 < rows["all", "confidence_rank_correlation"].value < 1
    assert scored.stamps["intervals"]["seed"] == 0
    assert scored.stamps["intervals"]["resamples"] == 1000


def test_the_table_of_particles_has_defocus_and_the_in_plane_error(scored, tables):
    defocus = [0.5 * (t.ctf.defocus_u_angst + t.ctf.defocus_v_angst) for t in tables]
    np.testing.assert_array_equal(scored.particles["defocus_angst"], np.concatenate(defocus))
    whole = scored.particles["angular_error_deg"]
    assert (scored.particles["inplane_error_deg"] <= whole + 1e-9).all()


@pytest.mark.parametrize("shares", [(0.0,), (1.0,), (0.5, 1.5), (0.125,), (float("nan"),)])
def test_shares_that_are_no_percentages_are_refused(half_lost, tiny_dir, shares):
    with pytest.raises(OptionError, match="use whole percentages"):
        evaluate_entry("TINY", *half_lost, "SO3", benchmark_dir=tiny_dir, kept_shares=shares)


def test_without_confidence_there_is_nothing_to_keep_by(tiny_dir, tables, write_predictions):
    paths = write_predictions(tables)
    with pytest.raises(OptionError, match="no rlnParticleFigureOfMerit to choose"):
        evaluate_entry("TINY", *paths, "SO3", benchmark_dir=tiny_dir, kept_shares=(0.5,))
