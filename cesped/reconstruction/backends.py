"""The reconstruction backends by name."""

from ..vocabulary import Backend
from .protocol import Reconstructor


def make_reconstructor(
    backend: Backend | str,
    *,
    bin_dir: str | None = None,
    mpirun: str | None = None,
    n_processes: int = 1,
    container: str | None = None,
) -> Reconstructor:
    """Return the reconstructor of that name; all but `backend` concern RELION alone.

    Parameters
    ----------
    backend : `native` or `relion`
    bin_dir : folder of RELION's programs; looked up on PATH when None
    mpirun : MPI launcher for `n_processes` > 1; looked up on PATH when None
    n_processes : number of RELION processes
    container : Singularity or Apptainer image that holds RELION

    Raises
    ------
    OptionError
        If there is no such backend.
    """
    # imported here, so that neither program is loaded before it is chosen
    if Backend.parse(backend) is Backend.NATIVE:
        from .native import NativeReconstructor

        return NativeReconstructor()
    from .relion import RelionReconstructor

    return RelionReconstructor(
        bin_dir=bin_dir, mpirun=mpirun, n_processes=n_processes, container=container
    )
