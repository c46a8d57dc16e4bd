"""Run a job again and again, killed at each of its steps on the disk; a program of its own.

A forked child does the job and kills itself with SIGKILL just before its n-th step: an opening to
write, a rename, a removal, ... What is left is listed; then the job runs once more, unharmed. All
jobs share one process, because starting one costs more than a job.

Usage: python killed_writer.py FOLDER PROJECT, which prints JSON
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
#: Every third step is enough: a file takes four, so kills fall on all kinds of them.
STRIDE = 3
WRITING = os.O_WRONLY | os.O_RDWR


def kill_at(number, folder):
    """Kill this process before its step `number` (from 1) below `folder`."""
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event not in STEPS or not str(arguments[0]).startswith(str(folder)):
            return
        if event != "open" or arguments[2] & WRITING:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def in_child(work):
    """Run `work` in a forked process; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"child failed: {error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        sys.exit("the job failed without being killed")
    return False


def files(folder):
    """Return name and digest of every file, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def jobs(project):
    """Return, by name, what prepares a folder and what then writes to it."""
    import numpy as np

    from cesped.data.demo_entry import make_entry
    from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
    from cesped.data.store import EntryStore
    from cesped.evaluation.outputs import write_evaluation
    from cesped.evaluation.results import EvaluationResult
    from cesped.io.mrc import write_volume

    star = project / "bench" / "E" / "particles_0.star"
    volume = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    demo = replace(
        DEMO_SPECIFICATIONS["DEMO"], name="TINY", n_particles_per_half=2, box=16, n_atoms=50
    )
    blank = EvaluationResult("E", "SO3", "C1", False, (), (), {}, {}, (), {}, _particles(), {})

    def add(folder):
        EntryStore(folder).add(star, None, "NEW", 0, "C1", copy_images=True, force=True)

    def evaluation(folder):
        write_evaluation(blank, {"truth": volume, "prediction": volume}, 3.0, folder)

    def old_evaluation(folder):
        write_evaluation(blank, {"truth": -volume, "prediction": volume}, 3.0, folder)

    return {
        "add": (lambda folder: None, add),
        "replace": (add, add),
        "map": (
            lambda folder: write_volume(folder / "a.mrc", -volume, 1.0),
            lambda folder: write_volume(folder / "a.mrc", volume, 1.0),
        ),
        "demo": (lambda folder: None, lambda folder: make_entry(demo, folder)),
        "other_demo": (
            lambda folder: make_entry(replace(demo, seed=1), folder),
            lambda folder: make_entry(demo, folder),
        ),
        "evaluation": (old_evaluation, evaluation),
    }


def _particles():
    import pandas as pd

    return pd.DataFrame({"id": ["1@a.mrcs"]})


def tell(prepare, work, folder):
    """Return what was there before a job, after it, and after each kill."""
    prepared, finished = folder / "prepared", folder / "finished"
    prepared.mkdir(parents=True)
    prepare(prepared)
    shutil.copytree(prepared, finished)
    work(finished)
    kills = []
    for number in count(1, STRIDE):
        place = folder / f"killed_{number}"
        shutil.copytree(prepared, place)

        def killed(place=place, number=number):
            kill_at(number, place)
            work(place)

        if not in_child(killed):
            return {"before": files(prepared), "finished": files(finished), "kills": kills}
        after_kill = files(place)
        in_child(lambda place=place: work(place))
        kills.append({"after_kill": after_kill, "again": files(place)})


def main(folder, project):
    import torch

    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    stories = {
        name: tell(prepare, work, Path(folder) / name)
        for name, (prepare, work) in jobs(Path(project)).items()
    }
    json.dump(stories, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
