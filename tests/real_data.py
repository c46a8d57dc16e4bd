"""Where the optional real particles are; no test needs them to pass.

`CESPED_TEST_DATA` names the folder; without it a folder `shared/data` beside the checkout is
tried. `needs_real_data("name.star")` is a decorator that skips, saying what is missing.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "CESPED_TEST_DATA"


def _find_real_data() -> Path | None:
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


#: Folder of the real data, or None.
REAL_DATA: Path | None = _find_real_data()


def _find_cryofastar_fixtures() -> Path | None:
    if REAL_DATA is None:
        return None
    folders = (REAL_DATA, REAL_DATA.parent / "reference")
    return next((f for d in folders if (f := d / "cryofastar_fixtures").is_dir()), None)


#: Folder of numbers that the released CryoFastAR program computed, or None.
CRYOFASTAR_FIXTURES: Path | None = _find_cryofastar_fixtures()


def needs_cryofastar_fixtures(*names: str) -> pytest.MarkDecorator:
    """Skip the test unless the folder of fixtures holds all of `names`."""
    if CRYOFASTAR_FIXTURES is None:
        reason = f"no cryofastar_fixtures in {VARIABLE} or in a folder reference beside it"
        return pytest.mark.skip(reason=reason)
    missing = [name for name in names if not (CRYOFASTAR_FIXTURES / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"not in the fixtures: {', '.join(missing)}")


def needs_real_data(*names: str) -> pytest.MarkDecorator:
    """Skip the test unless the folder holds all of `names`."""
    if REAL_DATA is None:
        return pytest.mark.skip(reason=f"no real data: {VARIABLE} is not set")
    missing = [name for name in names if not (REAL_DATA / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"not in {VARIABLE}: {', '.join(missing)}")
