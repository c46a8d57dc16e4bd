"""Reconstruction by RELION's own program, from Debian, from PATH, or from a container."""

import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.entry_checks import check_every_image
from ..data.table import ParticleTable
from ..errors import OptionError, ProgramError, ProgramNotFoundError
from ..geometry.symmetry import point_group
from ..io.files import staging_folder
from ..io.mrc import read_volume
from ..progress import SILENT, Progress
from ..vocabulary import Backend, CtfCorrection
from .programs import failure_message, find_program, run_program
from .protocol import HalfMaps, PoseSet, ReconstructionOptions, Volume
from .relion_star import write_relion_star
from .sampling import check_pose_sets, check_sampled_alike

_REMEDY = (
    "install RELION 3.1 (Debian and Ubuntu: apt-get install relion), give its folder with "
    "--relionBinDir or a container image with --relionSingularity, or use the native backend, "
    "which needs no RELION"
)
_MPI_REMEDY = (
    "install MPI (apt-get install openmpi-bin), give its launcher with --mpirun, or use 1 process"
)
#: The first RELION whose star files have optics groups.
_OLDEST = (3, 1)
_VERSION = re.compile(r"RELION version:\s*(\d\S*)")
_CONTAINER_ENGINES = ("apptainer", "singularity")

#: Open MPI refuses to run as root, or with more ranks than cores, unless told; others ignore this.
_MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


