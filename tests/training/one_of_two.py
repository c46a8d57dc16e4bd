"""One of the processes of a training: trains, and writes down what it read and what it has.

Started by test_several_processes.py through torchrun:

    one_of_two.py BENCHMARK_DIR RUN_DIR [DIE_AT_STEP]
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import torch.distributed
from tiny_runs import TARGET, KillAt, cnn_recipe

from cesped.training import data_module, fit
from cesped.training.batches import BatchDataset

SETTINGS = {
    "data__train_share": 0.575,  # 23 and 17 of 40: the processes validate 9 and 8
    "optimizer__schedule": "plateau",
    "optimizer__plateau_patience": 1,
    "trainer__keep": "best",
}


class DieAt(KillAt):
    """It ends the process, and not by an exception that somebody could catch."""

    def die(self):
        os._exit(9)


def main(benchmark_dir, run_dir, die_at=10**9):
    found = {"rows": []}
    read, train = BatchDataset.__getitem__, fit._Run._fit

    def watched_read(self, which):
        if len(which.rows) == 4:  # a share of a training batch; of the validation it is 8 or 1
            found["rows"].append([which.step, which.rows.tolist()])
        return read(self, which)

    def watched_train(self, *args):
        step = train(self, *args)
        digest = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            digest.update(name.encode() + value.numpy().tobytes())
        rank = torch.distributed.get_rank()
        found.update(weights=digest.hexdigest(), course=[row.val_loss for row in self.rows])
        Path(run_dir, f"rank{rank}.json").write_text(json.dumps(found))
        return step

    BatchDataset.__getitem__ = watched_read
    fit._Run._fit = watched_train
    data_module._VALIDATION_BATCH = 1  # 8 + 1 images here, 8 there: differently many calls
    recipe = cnn_recipe(trainer__devices=2, **SETTINGS)
    fit.train_half(TARGET, 0, run_dir, recipe, benchmark_dir, DieAt(int(die_at)))


if __name__ == "__main__":
    main(*sys.argv[1:])
