"""Aberrations that nothing here models: seen in a file, told by simulator and evaluator."""

import logging

import fake_entry as fake
import numpy as np
import pandas as pd
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped.data.aberrations import unmodelled_aberrations
from cesped.data.simulation.optics import read_acquisition
from cesped.data.simulation.stack import simulated_tables
from cesped.evaluation.entry import evaluate_entry
from cesped.io.star import read_star
from cesped.io.star_writer import write_star


@pytest.mark.parametrize(
    ("column", "silent", "telling"),
    [
        ("rlnBeamTiltX", 0.0, 0.3),
        ("rlnBeamTiltY", "0.000", -0.01),
        ("rlnOddZernike", "[0,0.0,0]", "[0,0.02,0]"),
        ("rlnEvenZernike", "[]", "[0,1e-4]"),
        ("rlnMagMat00", 1.0, 1.004),
        ("rlnMagMat01", 0.0, 0.001),
    ],
)
def test_only_what_differs_from_no_aberration_is_named(column, silent, telling):
    for value, expected in ((silent, ()), (telling, (column,))):
        optics = pd.DataFrame({"rlnOpticsGroup": [1, 2], column: [silent, value]})
        assert unmodelled_aberrations([pd.DataFrame(), optics]) == expected
        assert unmodelled_aberrations([optics, None]) == expected


def test_what_is_no_number_is_named():
    assert unmodelled_aberrations([pd.DataFrame({"rlnOddZernike": ["none"]})]) == ("rlnOddZernike",)


def test_the_simulator_says_what_it_leaves_out(tmp_path, caplog):
    generator = np.random.default_rng(0)
    tables = simulated_tables(
        "s.mrcs", 32, 3.0, fake.fake_poses(8, generator), fake.fake_ctf(8, generator)
    )
    with caplog.at_level(logging.WARNING):
        write_star(tmp_path / "plain.star", tables)
        read_acquisition(tmp_path / "plain.star")
        assert not caplog.messages
        tables["optics"]["rlnBeamTiltX"] = 0.2
        write_star(tmp_path / "tilted.star", tables)
        read_acquisition(tmp_path / "tilted.star")
    assert len(caplog.messages) == 1
    assert "tilted.star states aberrations (rlnBeamTiltX)" in caplog.messages[0]


@needs_real_data("relion31.6opticsgroups.star")
def test_real_groups_of_higher_aberrations_are_named():
    tables = read_star(REAL_DATA / "relion31.6opticsgroups.star")
    assert "rlnOddZernike" in unmodelled_aberrations(tables.values())


@pytest.mark.parametrize("aberrated", [False, True])
def test_an_evaluation_notes_what_its_maps_lack(tmp_path, aberrated):
    entry = fake.write_fake_entry(tmp_path)
    for half in (0, 1):
        tables = read_star(entry.star(half))
        tables["optics"]["rlnMagMat00"] = 1.01 if aberrated else 1.0
        write_star(entry.star(half), tables, overwrite=True)
    paths = [str(entry.star(half)) for half in (0, 1)]
    asked = {"benchmark_dir": entry.benchmark_dir, "threads": 1, "random_reference": False}
    found = evaluate_entry("FAKE", *paths, "SO3", use_pred_confidence=False, **asked)
    told = [note for note in found.notes if "The entry states aberrations (rlnMagMat00)" in note]
    assert len(told) == int(aberrated)
