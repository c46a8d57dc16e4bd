"""The reconstruction backends by name."""

from ..errors import OptionError
from ..vocabulary import Backend
from .protocol import Reconstructor


def make_reconstructor(
    backend: Backend | str,
    *,
    bin_dir: str | None = None,
    mpirun: str | None = None,
    n_processes: int = 1,
    container: str | None = None,
    device: str | None = None,
    memory_gb: float | None = None,
    sharded: bool = False,
) -> Reconstructor:
    """Return the reconstructor of that name.

    Parameters
    ----------
    backend : `native`, `torch` or `relion`
    bin_dir : folder of RELION's programs; looked up on PATH when None
    mpirun : MPI launcher for `n_processes` > 1; looked up on PATH when None
    n_processes : number of RELION processes
    container : Singularity or Apptainer image that holds RELION
    device : where torch computes; the GPU if there is one, else the CPU, when None
    memory_gb : most memory torch may use there; see `TorchReconstructor`
    sharded : share the particles among the processes that `torchrun` started, if it did

    Raises
    ------
    OptionError
        If there is no such backend or device, or RELION is to be shared among torchrun's processes.
    """
    # imported here, so that no program is loaded before it is chosen
    from .sharding import ALONE, join_shards

    chosen = Backend.parse(backend)
    shards = join_shards() if sharded else ALONE
    if chosen is Backend.NATIVE:
        from .native import NativeReconstructor

        return NativeReconstructor(shards)
    if chosen is Backend.TORCH:
        from .torch_engine import TorchReconstructor

        return TorchReconstructor(device, memory_gb, shards)
    if shards.size > 1:
        raise OptionError(
            f"torchrun started {shards.size} processes, but RELION brings its own (MPI); run it "
            "without torchrun, or use the native or torch backend"
        )
    from .relion import RelionReconstructor

    return RelionReconstructor(
        bin_dir=bin_dir, mpirun=mpirun, n_processes=n_processes, container=container
    )