class RelionReconstructor:
    """The `Reconstructor` that runs `relion_reconstruct`, one run per map.

    Parameters
    ----------
    bin_dir : folder of RELION's programs; looked up on PATH when None. With a container: the
        folder inside it
    mpirun : MPI launcher and its options; `mpirun` on PATH when None
    n_processes : number of MPI processes; 1 runs the program without MPI
    container : Singularity or Apptainer image that holds RELION (and MPI, for more processes)

    Raises
    ------
    OptionError
        If `n_processes` is below 1.
    """

    name = Backend.RELION

    def __init__(
        self,
        bin_dir: str | os.PathLike[str] | None = None,
        mpirun: str | None = None,
        n_processes: int = 1,
        container: str | os.PathLike[str] | None = None,
    ) -> None:
        if n_processes < 1:
            raise OptionError(f"n_processes is {n_processes}; use at least 1")
        self.bin_dir = None if bin_dir is None else os.fspath(bin_dir)
        self.mpirun = mpirun
        self.n_processes = n_processes
        self.container = None if container is None else Path(container).expanduser().absolute()
        self._version: str | None = None

    def version(self) -> str:
        """Return the program and version, to stamp results with, for example `RELION 3.1.3`.

        Raises
        ------
        ProgramNotFoundError, ProgramError
            If the program is missing, or does not say.
        """
        if self._version is None:
            command = [*self._container_prefix([]), self._program("relion_reconstruct")]
            with staging_folder(tempfile.gettempdir(), "cesped-relion") as folder:
                log = run_program([*command, "--version"], folder)
            found = _VERSION.search(log)
            if found is None:
                message = failure_message([*command, "--version"], "did not say its version", log)
                raise ProgramError(message)
            self._version = f"RELION {found[1]}"
        return self._version

    def _check_version(self) -> None:
        """Refuse a RELION that cannot read the star file of `write_relion_star`.

        Raises
        ------
        ProgramNotFoundError, ProgramError
            If the program is missing, does not say its version, or is older than 3.1.
        """
        version = self.version()
        numbers = [int(word) for word in re.findall(r"\d+", version)[:2]]
        if (*numbers, 0)[:2] < _OLDEST:
            raise ProgramError(
                f"{self._program('relion_reconstruct')} is {version}, which knows no optics "
                f"groups; use RELION {_OLDEST[0]}.{_OLDEST[1]} or later, or the native backend"
            )

    def reconstruct(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[Volume]:
        """Return one map per pose set; see `Reconstructor.reconstruct`."""
        check_pose_sets(table, pose_sets)
        check_every_image(table, progress)  # RELION would not say which one is bad
        volumes = []
        with progress.task("RELION reconstructs", len(pose_sets)) as advance:
            for pose_set in pose_sets:
                volumes.append(self._run([table], [pose_set], options))
                advance(1)
        return volumes

    def reconstruct_halves(
        self,
        tables: tuple[ParticleTable, ParticleTable],
        pose_sets: Sequence[tuple[PoseSet, PoseSet]],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[HalfMaps]:
        """Return the maps of both halves and of all particles, in three runs per pose set."""
        for half, table in enumerate(tables):
            check_pose_sets(table, [pair[half] for pair in pose_sets])
            check_every_image(table, progress)
        check_sampled_alike(tables)
        maps = []
        with progress.task("RELION reconstructs", 3 * len(pose_sets)) as advance:
            for pair in pose_sets:
                volumes = []
                for chosen, poses in (
                    (tables[:1], pair[:1]),
                    (tables[1:], pair[1:]),
                    (tables, pair),
                ):
                    volumes.append(self._run(chosen, poses, options))
                    advance(1)
                maps.append(HalfMaps(volumes[0], volumes[1], volumes[2]))
        return maps

    def _run(
        self,
        tables: Sequence[ParticleTable],
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
    ) -> Volume:
        """Run the program in a temporary folder and return its map."""
        self._check_version()
        point_group(options.symmetry)  # RELION would name a wrong one less clearly
        pixel_size_angst = check_sampled_alike(tables)
        with staging_folder(tempfile.gettempdir(), "cesped-relion") as folder:
            command = self._command(folder, tables, pose_sets, options)
            star = folder / "particles.star"
            write_relion_star(star, tables, pose_sets, pixel_size_angst, options.ctf)
            log = run_program(command, folder, _MPI_ENVIRONMENT)
            written = folder / "map.mrc"
            if not written.exists():
                raise ProgramError(failure_message(command, "wrote no map", log))
            volume, _ = read_volume(written, pixel_size_angst)
        return np.ascontiguousarray(volume, dtype=np.float32)

    def _command(
        self,
        folder: Path,
        tables: Sequence[ParticleTable],
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
    ) -> list[str]:
        """Return the command line; file names are relative to the folder it runs in."""
        stacks = {stack.resolve().parent for table in tables for stack in table.stacks}
        prefix = self._container_prefix([folder, *sorted(stacks)])
        program = "relion_reconstruct"
        if self.n_processes > 1:
            prefix += [*self._mpi_launcher(), "-n", str(self.n_processes)]
            program = "relion_reconstruct_mpi"
        arguments = ["--i", "particles.star", "--o", "map.mrc", "--pad", str(options.padding)]
        arguments += ["--sym", options.symmetry.lower()]
        if options.ctf:
            arguments.append("--ctf")
            if tables[0].ctf_correction_done is CtfCorrection.PHASE_FLIP:
                arguments.append("--ctf_phase_flipped")
        if not options.gridding:
            arguments.append("--skip_gridding")
        if any(pose_set.weights is not None for pose_set in pose_sets):
            arguments.append("--fom_weighting")
        return [*prefix, self._program(program), *arguments]

    def _program(self, name: str) -> str:
        if self.container is not None:  # cannot be looked for from outside
            return name if self.bin_dir is None else f"{self.bin_dir}/{name}"
        return find_program(name, self.bin_dir, _REMEDY)

    def _mpi_launcher(self) -> list[str]:
        words = shlex.split(self.mpirun or "mpirun")
        if self.container is not None:  # MPI and RELION must come from the same image
            return words
        return [find_program(words[0], None, _MPI_REMEDY), *words[1:]]

    def _container_prefix(self, folders: Sequence[Path]) -> list[str]:
        if self.container is None:
            return []
        if not self.container.exists():
            raise ProgramNotFoundError(
                f"the container image {self.container} does not exist; build it from "
                "singularity/, give another with --relionSingularity, or use the native backend"
            )
        for engine in _CONTAINER_ENGINES:
            try:
                found = find_program(engine, None, "")
            except ProgramNotFoundError:
                continue
            binds = [word for folder in folders for word in ("--bind", str(folder))]
            return [found, "exec", *binds, str(self.container)]
        raise ProgramNotFoundError(
            f"neither {' nor '.join(_CONTAINER_ENGINES)} is on PATH to run {self.container}; "
            "install Apptainer, or use the native backend"
        )
