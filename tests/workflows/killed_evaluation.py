"""Evaluate again and again, killed while maps are made and at steps on the disk; its own program.

A forked child evaluates into a folder that holds the score of other poses and a cache of maps, and
kills itself with SIGKILL: in the midst of the particles of a map, or just before one of its steps
on the disk. What is left is listed; then another child evaluates to the end. With `plain` the page,
which takes longest, is replaced by a list of the figures that it would show.

Usage: python killed_evaluation.py FOLDER STRIDE plain|whole, which prints JSON.
"""

import json
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from killed_campaign import files, in_child

FIGURES = "metrics.json"


class Deadly:
    """A progress that kills this process when it is told of particles for the n-th time."""

    def __init__(self, kill_at):
        self.kill_at, self.seen = kill_at, 0

    @contextmanager
    def task(self, description, total, *, in_bytes=False, done=0):
        def advance(units):
            self.seen += 1
            if self.seen == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        yield advance


def figures(folder):
    """Return what a score says, without when and where it was found."""
    ours = json.loads((folder / FIGURES).read_text())["cesped"]
    return [ours["rows"], ours["reference_rows"], ours["fsc"]]


def write_list(result, path, *_):
    from cesped.io.files import write_text_atomic

    return write_text_atomic(path, repr(result.metrics))


def main(folder, stride, page):
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from fake_entry import write_fake_entry
    from killed_at_steps import watch

    from cesped.progress import SILENT
    from cesped.report import html
    from cesped.vocabulary import PredictionType
    from cesped.workflows.scoring import ScoringOptions, score_predictions

    if page == "plain":
        html.write_report = write_list
    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    entry = write_fake_entry(folder, n_particles=24, box=24, with_mask=True)
    stars = (entry.star(0), entry.star(1))

    def run(place, kill_at=0, progress=SILENT, kind=PredictionType.SO3XR2):
        seen = watch(place, kill_at)
        options = ScoringOptions(prediction_type=kind, threads=1, map_cache=place / "cache")
        score_predictions(
            "FAKE", stars, place / "out", options,
            benchmark_dir=entry.benchmark_dir, reuse=True, progress=progress,
        )  # fmt: skip
        return seen[0]

    def counted(place):
        watcher = Deadly(0)
        return run(place, progress=watcher), watcher.seen

    old, whole = folder / "old", folder / "whole"
    in_child(lambda: run(old, kind=PredictionType.S2))  # a score of other poses lies there
    shutil.rmtree(old / "cache")
    shutil.copytree(old, whole)
    run(whole)  # compiles for the children
    counting = folder / "counting"
    shutil.copytree(old, counting)
    n_steps, n_told = in_child(lambda: counted(counting))
    stories = []
    deaths = [("step", number) for number in range(1, n_steps + 1, stride)]
    deaths += [("particles", number) for number in range(1, n_told, max(1, n_told // 3))]
    for kind, number in deaths:
        place = folder / f"{kind}_{number}"
        shutil.copytree(old, place)

        def die(place=place, kind=kind, number=number):
            if kind == "step":
                return run(place, number)
            return run(place, progress=Deadly(number))

        if in_child(die) is not None:
            sys.exit(f"the evaluation ended before its {kind} {number}")
        left = files(place)
        in_child(lambda place=place: run(place))
        stories.append(
            {
                "death": f"{kind} {number}",
                "left": sorted(left),
                "left_figures": figures(place / "out") if f"out/{FIGURES}" in left else None,
                "again": files(place),
                "figures": figures(place / "out"),
            }
        )
        shutil.rmtree(place)
    told = {"old": figures(old / "out"), "whole": figures(whole / "out"), "files": files(whole)}
    json.dump({**told, "steps": n_steps, "told": n_told, "kills": stories}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
