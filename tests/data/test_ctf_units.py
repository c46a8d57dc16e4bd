"""Columns of the CTF in the wrong unit are refused where they are read, with row and remedy."""

import fake_entry as fake
import numpy as np
import pytest

from cesped.data.conventions import read_particle_table
from cesped.errors import MetadataError

BOX, COUNT = 32, 20


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return fake.write_fake_entry(tmp_path_factory.mktemp("units"), n_particles=COUNT)


def read_with(entry, tmp_path, **changes):
    path = tmp_path / "particles_0.star"
    fake.write_star_31(path, entry.poses[0], entry.ctf[0], BOX, **changes)
    return read_particle_table(path, entry.folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"rlnVoltage": [300_000.0]},
            r"row 1 of .*particles_0\.star, optics group 1 \(opticsGroup1\): rlnVoltage is 300000, "
            "which no microscope has; it must be in kilovolts, such as 300",
        ),
        ({"rlnVoltage": [0.3]}, "rlnVoltage is 0.3.*kilovolts"),
        ({"rlnVoltage": [*[300.0] * 7, 3e5, *[300.0] * 12]}, "row 8 of .*rlnVoltage is 300000"),
        ({"rlnSphericalAberration": [2.7e3]}, "rlnSphericalAberration is 2700.*millimetres"),
        ({"rlnDefocusV": [*[1e4] * 19, 1.5e7]}, r"row 20 of .*rlnDefocusV is 1\.5e\+07"),
    ],
)
def test_values_that_no_microscope_has(entry, tmp_path, changes, said):
    with pytest.raises(MetadataError, match=said):
        read_with(entry, tmp_path, **changes)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_defocus_in_micrometres(entry, tmp_path, share):
    """Of all particles, or of those that came from another program."""
    defocus = np.full(COUNT, 15_000.0)
    n_wrong = int(share * COUNT)
    defocus[-n_wrong:] = 1.5
    said = (
        rf"row {COUNT - n_wrong + 1} of .*rlnDefocusU is 1\.5 angstrom, and so are {n_wrong} of "
        "20 rows below 20; .*multiply micrometres by 10000"
    )
    with pytest.raises(MetadataError, match=said):
        read_with(entry, tmp_path, rlnDefocusU=defocus)


@pytest.mark.parametrize(
    "changes",
    [
        {"rlnDefocusU": [0.0] * COUNT, "rlnDefocusV": [0.0] * COUNT},  # simulated in focus
        {"rlnDefocusU": [-800.0, 3.0, *[900.0] * 18]},  # a phase plate, and one by chance
        {"rlnVoltage": [80.0], "rlnSphericalAberration": [0.0]},
        {"rlnVoltage": [1000.0], "rlnSphericalAberration": [-0.01]},
    ],
)
def test_rare_microscopes_are_believed(entry, tmp_path, changes):
    assert read_with(entry, tmp_path, **changes).ctf is not None
