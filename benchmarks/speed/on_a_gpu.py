"""Do all the work that wants a GPU, in order of its worth, and write one table.

    python benchmarks/speed/on_a_gpu.py OUT [--minutes 25] [--only NAME ...] [--again NAME ...]
        [--structure 5nrl.cif.gz] [--tiny]

Each part is a program of its own with a time limit and a log in OUT; OUT/table.md is written anew
after each. What fails, or takes too long, is said there, and the next part begins. Started again
with the same OUT, parts that were done are not done again; --again does one again. With a structure
the trainings of benchmarks/recipes/cryofastar/one_gpu.py come last, and go on where they were.
--tiny does all at its least on a processor, so that one knows that it works.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

SPEED = Path(__file__).resolve().parent
HOUSE = SPEED.parents[1]
#: Lines of a log that are shown in the table's second half.
_SHOWN = 14


@dataclass(frozen=True)
class Part:
    """One program.

    Parameters
    ----------
    name : of its log
    tells : what it tells
    words : after the interpreter
    limit_s : it is stopped after so long [s]
    """

    name: str
    tells: str
    words: tuple[str, ...]
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """What became of a part: `done`, or why not."""

    name: str
    said: str
    seconds: float
    lines: tuple[str, ...]


def gpu_tests(tiny):
    """Return the files with tests that want a GPU; of --tiny one."""
    files = sorted(
        str(path.relative_to(HOUSE))
        for path in (HOUSE / "tests").rglob("test_*.py")
        if "mark.gpu" in path.read_text("utf-8")
    )
    return files[:1] if tiny else files


def parts_of(options):
    """Return all parts, those of most worth first."""

    def script(name, *words):
        return (str(SPEED / f"{name}.py"), *words)

    out = options.out / "work"
    quiet = ("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
    tests = ("-m", "pytest", "-m", "gpu", *quiet, *gpu_tests(options.tiny))
    limits, insert, poses = (str(out / name) for name in ("limits", "insertion", "abinitio"))
    if options.tiny:
        on, views = ("--device", "cpu"), ("--views", "2", "--side", "32", "--repeats", "1")
        least = ("--preset", "small", "--batch", "2", "--pixels", "32", "--steps", "1",
                 "--precision", "float32", "--channels-last",
                 "--set", "grid_order=1", "l_max=2")  # fmt: skip
        return [
            Part("tests", "tests marked gpu", tests, 600),
            Part("limits", "what the machine can do", script(
                "gpu_limits_timer", limits, *on, "--size", "64", "--megabytes", "1"), 600),
            Part("abinitio", "particles to poses and map", script(
                "abinitio_timer", poses, *on, "--particles", "40", "--box", "32", "--preset",
                "tiny", "--views", "8", "--threads", "1"), 600),
            Part("feed", "the same without the network", script(
                "abinitio_timer", poses, "--particles", "40", "--box", "32", "--preset", "tiny",
                "--views", "8", "--threads", "1", "--without-network"), 600),
            Part("insertion", "reconstruction", script(
                "gpu_reconstruction_timer", insert, *on, "--particles", "40", "--box", "24"), 600),
            Part("image2sphere", "training and prediction", script(
                "image2sphere_throughput", *on, *least), 600),
            Part("cryofastar", "the network alone", script(
                "cryofastar", *on, *views, "--preset", "tiny", "--threads", "1"), 600),
        ]  # fmt: skip
    large = ("--device", "cuda", "--bf16", "--views", "128")
    paper = ("--device", "cuda", "--batch", "256", "--peak-tflops", "989")
    parts = [
        Part("tests", "tests marked gpu", tests, 420),
        Part("limits", "what the machine can do", script("gpu_limits_timer", limits), 60),
        Part("abinitio", "50,000 particles of 128 px to poses and map, `large`",
             script("abinitio_timer", poses, "--device", "cuda"), 240),
        Part("feed", "the same without the network, CPU seconds",
             script("abinitio_timer", poses, "--without-network"), 120),
        Part("insertion", "235,000 particles of 222 px to a map",
             script("gpu_reconstruction_timer", insert), 360),
        Part("image2sphere", "paper's preset, bf16",
             script("image2sphere_throughput", *paper), 120),
        Part("image2sphere-channels-last", "the same, channels last",
             script("image2sphere_throughput", *paper, "--channels-last"), 120),
        Part("image2sphere-compiled", "the same, compiled",
             script("image2sphere_throughput", *paper, "--compile"), 240),
        Part("cryofastar", "`large` alone, 128 views", script("cryofastar", *large), 90),
        Part("cryofastar-compiled", "the same, compiled",
             script("cryofastar", *large, "--compile"), 180),
    ]  # fmt: skip
    if options.structure is not None:
        recipe = HOUSE / "benchmarks/recipes/cryofastar/one_gpu.py"
        words = (str(recipe), str(out / "learning"), "--structure", str(options.structure))
        parts.append(Part("learning", "one structure: trainings, errors, tables", words, 3600))
    return parts


def stop(process):
    """End a program and all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run(part, folder, limit_s):
    """Run a part and return what became of it."""
    log, started = folder / f"{part.name}.log", time.monotonic()
    paths = os.pathsep.join(filter(None, [str(HOUSE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": paths}
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *part.words], cwd=HOUSE, stdout=stream, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            stop(process)
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    said = "done" if code == 0 else f"failed ({code}): {lines[-1] if lines else 'it said nothing'}"
    if code is None:
        said = f"not finished in {limit_s:.0f} s"
    return Outcome(part.name, said, time.monotonic() - started, tuple(lines[-_SHOWN:]))


def write_table(folder, parts, known):
    """Write what is known of all parts."""
    about = "no GPU"
    if torch.cuda.is_available():
        about = torch.cuda.get_device_name()
    text = [f"# {about}, torch {torch.__version__}, {os.cpu_count()} cores", "",
            "| part | what it tells | outcome | s |", "|---|---|---|---|"]  # fmt: skip
    for part in parts:
        found = known.get(part.name)
        said, seconds = ("not begun", "") if found is None else (found.said, f"{found.seconds:.0f}")
        said = re.sub(r"[|\n]", " ", said)[:200]
        text.append(f"| {part.name} | {part.tells} | {said} | {seconds} |")
    for part in parts:
        if part.name in known:
            text += ["", f"## {part.name}", "", "```", *known[part.name].lines, "```"]
    (folder / "table.md").write_text("\n".join(text) + "\n", "utf-8")


def read_state(path):
    """Return the outcomes of earlier runs by name."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text("utf-8"))
    return {each["name"]: Outcome(**{**each, "lines": tuple(each["lines"])}) for each in kept}


def main(args=None):
    """Run what is left to be done, and return 0 if all of it was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=25.0, help="for all of it")
    parser.add_argument("--only", nargs="+", default=None, help="names of parts")
    parser.add_argument("--again", nargs="+", default=[], help="names of parts")
    parser.add_argument("--structure", type=Path, help="file of atoms to learn")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(args)
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.structure is not None:
        options.structure = options.structure.resolve()
    if not options.tiny and not torch.cuda.is_available():
        print("torch sees no GPU here; --tiny tries all parts at their least on the processor")
        return 1
    all_parts, state = parts_of(options), options.out / "state.json"
    names = [part.name for part in all_parts]
    for name in [*(options.only or []), *options.again]:
        if name not in names:
            parser.error(f"there is no part {name!r}; parts are {', '.join(names)}")
    known = {name: one for name, one in read_state(state).items() if name not in options.again}
    ends = time.monotonic() + 60 * options.minutes
    chosen = [part for part in all_parts if options.only is None or part.name in options.only]
    for part in chosen:
        left_s = ends - time.monotonic()
        if (part.name in known and known[part.name].said == "done") or left_s <= 0:
            continue
        print(f"{part.name}: {part.tells}, at most {min(part.limit_s, left_s):.0f} s", flush=True)
        known[part.name] = run(part, options.out, min(part.limit_s, left_s))
        print(f"{part.name}: {known[part.name].said}", flush=True)
        state.write_text(json.dumps([asdict(one) for one in known.values()], indent=1), "utf-8")
        write_table(options.out, all_parts, known)
    write_table(options.out, all_parts, known)
    print(options.out / "table.md")
    return int(any(part.name not in known or known[part.name].said != "done" for part in chosen))


if __name__ == "__main__":
    sys.exit(main())
