"""Train on views with two processes, in several ways, and with one; a program.

Each process is forked from this one, which has loaded what they need, and is told by the variables
of torchrun which it is. The first of each team writes gradients and weights.

Usage: python views_team.py OUTDIR
"""

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from free_port import free_port
from tiny_shards import write_shards
from tiny_views import STAGES, phantom_source, tiny_stages

from cesped.errors import CespedError
from cesped.training.views.learning import train_views
from cesped.training.views.streamed import ShardViews, StreamOptions
from cesped.training.views.team import Team, whole

SHARDS = {"steps": 3, "views": 3, "batch": 4, "lr": 1e-3, "source": "shards", "snr": [1, 2]}
WAYS = {
    "one": {"devices": 1, "parts": 2},
    "ddp": {"devices": 2, "strategy": "ddp"},
    "fsdp": {"devices": 2, "strategy": "fsdp", "checkpointing": True},
    "ddp in parts": {"devices": 2, "parts": 2},
}
#: divided and killed with the draw of this number, gone on with undivided
KILLED_AT = 9


def train(folder, way, paths, name=None, die_at=None):
    name = name or way
    recipe = tiny_stages(STAGES[0], SHARDS, gradient_clip=0.5, **WAYS[way])
    team = Team(recipe.trainer)
    maps, gradients, drawn = phantom_source(), [], []
    step = torch.optim.AdamW.step

    def watched_step(self, *args, **options):
        weights = [weight for group in self.param_groups for weight in group["params"]]
        found = [whole(weight.grad) for weight in weights if weight.grad is not None]
        gradients.append([value.clone() for value in found])
        return step(self, *args, **options)

    torch.optim.AdamW.step = watched_step

    def source_of(stage):
        if stage.source == "maps":
            source = maps(stage)
        else:
            options = StreamOptions(lanes=2, buffer=2, uses=2, workers=1)
            source = ShardViews(paths, stage.batch, 32, options, stage.snr)
        draw = source.draw

        def watched_draw(numbers, views, stream):
            drawn.append((stream[1:], numbers))
            if len(drawn) == die_at:
                os._exit(9)
            return draw(numbers, views, stream)

        object.__setattr__(source, "draw", watched_draw)
        return source

    done = train_views(folder / name, recipe, source_of, team=team)
    facts = {"gradients": gradients, "drawn": drawn, "rows": [row.train_loss for row in done.rows]}
    facts["errors"] = [row.rotation_error for row in done.rows]
    torch.save(facts, folder / f"{name} {team.rank}.pt")


def refuse(folder):
    """A batch that two processes cannot divide."""
    recipe = tiny_stages({**STAGES[0], "batch": 3}, devices=2)
    try:
        train_views(folder / "refused", recipe, phantom_source(), team=Team(recipe.trainer))
    except CespedError as error:
        (folder / f"refused {os.environ['RANK']}.txt").write_text(str(error), "utf-8")


def run_forked(size, work, *args, expected=0):
    port = free_port()
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if size > 1:
                    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size}
                    names |= {"LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0, "MASTER_PORT": port}
                    names |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
                    os.environ.update({name: str(value) for name, value in names.items()})
                work(*args)
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if codes != [expected] * size:
        sys.exit(f"{work.__name__} {args[1:]} ended with {codes}")


def main(folder):
    import lightning.pytorch  # noqa: F401
    import matplotlib.backends.backend_agg  # noqa: F401

    torch.set_num_threads(1)
    paths = write_shards(folder / "shards")
    for way, trainer in WAYS.items():
        run_forked(trainer["devices"], train, folder, way, paths)
    run_forked(2, train, folder, "fsdp", paths, "killed", KILLED_AT, expected=9)
    run_forked(2, train, folder, "ddp", paths, "killed")
    run_forked(2, refuse, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
