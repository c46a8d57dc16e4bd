"""Processes that train one network on views together: their devices, and how gradients meet.

Several processes work through Lightning's Fabric, whose launcher, cluster environments (torchrun,
SLURM) and strategies are those of Lightning's trainer, with a loop of one's own: a training goes
through stages of different sets, and is gone on with in the middle of one. One process alone needs
none of it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from ...errors import OptionError
from ...models.cryofastar.model import CryoFastAR
from ..ranks import is_main_process
from .sections import ViewsTrainer


class Team:
    """The processes of a training, and which of them this is.

    Parameters
    ----------
    trainer : says how many there are, and how they divide the work
    device : cpu, cuda or, of one process, one of several GPUs

    Attributes
    ----------
    device : of this process
    rank, size : which of how many processes this is

    Raises
    ------
    OptionError
        If other processes were started than the recipe says.
    """

    def __init__(self, trainer: ViewsTrainer, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.rank, self.size = 0, 1
        self.is_divided = trainer.strategy == "fsdp"
        self._fabric: Any = None
        self._module: Any = None
        count = trainer.devices or (torch.cuda.device_count() if self.device.type == "cuda" else 1)
        if count * trainer.num_nodes > 1:
            self._meet(trainer, count)
        elif not is_main_process():
            raise OptionError(
                "several processes were started, each of which would train a network of its own "
                "in the same folder; set trainer.devices to the number on each machine, and "
                "trainer.num_nodes"
            )

    def _meet(self, trainer: ViewsTrainer, count: int) -> None:
        from lightning.fabric import Fabric
        from lightning.fabric.strategies.ddp import DDPStrategy
        from lightning.fabric.strategies.model_parallel import ModelParallelStrategy

        from ..quiet_lightning import cluster_environments, quiet_lightning

        strategy: Any
        if self.is_divided:
            strategy = ModelParallelStrategy(
                _divide,
                data_parallel_size=count * trainer.num_nodes,
                tensor_parallel_size=1,
            )
        else:
            strategy = DDPStrategy(gradient_as_bucket_view=True)
        with quiet_lightning():
            environments = cluster_environments(trainer.num_nodes)
            try:
                self._fabric = Fabric(
                    accelerator=self.device.type,
                    devices=count,
                    num_nodes=trainer.num_nodes,
                    strategy=strategy,
                    plugins=cast(Any, environments) or None,
                )
                self._fabric.launch()
            except (ValueError, TypeError) as error:
                raise OptionError(
                    f"trainer.devices={count}, trainer.num_nodes={trainer.num_nodes} on "
                    f"{self.device.type}: {error} Correct the recipe, or the number of processes"
                ) from error
        self.device = self._fabric.device
        self.rank, self.size = self._fabric.global_rank, self._fabric.world_size

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self._fabric is not None:
            self._fabric.barrier()

    def own(self, count: int, parts: int, what: str) -> range:
        """Return which of `count` things are this process's.

        Raises
        ------
        OptionError
            If they do not come apart into equal shares of as many parts.
        """
        if count % (self.size * parts):
            raise OptionError(
                f"{what} is {count}; it must be a multiple of {self.size * parts}: {self.size} "
                f"processes, each with trainer.parts {parts}"
            )
        each = count // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def join(self, model: CryoFastAR) -> nn.Module:
        """Return the network as it is to be called, on the device; its weights may be divided."""
        if self._fabric is None:
            self._module = model.to(self.device)
        else:
            self._module = self._fabric.setup_module(model)
        return cast(nn.Module, self._module)

    @contextlib.contextmanager
    def part(self, is_last: bool) -> Iterator[None]:
        """Work on a part of a batch: gradients of all processes meet at the last one."""
        if self._fabric is None:
            yield
            return
        with self._fabric.no_backward_sync(self._module, enabled=not is_last):
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss, which become means over all processes."""
        if self._fabric is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._fabric.backward(loss)


def _divide(model: CryoFastAR, mesh: Any) -> CryoFastAR:
    """Divide the weights of each block, and those of the rest, among all processes."""
    from torch.distributed.fsdp import fully_shard

    for block in blocks_of(model):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(model, mesh=mesh["data_parallel"])
    return model


def blocks_of(model: CryoFastAR) -> list[nn.Module]:
    """Return the blocks that nearly all of the work is done in."""
    return [*model.encoder, *model.integrate, *model.update]


def whole(value: Any, keep: bool = True) -> Any:
    """Return tensors, in any nesting, in one piece on the processor.

    Parameters
    ----------
    value : tensors, and plain values
    keep : whether this process wants them; all must ask, and the others get None for each, so that
        the memory of a machine holds the weights once
    """
    if hasattr(value, "full_tensor"):  # one of torch's that are divided
        together = value.full_tensor()
        return together.detach().cpu() if keep else None
    if isinstance(value, torch.Tensor):
        return value.detach().cpu() if keep else None
    if isinstance(value, dict):
        return {key: whole(each, keep) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(each, keep) for each in value)
    return value


def divide_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Divide what an optimizer remembers of each weight as the weight itself is divided."""
    for weight, remembered in cast(dict[Any, dict[str, Any]], optimizer.state).items():
        if not hasattr(weight, "placements"):
            continue
        from torch.distributed.tensor import distribute_tensor

        for name, value in remembered.items():
            if isinstance(value, torch.Tensor) and value.dim():
                remembered[name] = distribute_tensor(value, weight.device_mesh, weight.placements)
