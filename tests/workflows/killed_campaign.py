"""Run a campaign again and again, killed at different steps on the disk; a program of its own.

A forked child runs the campaign and kills itself with SIGKILL just before its n-th opening to
write, rename or removal; then another one runs it to the end. All share one process, because
starting one costs more than a campaign.

Usage: python killed_campaign.py BENCHMARK_DIR TARGET OUTDIR KILLS, which prints JSON
"""

import hashlib
import json
import os
import sys
from pathlib import Path

RECIPE = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "model.widths": [4, 4, 4],
    "model.l_max": 2,
    "model.sphere_features": 4,
    "model.so3_features": 2,
    "model.projector_order": 1,
    "model.filter_order": 1,
    "model.grid_order": 0,
    "trainer.max_steps": 4,
    "trainer.steps_per_round": 2,
    "trainer.accelerator": "cpu",
    "pretraining.projections": 16,
    "pretraining.max_steps": 2,
}


def in_child(work):
    """Run `work` in a forked process and return what it returns; None if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        except BaseException as error:
            sys.stderr.write(f"child failed: {error!r}\n")
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    if os.WEXITSTATUS(status):
        sys.exit("the campaign failed without being killed")
    return json.loads(answer)


def files(folder):
    """Return the digest and the time of change of every file."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main(benchmark_dir, target, outdir, kills):
    import torch

    from cesped.training.recipe import load_recipe
    from cesped.workflows.campaign import run_campaign

    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    recipe = load_recipe("demo", RECIPE)

    def run(folder, kill_at=0):
        from killed_at_steps import watch

        seen = watch(folder, kill_at)
        run_campaign(target, folder, recipe, benchmark_dir=benchmark_dir)
        return seen[0]

    whole = outdir / "whole"
    total = run(whole)  # compiles for the children
    stories = []
    for number in range(1, kills + 1):
        folder = outdir / f"killed_{number}"
        step = number * total // (kills + 1)
        if in_child(lambda folder=folder, step=step: run(folder, step)) is not None:
            sys.exit(f"the campaign ended before its step {step}")
        left = files(folder)
        in_child(lambda folder=folder: run(folder))
        stories.append({"step": step, "left": left, "again": files(folder)})
    json.dump({"whole": files(whole), "total": total, "kills": stories}, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
