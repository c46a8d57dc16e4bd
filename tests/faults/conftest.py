"""The small project of this folder's tests, one copy per test."""

import shutil

import pytest
from fault_doors import Project, write_project


@pytest.fixture(scope="session")
def untouched_project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(untouched_project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(untouched_project.folder, copy)
    (copy / "out").mkdir()
    return Project(copy)
