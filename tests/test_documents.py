"""The documents tell the truth: their links lead somewhere, their make targets exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for room in ("docs", "benchmarks", "singularity")
            for path in (ROOT / room).rglob("*.md")
        ),
    ]
)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE_COMMAND = re.compile(r"(?:`|^ *\$? *)make ([a-z]+)\b", re.MULTILINE)


def anchors(path):
    """Return the anchors that GitHub gives the headings of a document."""
    headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def relative_links(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [first or second for first, second in LINK.findall(text)]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path):
    for target in relative_links(path):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_of_the_documents_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(MAKE_COMMAND.findall(path.read_text(encoding="utf-8")))
    assert named <= targets


def test_constraints_pin_every_requirement_within_its_range():
    """A bound of setup.cfg that the tested versions break would fail only at the next install."""
    import configparser

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    values = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    for line in "\n".join(values).splitlines():
        if line.strip() and not line.strip().startswith(("#", "cesped")):
            requirement = Requirement(line.strip())
            version = tested[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), line
