"""What every test shares: skips with their reason, and a benchmark folder that is nobody's.

A test states what it needs by its markers; what the machine lacks is skipped and the reason
printed at the end of the run. `CESPED_SKIP_SLOW=1` leaves out the slow ones,
`CESPED_TEST_NETWORK=1` lets in those that leave this machine.
"""

import math
import os
import shutil
import sys

import pytest
from hypothesis import HealthCheck, settings

from cesped.vocabulary import BENCHMARK_DIR_VARIABLE, OFFLINE_VARIABLE

# Before anything imports torch, whose waiting threads otherwise spin: see cesped.cli.main.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several that share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Not searched for doctests: two files of this name cannot be collected as modules in one run.
collect_ignore_glob = ["*conftest.py"]

RELION_PROGRAMS = ("relion_project", "relion_reconstruct", "relion_refine")

# A law does not fail because another process took the core.
# In CI the examples are the same each time; at a desk each run tries others.
settings.register_profile(
    "cesped",
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("cesped")


def _lacks_relion() -> str | None:
    missing = [program for program in RELION_PROGRAMS if shutil.which(program) is None]
    return f"not in PATH: {', '.join(missing)} (Debian package relion)" if missing else None


def _lacks_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no NVIDIA GPU that torch can use"


def _lacks_patience() -> str | None:
    return "CESPED_SKIP_SLOW is set" if os.environ.get("CESPED_SKIP_SLOW") else None


def _lacks_network() -> str | None:
    allowed = os.environ.get("CESPED_TEST_NETWORK")
    return None if allowed else "leaves this machine; set CESPED_TEST_NETWORK=1 to run it"


LACKS = {
    "relion": _lacks_relion,
    "gpu": _lacks_gpu,
    "slow": _lacks_patience,
    "network": _lacks_network,
}


def pytest_collection_modifyitems(items):
    """Skip each test whose markers name something that is not here; long files come first.

    Processes that share the tests end together only if what is long does not come last.
    """
    for marker, lacks in LACKS.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = lacks() if marked else None  # torch is imported only if a test asks for a GPU
        if reason:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {reason}"))
    if _lacks_patience() is None:
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)  # otherwise in the order they had


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Let what is drawn without a generator be the same, whichever tests ran before."""
    _seed_torch()
    if item.get_closest_marker("gpu") and _lacks_gpu() is None:
        _let_gpu_be_exact()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """Seed again: fixtures that others had made already drew nothing this time."""
    _seed_torch()


def _seed_torch() -> None:
    if "torch" in sys.modules:  # otherwise it starts from a seed of its own, always the same
        sys.modules["torch"].default_generator.manual_seed(0)


def _let_gpu_be_exact():
    """Hold a GPU to float32: its convolutions would round what they multiply to ten bits (TF32)."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.cuda.manual_seed_all(0)


@pytest.fixture(scope="session", autouse=True)
def _benchmark_dir_of_the_session(tmp_path_factory):
    """Point the default benchmark folder away from the user's, for subprocesses too."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BENCHMARK_DIR_VARIABLE, str(folder))
        patch.setenv(OFFLINE_VARIABLE, "1")  # no test downloads by accident
        # what is printed does not depend on how long it took
        patch.setattr("cesped.progress_bars.REPORT_INTERVAL_S", math.inf)
        patch.setattr("cesped.progress_bars._SHORT_S", math.inf)
        yield folder


@pytest.fixture(scope="session")
def session_benchmark_dir(_benchmark_dir_of_the_session):
    """Benchmark folder shared by the whole run: entries that are dear to make live here once."""
    return _benchmark_dir_of_the_session


@pytest.fixture
def benchmark_dir(tmp_path, monkeypatch):
    """Empty benchmark folder of one test, and the default one while it runs."""
    folder = tmp_path / "benchmark"
    folder.mkdir()
    monkeypatch.setenv(BENCHMARK_DIR_VARIABLE, str(folder))
    return folder
