"""Half maps that agree better than the labels allow: told when they do, never when they may."""

import numpy as np
import pytest

from cesped.evaluation.outputs import read_metrics
from cesped.leaderboard.leaks import signs_in_half_maps
from cesped.physics.fsc import FscCurve

SHELLS = np.arange(65)
FREQUENCY = SHELLS / (128 * 1.5)


def curve(half_at, width=4.0, noise=0.0, seed=0):
    """An FSC that falls from 1 to 0 around the shell `half_at`."""
    values = 1 / (1 + np.exp((SHELLS - half_at) / width))
    error = noise / np.sqrt(np.pi * np.maximum(SHELLS, 1) ** 2)
    drawn = np.random.default_rng(seed).normal(size=len(SHELLS)) * error
    return FscCurve(FREQUENCY, np.clip(values + drawn, -1, 1), 1.5)


def signs(predicted, truth):
    return signs_in_half_maps({"prediction_halves": predicted, "truth_halves": truth})


@pytest.mark.parametrize("behind", [0, 1, 5, 20])
@pytest.mark.parametrize("seed", range(5))
def test_half_maps_as_good_as_the_labels_or_worse_are_no_sign(behind, seed):
    assert signs(curve(30 - behind, noise=1, seed=seed), curve(30, noise=1, seed=seed + 100)) == []


@pytest.mark.parametrize("ahead", [4, 8, 16])
def test_half_maps_that_outdo_the_labels_are_a_sign(ahead):
    (sign,) = signs(curve(30 + ahead, noise=1), curve(30, noise=1, seed=9))
    assert "unmasked half maps of the prediction agree" in sign


def test_a_long_tail_of_agreement_is_a_sign_though_the_resolution_is_the_same():
    truth = curve(20, 1.0)
    tail = FscCurve(FREQUENCY, np.where(SHELLS > 24, 0.13, truth.correlation), 1.5)
    (sign,) = signs(tail, truth)
    assert "by an FSC of 0.1" in sign


def test_agreement_at_low_frequencies_alone_is_no_sign():
    """Maps of random poses are blobs that agree with each other."""
    low = FscCurve(FREQUENCY, np.where(SHELLS < 10, 1.0, 0.0), 1.5)
    assert signs(low, curve(30, 12.0)) == []


def test_masked_and_unmasked_curves_are_judged_apart():
    curves = {
        "prediction_halves": curve(20),
        "truth_halves": curve(30),
        "prediction_halves_masked": curve(40),
        "truth_halves_masked": curve(30),
    }
    (sign,) = signs_in_half_maps(curves)
    assert "masked half maps" in sign
    assert "unmasked" not in sign
    assert signs_in_half_maps({}) == []


def test_the_half_maps_of_an_honest_submission_give_no_sign(evaluation):
    curves = read_metrics(evaluation / "metrics.json").fsc_curves
    assert {"prediction_halves", "truth_halves", "prediction_halves_masked"} <= set(curves)
    assert signs_in_half_maps(curves) == []
