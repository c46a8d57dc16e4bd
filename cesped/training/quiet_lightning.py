"""Lightning without its own bars, banners and advice, and with atomic checkpoint files."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy

from ..errors import CheckpointError, OptionError
from .checkpoint import read_torch_file, write_torch_file
from .ranks import is_main_process
from .recipe import TrainingRecipe
from .sections import TrainerRecipe

_WITH_UNUSED_PARAMETERS = "ddp_find_unused_parameters_true"
#: Others divide the model, or train in processes from which nothing but weights comes back.
_STRATEGIES = ("auto", "ddp", _WITH_UNUSED_PARAMETERS)
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's log and warnings inside the block; everything is put back after it.

    Its advice (more workers, a logger, a device) does not apply: these choices are the recipe's.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
            # what torch.compile has to say about its own steps
            warnings.filterwarnings("ignore", module=r"torch\._.*")
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints whole or not at all, and reads tensors and plain values."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`."""
        del storage_options
        write_torch_file(Path(path), checkpoint)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return the checkpoint at `path`, on the CPU."""
        del map_location, weights_only
        content = read_torch_file(path)
        if not isinstance(content, dict) or "pytorch-lightning_version" not in content:
            raise CheckpointError(
                f"{path} is not the state of a stopped training; delete it to start anew, or use "
                "another folder"
            )
        return content


def make_trainer(recipe: TrainingRecipe, rounds: int, folder: Path) -> pl.Trainer:
    """Return Lightning's trainer, which prints and writes nothing by itself.

    Parameters
    ----------
    recipe : its section `trainer`, and the clipping of gradients
    rounds : Lightning's epochs
    folder : of the run

    Raises
    ------
    OptionError
        If the machine or Lightning cannot do what the recipe asks for.
    """
    chosen = recipe.trainer
    if chosen.num_nodes == 1 and _device_count(chosen) == 1 and not is_main_process():
        raise OptionError(
            "several processes were started, each of which would train a model of its own in the "
            "same folder; set trainer.devices to the number on each machine, and trainer.num_nodes"
        )
    environments = cluster_environments(chosen.num_nodes)
    try:
        return pl.Trainer(
            max_epochs=rounds,
            plugins=[AtomicCheckpointIO(), *environments],
            accelerator=chosen.accelerator,
            devices="auto" if chosen.devices is None else chosen.devices,
            num_nodes=chosen.num_nodes,
            strategy=_strategy(chosen),
            precision=chosen.precision,  # type: ignore[arg-type]
            sync_batchnorm=chosen.sync_batchnorm,
            accumulate_grad_batches=chosen.accumulate_grad_batches,
            gradient_clip_val=recipe.optimizer.gradient_clip or None,
            default_root_dir=str(folder),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,  # the averaged weights are exchanged in place around validation
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        reason = str(error).rstrip(".!")
        raise OptionError(
            f"trainer.accelerator={chosen.accelerator}, devices={chosen.devices}, "
            f"strategy={chosen.strategy}, precision={chosen.precision}: {reason}; correct the "
            "recipe, or leave these to their defaults"
        ) from error


def cluster_environments(num_nodes: int) -> list[ClusterEnvironment]:
    """Return who started the processes: torchrun, SLURM's `srun`, or nobody yet.

    Lightning would take any process inside a SLURM job for one of its tasks. A job's script runs
    but once: what it starts without `srun` would wait for the other tasks for ever, and processes
    of torchrun would all be the first. On a restart of a job Lightning would prefer its own states,
    in the middle of a round; a run is gone on with from its folder.

    Raises
    ------
    OptionError
        If several machines are wanted of a script of which only one runs, or the job does not say
        how many tasks each machine has.
    """
    if TorchElasticEnvironment.detect():
        return [TorchElasticEnvironment()]
    if not SLURMEnvironment.detect():
        return []
    if "SLURM_STEP_ID" in os.environ:
        try:
            return [SLURMEnvironment(auto_requeue=False)]
        except RuntimeError as error:
            raise OptionError(
                "this SLURM job states its tasks with --ntasks alone; state them with "
                "--ntasks-per-node, as many as trainer.devices"
            ) from error
    if num_nodes > 1:
        raise OptionError(
            f"trainer.num_nodes is {num_nodes}, but only the first machine of this SLURM job runs "
            "the command: write srun before it"
        )
    return [LightningEnvironment()]


def _strategy(chosen: TrainerRecipe) -> str | DDPStrategy:
    """Return how processes work together: Lightning's word, or its DDP without one of its habits.

    It would copy the buffers of the first process to all before every call, validation too, where
    processes call their models differently often. Ours are made the same before a validation.

    Raises
    ------
    OptionError
        For a way that is not among `_STRATEGIES`.
    """
    if chosen.strategy not in _STRATEGIES:
        raise OptionError(
            f"trainer.strategy is {chosen.strategy!r}; use one of: {', '.join(_STRATEGIES)}"
        )
    if chosen.num_nodes == 1 and _device_count(chosen) == 1:
        return "auto"
    return DDPStrategy(
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=chosen.strategy == _WITH_UNUSED_PARAMETERS,
    )


def _device_count(chosen: TrainerRecipe) -> int:
    if chosen.devices is not None:
        return chosen.devices
    return torch.cuda.device_count() if chosen.accelerator != "cpu" else 1
