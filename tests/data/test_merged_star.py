"""One star file of both halves: rows of both, optics groups told apart by what they say."""

import fake_entry
import numpy as np
import pytest
import starfile

from cesped.data.conventions import read_particle_table
from cesped.data.merged_star import write_merged_star
from cesped.errors import MetadataError


@pytest.fixture
def entry(tmp_path):
    return fake_entry.write_fake_entry(tmp_path, n_particles=6)


def merge(entry):
    return write_merged_star(entry.star(0), entry.star(1), entry.folder / "particles_merged.star")


def test_all_particles_in_their_order(entry):
    halves = [read_particle_table(entry.star(half)) for half in (0, 1)]
    table = read_particle_table(merge(entry))
    assert list(table.ids) == [*halves[0].ids, *halves[1].ids]
    both = np.concatenate([half.require_poses().rotations for half in halves])
    np.testing.assert_allclose(table.require_poses().rotations, both, atol=1e-12)


def test_groups_that_say_the_same_are_one(entry):
    tables = starfile.read(merge(entry))
    assert list(tables["optics"]["rlnOpticsGroup"]) == [1]
    assert set(tables["particles"]["rlnOpticsGroup"]) == {1}


def test_groups_that_differ_get_numbers_of_their_own(entry):
    fake_entry.write_star_31(entry.star(1), entry.poses[1], entry.ctf[1], 32, rlnVoltage=[200.0])
    tables = starfile.read(merge(entry))
    assert list(tables["optics"]["rlnOpticsGroup"]) == [1, 2]
    assert list(tables["optics"]["rlnVoltage"]) == [300.0, 200.0]
    assert list(tables["particles"]["rlnOpticsGroup"]) == [1] * 6 + [2] * 6


def test_a_column_of_one_half_only(entry):
    confidence = {"rlnMaxValueProbDistribution": np.full(6, 0.5)}
    fake_entry.write_star_31(entry.star(0), entry.poses[0], entry.ctf[0], 32, **confidence)
    column = starfile.read(merge(entry))["particles"]["rlnMaxValueProbDistribution"]
    assert list(column[:6]) == [0.5] * 6
    assert column[6:].isna().all()


def test_files_of_relion_30(entry):
    for half in (0, 1):
        stack = f"particles_{half}.mrcs"
        fake_entry.write_star_30(entry.star(half), entry.poses[half], entry.ctf[half], stack)
    assert len(read_particle_table(merge(entry))) == 12


def test_files_of_different_versions(entry):
    fake_entry.write_star_30(entry.star(1), entry.poses[1], entry.ctf[1], "particles_1.mrcs")
    with pytest.raises(MetadataError, match=r"particles_0.star has an optics table and .*_1.star"):
        merge(entry)
