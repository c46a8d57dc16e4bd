"""Errors in bins: against loops over particles, and whatever the order of the rows."""

import numpy as np
import pandas as pd
import pytest

from cesped.errors import MetadataError, OptionError
from cesped.evaluation.breakdown import (
    agreement_by_resolution,
    error_spread,
    errors_by_defocus,
    errors_by_direction,
    sphere_order,
)
from cesped.geometry.euler import euler_to_rotation
from cesped.physics.fsc import FscCurve


@pytest.fixture
def generator():
    return np.random.default_rng(61)


@pytest.fixture
def particles(generator):
    n = 700
    return pd.DataFrame(
        {
            "half": np.arange(n) % 2,
            "rot_deg": generator.uniform(-180, 180, n),
            "tilt_deg": np.degrees(np.arccos(generator.uniform(-1, 1, n))),
            "angular_error_deg": generator.gamma(2, 5, n),
            "defocus_angst": generator.uniform(5000, 25000, n),
        }
    )


def test_the_spread_of_a_group_is_that_of_its_errors(generator):
    errors, group = generator.gamma(2, 5, 200), generator.integers(0, 5, 200)
    table = error_spread(errors, group, 7)
    for number in range(5):
        chosen = sorted(e for e, g in zip(errors, group, strict=True) if g == number)
        row = table.loc[number]
        assert row["particles"] == len(chosen)
        assert row["mean_deg"] == pytest.approx(sum(chosen) / len(chosen))
        assert row["median_deg"] == pytest.approx(np.median(chosen))
        assert row["quantile_25_deg"] == pytest.approx(np.quantile(chosen, 0.25))
        assert row["quantile_75_deg"] == pytest.approx(np.quantile(chosen, 0.75))
        assert row["share_under_10_deg"] == pytest.approx(sum(e < 10 for e in chosen) / len(chosen))
    assert table.loc[5:, "particles"].tolist() == [0, 0]
    assert table.loc[5:, "mean_deg"].isna().all()


def test_a_direction_falls_into_the_pixel_whose_centre_is_near(particles):
    table = errors_by_direction(particles)
    assert len(table) == 48  # order 1: 700 particles fill 48 pixels, not 192
    assert table["particles"].sum() == 700
    one = errors_by_direction(particles.iloc[:1], order=2)
    hit = one[one["particles"] > 0].iloc[0]
    seen = euler_to_rotation([*particles.iloc[0][["rot_deg", "tilt_deg"]].tolist(), 0])[:, 2]
    centre = euler_to_rotation([hit["rot_deg"], hit["tilt_deg"], 0])[:, 2]
    assert np.degrees(np.arccos(seen @ centre)) < 20
    assert hit["mean_deg"] == particles["angular_error_deg"][0]


def test_means_of_the_pixels_add_up_to_the_mean_of_all(particles):
    for table in (errors_by_direction(particles), errors_by_defocus(particles)):
        mean = (table["mean_deg"] * table["particles"]).sum() / table["particles"].sum()
        assert mean == pytest.approx(particles["angular_error_deg"].mean(), abs=1e-9)


def test_bins_of_defocus_hold_equally_many_and_do_not_overlap(particles):
    table = errors_by_defocus(particles, 7)
    assert table["particles"].between(99, 101).all()
    assert (table["low_angst"][1:].to_numpy() > table["high_angst"][:-1].to_numpy()).all()
    assert table["low_angst"].min() == particles["defocus_angst"].min()
    first = particles["defocus_angst"].between(*table.loc[0, ["low_angst", "high_angst"]])
    expected = particles["angular_error_deg"][first].median()
    assert table.loc[0, "median_deg"] == pytest.approx(expected)


def test_the_order_of_particles_does_not_matter(particles, generator):
    shuffled = particles.iloc[generator.permutation(len(particles))]
    for breakdown in (errors_by_direction, errors_by_defocus):
        pd.testing.assert_frame_equal(breakdown(shuffled), breakdown(particles))


def test_defocus_that_is_unknown_or_the_same_gives_no_table(particles):
    assert errors_by_defocus(particles.drop(columns="defocus_angst")) is None
    assert errors_by_defocus(particles.assign(defocus_angst=np.nan)) is None
    assert errors_by_defocus(particles.assign(defocus_angst=9000.0)) is None
    two = errors_by_defocus(particles.assign(defocus_angst=[9000.0, 12000.0] * 350))
    assert two["particles"].sum() == 700
    some = particles.copy()
    some.loc[::2, "defocus_angst"] = np.nan
    assert errors_by_defocus(some)["particles"].sum() == 350


def test_pixels_get_finer_with_more_particles_and_never_too_fine():
    orders = [sphere_order(n) for n in (1, 300, 385, 2000, 10_000, 1_000_000)]
    assert orders == [0, 0, 1, 2, 3, 4]
    assert sphere_order(10**8) == 4


def test_bands_of_resolution_hold_each_shell_once():
    frequency = np.arange(33) / 128.0
    truth = FscCurve(frequency, np.linspace(1, 0.2, 33), 2.0)
    found = FscCurve(frequency, np.linspace(1, 0.2, 33) ** 2, 2.0)
    curves = {"truth_same_weights_crossed_masked": truth, "prediction_crossed_masked": found}
    table = agreement_by_resolution(curves, masked=True)
    assert len(table) == 8
    assert table["coarse_angst"].iloc[0] == 128
    assert table["fine_angst"].iloc[-1] == 4
    assert table["truth"].mean() == pytest.approx(truth.correlation[1:].mean())
    np.testing.assert_allclose(table["lost"], table["truth"] - table["prediction"])
    assert agreement_by_resolution(curves, masked=False) is None
    few = {
        name: FscCurve(c.frequency_per_angst[:4], c.correlation[:4], 2)
        for name, c in curves.items()
    }
    assert len(agreement_by_resolution(few, masked=True)) == 3


def test_what_cannot_be_broken_down_is_refused(particles):
    with pytest.raises(MetadataError, match="no tilt_deg"):
        errors_by_direction(particles.drop(columns="tilt_deg"))
    with pytest.raises(OptionError, match="at least 2"):
        errors_by_defocus(particles, 1)
