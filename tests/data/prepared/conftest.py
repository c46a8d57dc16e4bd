"""Particles to prepare."""

import pytest
from sets import make_entry, table_of


@pytest.fixture
def entry(tmp_path):
    return make_entry(tmp_path / "raw")


@pytest.fixture
def table(entry):
    return table_of(entry)
