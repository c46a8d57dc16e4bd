"""Where the CTFs of simulated particles come from: ranges, or somebody's particles."""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cesped.data.aberrations import unmodelled_aberrations
from cesped.data.interop.cryosparc import read_cryosparc
from cesped.data.interop.relion import from_star
from cesped.data.star_columns import open_star_columns
from cesped.errors import MetadataError, MissingFileError, OptionError
from cesped.geometry.poses import Poses
from cesped.physics.ctf import CtfParameters

_log = logging.getLogger(__name__)

_RANDOM_SUBSET = "rlnRandomSubset"
_FIELDS = tuple(field.name for field in fields(CtfParameters))
_NEEDED = _FIELDS[:6]


@dataclass(frozen=True)
class OpticsRanges:
    """What CTFs are drawn from: each value uniform between the two of its range.

    Parameters
    ----------
    defocus_angst : mean of the two defoci
    astigmatism_angst : difference of the two defoci, in a direction drawn uniformly
    phase_shift_deg : of a phase plate
    b_factor_angst2 : damping exp(-B k^2 / 4) of the signal
    voltage_kv, spherical_aberration_mm, amplitude_contrast : of the microscope

    Raises
    ------
    OptionError
        If a range is no range.
    """

    defocus_angst: tuple[float, float] = (8000.0, 25000.0)
    astigmatism_angst: tuple[float, float] = (0.0, 500.0)
    phase_shift_deg: tuple[float, float] = (0.0, 0.0)
    b_factor_angst2: tuple[float, float] = (0.0, 0.0)
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1

    def __post_init__(self) -> None:
        for name in ("defocus_angst", "astigmatism_angst", "phase_shift_deg", "b_factor_angst2"):
            low, high = getattr(self, name)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise OptionError(
                    f"{name} is to be drawn between {low:g} and {high:g}; give the lower first"
                )
        if self.astigmatism_angst[0] < 0:
            raise OptionError(f"astigmatism of {self.astigmatism_angst[0]:g} A; it is 0 or more")

    def draw(self, count: int, generator: np.random.Generator) -> CtfParameters:
        """Return the CTFs of `count` particles."""
        mean = generator.uniform(*self.defocus_angst, count)
        astigmatism = generator.uniform(*self.astigmatism_angst, count)
        return CtfParameters(
            defocus_u_angst=mean + astigmatism / 2,
            defocus_v_angst=mean - astigmatism / 2,
            defocus_angle_deg=generator.uniform(0.0, 180.0, count),
            voltage_kv=np.full(count, self.voltage_kv),
            spherical_aberration_mm=np.full(count, self.spherical_aberration_mm),
            amplitude_contrast=np.full(count, self.amplitude_contrast),
            phase_shift_deg=generator.uniform(*self.phase_shift_deg, count),
            b_factor_angst2=generator.uniform(*self.b_factor_angst2, count),
        )


def perfect_optics(count: int) -> CtfParameters:
    """Return CTFs that are 1 at every frequency: images of the density itself.

    In focus, without aberration, all contrast being of amplitude: any program that corrects for
    the CTF finds nothing to correct.
    """
    zeros = np.zeros(count)
    return CtfParameters(zeros, zeros, zeros, np.full(count, 300.0), zeros, np.ones(count))


@dataclass(frozen=True)
class Acquisition:
    """What a file of particles says of `P` particles.

    Parameters
    ----------
    source : path, for messages
    poses : None if it has none
    ctf : None if it has none
    random_subset : `(P,)` 1 or 2; None if the file has no such column
    """

    source: str
    poses: Poses | None
    ctf: CtfParameters | None
    random_subset: NDArray[np.int64] | None

    def require_poses(self) -> Poses:
        """Return the poses; raises MetadataError if there are none."""
        if self.poses is None:
            raise MetadataError(f"{self.source} has no angles; give particles that were refined")
        return self.poses

    def require_ctf(self) -> CtfParameters:
        """Return the contrast transfer; raises MetadataError if there is none."""
        if self.ctf is None:
            raise MetadataError(
                f"{self.source} has no defocus; give a file that has, or a range of defoci"
            )
        return self.ctf


def read_acquisition(path: str | os.PathLike[str]) -> Acquisition:
    """Read poses and CTFs from a star file or a CryoSPARC file, or CTFs from a table.

    A table is CSV with a row of names, or npz with an array for each: the fields of
    `CtfParameters`, of which phase shift, B-factor and scale may be missing.

    Raises
    ------
    StarFileError, CsFileError, MetadataError, MissingFileError
        If the file is not there, or cannot be read.
    OptionError
        If its suffix is another.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; give a star, .cs, CSV or npz file")
    if file.suffix in (".star", ".cs"):
        if file.suffix == ".star":
            _warn_of_aberrations(file)
        particles = from_star(file) if file.suffix == ".star" else read_cryosparc(file)
        subset = particles.columns.get(_RANDOM_SUBSET)
        numbers = None if subset is None else np.asarray(subset).astype(np.float64).astype(np.int64)
        return Acquisition(str(file), particles.poses, particles.ctf, numbers)
    if file.suffix in (".csv", ".npz"):
        return Acquisition(str(file), None, _read_table(file), None)
    raise OptionError(f"{file}: optics are read from .star, .cs, .csv and .npz files")


def _warn_of_aberrations(file: Path) -> None:
    columns = open_star_columns(file)
    names = unmodelled_aberrations([columns.particles, columns.optics])
    if names:
        _log.warning(
            "%s states aberrations (%s), which simulated images do not have: defocus, astigmatism, "
            "Cs, amplitude contrast and phase shift are taken alone",
            file,
            ", ".join(names),
        )


def _read_table(path: Path) -> CtfParameters:
    columns = _npz_columns(path) if path.suffix == ".npz" else _csv_columns(path)
    missing = [name for name in _NEEDED if name not in columns]
    unknown = [name for name in columns if name not in _FIELDS]
    if missing or unknown:
        complaint = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
        raise MetadataError(f"{path} {complaint}; the columns of a table are {', '.join(_FIELDS)}")
    lengths = {len(values) for values in columns.values()}
    if lengths == {0}:
        raise MetadataError(f"{path} has no rows; give one for each CTF")
    try:
        return CtfParameters(**columns)
    except MetadataError as error:
        raise MetadataError(f"{path}: {error}") from error


def _npz_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: np.atleast_1d(data[name]).astype(np.float64) for name in data.files}
    except (OSError, ValueError, EOFError) as error:
        raise MetadataError(f"{path} cannot be read as an npz table of numbers: {error}") from error


def _csv_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if not rows:
        raise MetadataError(f"{path} is empty; its first row names the columns")
    names = [name.strip() for name in rows[0]]
    values = np.empty((len(rows) - 1, len(names)))
    for number, row in enumerate(rows[1:]):
        try:
            values[number] = [float(word) for word in row]
        except ValueError:
            raise MetadataError(
                f"row {number + 1} of {path} is {','.join(row)!r}; {len(names)} numbers are needed"
            ) from None
    return {name: values[:, column] for column, name in enumerate(names)}
