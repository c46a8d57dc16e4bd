"""A tiny simulated entry, predictions of it, and a reconstructor that needs no images."""

import pytest
from tiny_entries import TINY, TINY_D2, StubReconstructor, read_entry

from cesped.data.conventions import write_particle_table
from cesped.data.demo_entry import make_entry


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory):
    """Benchmark folder with the C1 entry TINY (with mask) and the D2 entry TINY-D2."""
    folder = tmp_path_factory.mktemp("tiny-entries")
    make_entry(TINY, folder)
    make_entry(TINY_D2, folder)
    return folder


@pytest.fixture
def tables(tiny_dir):
    return read_entry(tiny_dir, "TINY")


@pytest.fixture
def write_predictions(tmp_path):
    """Return a function that writes both halves' predictions and returns their paths."""

    def write(tables, poses=None, confidence=(None, None), prefix="predicted"):
        paths = []
        for half, table in enumerate(tables):
            path = tmp_path / f"{prefix}_{half}.star"
            chosen = table.poses if poses is None else poses[half]
            write_particle_table(
                path, table.with_poses(chosen), predicted_confidence=confidence[half]
            )
            paths.append(str(path))
        return tuple(paths)

    return write


@pytest.fixture
def stub():
    return StubReconstructor()
