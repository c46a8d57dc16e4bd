"""Train on views again and again, killed before different steps on the disk; a program.

A forked child trains and kills itself with SIGKILL just before its n-th opening to write, rename
or removal; another one goes on to the end. Children share what their parent has loaded.

Usage: python killed_views.py OUTDIR EVERY, which prints JSON; killed before each EVERY-th step
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from tiny_shards import write_shards
from tiny_views import STAGES, phantom_source, tiny_stages

from cesped.training.views.learning import train_views
from cesped.training.views.streamed import ShardViews, StreamOptions

STEPS = ("open", "os.rename", "os.remove")
SHARDS = {"steps": 5, "views": 2, "batch": 2, "lr": 1e-3, "source": "shards"}


def in_child(folder, source_of, kill_at=0):
    """Train in a forked process; return its steps on the disk, None if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            from killed_at_steps import watch

            seen = watch(folder, kill_at, STEPS)
            train_views(folder, tiny_stages(*STAGES, SHARDS), source_of)
            os.write(writing, str(seen[0]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    if status:
        sys.exit("the training failed without being killed")
    return int(answer)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def log(folder):
    """Return the log without its last column, the seconds."""
    lines = (folder / "log.csv").read_text("utf-8").splitlines()
    return [line.rpartition(",")[0] for line in lines]


def main(outdir, every):
    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    import matplotlib.backends.backend_agg  # noqa: F401  children share it

    maps, paths = phantom_source(), write_shards(outdir / "shards")

    def source_of(stage):
        if stage.source == "maps":
            return maps(stage)
        return ShardViews(paths, stage.batch, 32, StreamOptions(2, 2, 2, 1))

    total = in_child(outdir / "whole", source_of)
    kills = []
    for step in range(1, total + 1, every):
        folder = outdir / f"killed_{step}"
        if in_child(folder, source_of, step) is not None:
            sys.exit(f"the training ended before its step {step}")
        left = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        in_child(folder, source_of)
        kills.append({"left": left, "again": digests(folder), "log": log(folder)})
    whole = outdir / "whole"
    story = {"whole": digests(whole), "log": log(whole), "total": total, "kills": kills}
    json.dump(story, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(Path(sys.argv[1]), int(sys.argv[2]))
