"""What a run does besides learning: reports progress, keeps its history and its best weights."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DivergedError
from ..progress import Advance
from .history import HistoryRow, RunLog
from .module import PoseModule
from .ranks import gathered, is_true_everywhere


class ReportProgress(pl.Callback):
    """Tells `advance` of every step, and learns where a resumed run begins."""

    def __init__(self, advance: Advance) -> None:
        self.first_step = 0
        self._advance = advance

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the steps of the run that is resumed."""
        del pl_module
        self.first_step = trainer.global_step
        self._advance(trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count one step, at the last part of its batch."""
        del pl_module, outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._advance(1)


class SaveState(pl.Callback):
    """Writes the state of the run after every round, so that a killed run goes on from there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it; a Lightning epoch is a round here."""
        del pl_module
        trainer.save_checkpoint(self._path)


class KeepHistory(pl.Callback):
    """Collects a `HistoryRow` per round and acts on the validation loss.

    Parameters
    ----------
    log : keeps the rows, in the main process
    steps_per_epoch : to count epochs
    keep_best : called with the row whenever its validation loss is the least so far
    stop_patience : rounds without a better loss after which the run stops; 0 for never
    halve_patience : rounds without a better loss after which the rate is halved; 0 for never
    """

    def __init__(
        self,
        log: RunLog,
        steps_per_epoch: int,
        keep_best: Callable[[HistoryRow], None],
        stop_patience: int = 0,
        halve_patience: int = 0,
    ) -> None:
        self.rows: list[HistoryRow] = []
        self._log = log
        self._steps_per_epoch = steps_per_epoch
        self._keep_best = keep_best
        self._stop_patience = stop_patience
        self._halve_patience = halve_patience
        self._best_loss = float("inf")
        self._rounds_since_best = 0
        self._rounds_since_change = 0
        self._losses: list[torch.Tensor] = []
        self._started_s = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a round."""
        del trainer, pl_module
        self._losses, self._started_s = [], time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Remember the loss without waiting for the device."""
        del trainer, pl_module, args
        self._losses.append(outputs["loss_of_part"])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a run that cannot recover: one without numbers would go on to the end.

        Raises
        ------
        DivergedError
            If a loss of the round, or a weight, is not finite.
        """
        values = [torch.stack(self._losses)] if self._losses else []
        values += [weight.detach() for weight in pl_module.parameters()]
        finite = all(bool(torch.isfinite(value).all()) for value in values)
        if not is_true_everywhere(finite):
            raise DivergedError(
                f"the training diverged before step {trainer.global_step}: losses or weights are "
                "not finite; train with a lower optimizer.lr"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the round."""
        if not self._losses:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        losses = _mean_of_parts(torch.stack(self._losses).float(), trainer.accumulate_grad_batches)
        row = HistoryRow(
            step=trainer.global_step,
            epoch=trainer.global_step / self._steps_per_epoch,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            train_loss=float(losses.mean()),
            val_loss=values["val_loss"],
            val_mean_error_deg=values["val_mean_error_deg"],
            val_median_error_deg=values["val_median_error_deg"],
            seconds=time.monotonic() - self._started_s,
        )
        self.rows.append(row)
        self._judge(row, trainer, cast(PoseModule, pl_module))
        if trainer.is_global_zero:
            self._log.write(self.rows, losses)

    def _judge(self, row: HistoryRow, trainer: pl.Trainer, module: PoseModule) -> None:
        """Keep what is better; slow down or stop where nothing gets better."""
        if row.val_loss < self._best_loss:
            self._best_loss = row.val_loss
            self._rounds_since_best = self._rounds_since_change = 0
            self._keep_best(row)
            return
        self._rounds_since_best += 1
        self._rounds_since_change += 1
        if self._halve_patience and self._rounds_since_change >= self._halve_patience:
            self._rounds_since_change = 0
            module.halve_rate()
        if self._stop_patience and self._rounds_since_best >= self._stop_patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "best_loss": self._best_loss,
            "rounds_since_best": self._rounds_since_best,
            "rounds_since_change": self._rounds_since_change,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.rows = [HistoryRow(**row) for row in state_dict["rows"]]
        self._best_loss = state_dict["best_loss"]
        self._rounds_since_best = state_dict["rounds_since_best"]
        self._rounds_since_change = state_dict["rounds_since_change"]


def _mean_of_parts(losses: torch.Tensor, parts: int) -> NDArray[np.float64]:
    """Return the loss of each step, over the parts of its batch and over all processes."""
    own = losses.cpu().double().numpy().reshape(-1, parts).mean(axis=1)
    of_all: NDArray[np.float64] = gathered(own[None]).mean(axis=0)
    return of_all
