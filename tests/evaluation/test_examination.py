"""Particles with one fault are said to have that fault, healthy ones none, noisy ones nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from faulty_particles import write_particles

from cesped.errors import MetadataError, OptionError
from cesped.evaluation.diagnosis.examination import ExaminationOptions, examine
from cesped.vocabulary import Health, Suspicion


def diagnose(folder, fault="none", stated=None, **options):
    seed = options.get("seed", 1)
    table = write_particles(folder, fault, **options)
    symmetry = stated or options.get("symmetry", "C1")
    return examine(table, symmetry, fault, ExaminationOptions(seed=seed, threads=1))


def faults_of(diagnosis):
    return {found.suspicion for found in diagnosis.findings if found.health is Health.FAULT}


@pytest.mark.parametrize(
    ("fault", "said", "where"),
    [
        ("transposed", "The rotations are transposed", {Suspicion.ORIENTATIONS}),
        (
            "flipped left to right",
            "mirrored left to right",
            {Suspicion.ORIENTATIONS, Suspicion.SHIFTS},
        ),
        ("contrast", "The contrast is inverted", {Suspicion.CONTRAST}),
        ("shifts in pixels", "taken as pixels", {Suspicion.SHIFTS}),
        ("off by one", "Rows are off by one", {Suspicion.ROWS}),
        ("random", "better than chance", {Suspicion.ORIENTATIONS}),
        ("no shifts", "missing or wrong", {Suspicion.SHIFTS}),
        (
            "transposed, shifts negated",
            "both signs are changed",
            {Suspicion.ORIENTATIONS, Suspicion.SHIFTS},
        ),
    ],
)
def test_a_fault_is_named(tmp_path, fault, said, where):
    found = diagnose(tmp_path, fault, n_particles=120)
    assert found.health is Health.FAULT
    assert said in found.verdict
    assert faults_of(found) == where
    assert next(item for item in found.findings if item.suspicion in where).remedy


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("none", set()),
        ("transposed", {Suspicion.ORIENTATIONS}),
        ("psi negated", {Suspicion.ORIENTATIONS}),
        ("radians", {Suspicion.ORIENTATIONS}),
        ("flipped upside down", {Suspicion.ORIENTATIONS, Suspicion.SHIFTS}),
        ("image axes exchanged", {Suspicion.ORIENTATIONS, Suspicion.SHIFTS}),
        ("contrast", {Suspicion.CONTRAST}),
        ("transposed, contrast", {Suspicion.ORIENTATIONS, Suspicion.CONTRAST}),
        ("shifts exchanged", {Suspicion.SHIFTS}),
        ("shifts negated", {Suspicion.SHIFTS}),
        ("off by one", {Suspicion.ROWS}),
        ("random", {Suspicion.ORIENTATIONS}),
    ],
)
def test_faults_of_other_particles_are_named_too(tmp_path, fault, where, seed):
    assert faults_of(diagnose(tmp_path, fault, seed=seed)) == where


def test_healthy_particles_are_healthy(tmp_path):
    found = diagnose(tmp_path, n_particles=120)
    assert found.health is Health.HEALTHY
    assert found.verdict.startswith("Nothing wrong was found (certain")
    healthy = {item.suspicion for item in found.findings if item.health is Health.HEALTHY}
    assert {Suspicion.ORIENTATIONS, Suspicion.SHIFTS, Suspicion.ROWS, Suspicion.CONTRAST} <= healthy
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("fault", ["transposed", pytest.param("random", marks=pytest.mark.slow)])
def test_of_noise_nothing_is_said(tmp_path, fault):
    found = diagnose(tmp_path, fault, n_particles=60, snr=0.001)
    assert found.health is Health.UNCLEAR
    assert found.verdict.startswith("Cannot tell")
    assert not faults_of(found)


def test_a_wrong_pixel_size_is_measured_by_the_ctf(tmp_path):
    found = diagnose(tmp_path, pixel_factor=1.2)
    assert faults_of(found) == {Suspicion.PIXEL_SIZE}
    assert "fit 3 A/px" in found.verdict or "fit 3.01 A/px" in found.verdict


@pytest.mark.parametrize(
    ("flipped", "stated", "said"),
    [
        (True, False, "flipped already"),
        (True, True, None),
        pytest.param(False, True, "the images are raw", marks=pytest.mark.slow),
    ],
)
def test_phases_are_flipped_or_not(tmp_path, flipped, stated, said):
    found = diagnose(tmp_path, phase_flipped=flipped, said_to_be_flipped=stated)
    assert faults_of(found) == (set() if said is None else {Suspicion.CTF})
    assert said is None or said.lower() in found.verdict.lower()


@pytest.mark.parametrize(
    ("fault", "symmetry", "stated", "where"),
    [
        ("none", "D2", "D2", set()),
        pytest.param("none", "C1", "D2", {Suspicion.SYMMETRY}, marks=pytest.mark.slow),
        pytest.param("transposed", "D2", "D2", {Suspicion.ORIENTATIONS}, marks=pytest.mark.slow),
        ("turned about x", "D2", "D2", {Suspicion.SYMMETRY}),
        pytest.param("none", "I1", "I3", {Suspicion.SYMMETRY}, marks=pytest.mark.slow),
        pytest.param("none", "O", "O", set(), marks=pytest.mark.slow),
        ("turned about x", "C1", "C1", set()),  # a frame: no image knows it
    ],
)
def test_symmetry_of_the_particles(tmp_path, fault, symmetry, stated, where):
    found = diagnose(tmp_path, fault, stated, symmetry=symmetry, n_particles=120)
    assert faults_of(found) == where


def test_the_sample_and_everything_after_follow_from_the_seed(tmp_path):
    table = write_particles(tmp_path, n_particles=90)
    options = ExaminationOptions(n_particles=60, box=24, seed=5, threads=1)
    first, second = (examine(table, "C1", "x", options).as_dict() for _ in range(2))
    assert first == second
    assert first["particles"] == 60
    assert first["box"] == 24


def test_particles_without_ctf_or_shifts_are_examined(tmp_path):
    table = write_particles(tmp_path, "no shifts", n_particles=60, shift_angst=0.0)
    found = examine(replace(table, ctf=None), "C1", "x", ExaminationOptions(threads=1))
    assert {item.suspicion for item in found.findings}.isdisjoint(
        {Suspicion.CTF, Suspicion.PIXEL_SIZE}
    )
    shifts = found.finding(Suspicion.SHIFTS)
    assert shifts is None or shifts.health is not Health.FAULT


def test_particles_without_poses_are_refused(tmp_path):
    table = replace(write_particles(tmp_path, n_particles=10), poses=None)
    with pytest.raises(MetadataError, match="no angles"):
        examine(table, "C1", "x")


def test_options_that_cannot_work_are_refused():
    with pytest.raises(OptionError, match="at least 8"):
        ExaminationOptions(n_particles=4)
    assert np.isfinite(ExaminationOptions().box)
