"""The container files name what there is: files of the repository, extras, programs."""

import configparser
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
FILES = sorted((HERE / "singularity").glob("*.def"))
SECTIONS = {"files", "post", "environment", "runscript", "test", "help"}


def sections(path):
    """Return the lines of each section, and those before the first one as `head`."""
    found, name = {"head": []}, "head"
    for line in path.read_text().splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.lstrip().startswith("#"):
            found[name].append(line.strip())
    return found


def packages(path):
    post = " ".join(sections(path)["post"]).replace("\\", " ")
    words = re.search(r"apt-get install -y --no-install-recommends (.*?) (?:rm|python3 -m)", post)
    return [word.strip("'") for word in words[1].split()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_of_the_debian_of_the_checks_with_its_relion(path):
    found = sections(path)
    assert set(found) - {"head"} <= SECTIONS
    assert found["head"] == ["Bootstrap: docker", "From: debian:12-slim"]
    assert {"relion=3.1.3*", "openmpi-bin"} <= set(packages(path))
    assert {"relion", "openmpi-bin"} <= set(
        (HERE / ".ci" / "run").read_text().replace('"', " ").split()
    )
    assert "relion_reconstruct --version | grep 'RELION version: 3.1.3'" in found["test"]


def test_what_is_copied_exists_and_is_what_an_installation_needs():
    lines = [line.split() for line in sections(HERE / "singularity" / "cesped.def")["files"]]
    for source, target in lines:
        assert (HERE / source).exists()
        assert target == f"/opt/source/{source}"
    config = configparser.ConfigParser()
    config.read(HERE / "setup.cfg")
    copied = {source for source, _ in lines}
    assert {"cesped", "setup.cfg", "pyproject.toml", "constraints.txt"} <= copied
    assert config["metadata"]["license_files"] in copied
    assert config["metadata"]["long_description"].removeprefix("file: ") in copied


def test_extras_are_those_of_the_package():
    post = " ".join(sections(HERE / "singularity" / "cesped.def")["post"])
    config = configparser.ConfigParser()
    config.read(HERE / "setup.cfg")
    extras = re.search(r"/opt/source\[([\w,]+)\]", post)[1].split(",")
    assert extras
    assert set(extras) <= set(config["options.extras_require"])
