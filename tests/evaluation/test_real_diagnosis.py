"""Seventeen real particles are healthy; their transposed poses are called transposed."""

import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped.data.conventions import read_particle_table
from cesped.evaluation.diagnosis.examination import ExaminationOptions, examine
from cesped.geometry.poses import Poses
from cesped.vocabulary import Health, Suspicion

pytestmark = needs_real_data("aspire_sample.mrcs", "aspire_sample_relion_data.star")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The star file calls the stack sample.mrcs."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "particles.star").symlink_to(REAL_DATA / "aspire_sample_relion_data.star")
    (folder / "sample.mrcs").symlink_to(REAL_DATA / "aspire_sample.mrcs")
    return read_particle_table(folder / "particles.star")


def examined(table, rotations):
    poses = Poses(rotations, table.poses.origins_angst, np.ones(len(table)))
    options = ExaminationOptions(box=40, threads=1)
    return examine(table.with_poses(poses), "C1", "real", options)


def test_the_poses_of_the_refinement_are_healthy(table):
    found = examined(table, table.poses.rotations)
    assert found.health is Health.HEALTHY
    contrast = found.finding(Suspicion.CONTRAST)
    assert contrast.health is not Health.FAULT


def test_transposed_ones_are_called_transposed(table):
    found = examined(table, table.poses.rotations.transpose(0, 2, 1))
    assert found.health is Health.FAULT
    assert "The rotations are transposed" in found.verdict
