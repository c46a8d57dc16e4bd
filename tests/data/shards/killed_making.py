"""Several processes make shards and are killed at random, again and again; a program.

Usage: python killed_making.py STRUCTURES OUT SEED ROUNDS, which prints how many were killed
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from killed_at_steps import watch_calls

from cesped.data.shards.making import make_shards
from cesped.data.shards.plan import ShardPlan, structures_in
from cesped.data.simulation.plan import SimulationPlan

PROCESSES = 4


def plan_of(folder):
    return ShardPlan(
        folder,
        structures_in(folder),
        SimulationPlan(n_particles=64, has_ctf=False),
        box=48,
        structures_per_shard=4,
    )


def fork_one(plan, out, part, kill_at):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch_calls(kill_at)
            make_shards(plan, out, part)
            code = 0
        finally:
            os._exit(code)
    return child


def main(folder, out, seed, rounds):
    torch.set_num_threads(1)
    plan, generator = plan_of(folder), np.random.default_rng(seed)
    make_shards(plan, out / "first")  # compiles
    seen = watch_calls()
    make_shards(plan, out / "whole")
    sys.setprofile(None)
    # two that die so early do not make a whole shard together: in the first round all die
    longest = seen[0] // (2 * PROCESSES + 2)
    killed = 0
    for round_number in range(rounds + 1):
        # as many processes as will, some at the same shards: parts of 4, and of all
        parts = [(i, PROCESSES) for i in range(PROCESSES)] + [(0, 1)]
        deaths = generator.integers(1, longest, len(parts))
        if round_number == rounds:
            deaths[:] = 0
        children = [
            fork_one(plan, out / "killed", part, int(kill_at))
            for part, kill_at in zip(parts, deaths, strict=True)
        ]
        for child in children:
            status = os.waitpid(child, 0)[1]
            killed += os.WIFSIGNALED(status)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                sys.exit(f"a process ended with {os.WEXITSTATUS(status)}")
    left = sorted(path.name for path in (out / "killed").iterdir())
    json.dump({"killed": killed, "left": left}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
