"""What an entry is simulated from, and the poses and optics that follow from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cesped.data.registry import HALFSETS
from cesped.data.simulation.optics import (
    Acquisition,
    OpticsRanges,
    perfect_optics,
    read_acquisition,
)
from cesped.data.simulation.poses import PreferredView, drawn_origins_px, drawn_rotations
from cesped.errors import MetadataError, MissingFileError, OptionError
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group
from cesped.physics.ctf import CtfParameters
from cesped.physics.noise_spectrum import NoiseSpectrum
from cesped.vocabulary import NoiseKind, Simulator

#: Raise it when the same plan makes other images.
_VERSION = 2
_MOST_PARTICLES = 10**8
# what the streams of random numbers are for
_POSES, _SHIFTS, _OPTICS, _SCALE, _ROWS = range(5)
NOISE_STREAM = 5
_LAST_OF_SEEDS = 0x5EED


class SimulatedHalf(NamedTuple):
    """Poses and optics of the particles of one half."""

    poses: Poses
    ctf: CtfParameters


@dataclass(frozen=True)
class SimulationPlan:
    """All that determines the images of a map, but the map.

    Parameters
    ----------
    n_particles : in each half; all of `poses_path` when None
    symmetry : point group that the map has
    poses_path : star or .cs file whose poses are taken, no particle twice; drawn when None.
        Halves follow rlnRandomSubset where it is there
    views : preferred directions of drawn poses; uniform on SO(3) when there are none
    max_shift_px, shift_sigma_px : of origins drawn anew, uniform or normal along each axis; those
        of `poses_path`, or none, when both are None
    optics : ranges that CTFs are drawn from. When None: the CTFs of `optics_path`, else those that
        `poses_path` has, else those of `OpticsRanges()`
    optics_path : star, .cs, CSV or npz file; each particle gets the CTF of a row drawn from it
    has_ctf : False for images of the density itself
    snr : variance of the CTF-modulated signal over the full frame, averaged over particles, over
        the variance of the noise; no noise when None
    noise : its spectrum: a `NoiseKind`, or a CSV file of frequency [1 / angstrom] and power
    scale_spread : deviation of the logarithm of the particles' contrast, whose mean is 1
    seed : of all that is drawn
    simulator : which program projects

    Raises
    ------
    OptionError, SymmetryError
        If values are out of range or exclude each other.
    """

    n_particles: int | None = None
    symmetry: str = "C1"
    poses_path: Path | None = None
    views: tuple[PreferredView, ...] = ()
    max_shift_px: float | None = None
    shift_sigma_px: float | None = None
    optics: OpticsRanges | None = None
    optics_path: Path | None = None
    has_ctf: bool = True
    snr: float | None = None
    noise: NoiseKind | Path = NoiseKind.WHITE
    scale_spread: float = 0.0
    seed: int = 0
    simulator: Simulator = Simulator.NATIVE

    def __post_init__(self) -> None:
        object.__setattr__(self, "symmetry", point_group(self.symmetry).name)
        if self.n_particles is None and self.poses_path is None:
            raise OptionError(
                "how many particles? Give their number (--particles), or a file of poses (--poses)"
            )
        if self.n_particles is not None and not 1 <= self.n_particles <= _MOST_PARTICLES:
            raise OptionError(f"{self.n_particles} particles in each half; use at least 1")
        if self.poses_path is not None and self.views:
            raise OptionError("poses come from a file or from preferred views, not from both")
        if self.optics is not None and self.optics_path is not None:
            raise OptionError("CTFs come from ranges or from a file, not from both")
        if not self.has_ctf and (self.optics is not None or self.optics_path is not None):
            raise OptionError("no CTF is wanted, and yet where it should come from is given")
        if self.snr is not None and not (np.isfinite(self.snr) and self.snr > 0):
            raise OptionError(f"SNR {self.snr} was given; it must be above 0, or left out")
        if not 0 <= self.scale_spread <= 2:
            raise OptionError(f"scale spread {self.scale_spread} was given; use 0 to 2")
        if self.seed < 0:
            raise OptionError(f"seed {self.seed} was given; it must be 0 or more")
        self.noise_spectrum()
        drawn_rotations(0, self.views, np.random.default_rng(0))
        drawn_origins_px(0, self.max_shift_px, self.shift_sigma_px, np.random.default_rng(0))

    def generator(self, *stream: int) -> np.random.Generator:
        """Return a source of random numbers that depends on the seed and `stream` alone."""
        # numpy takes [7, 0, 0] for 7: but for the last number, the poses of half 0 would be those
        # that `random_rotations(n, default_rng(7))` draws, and that is how random poses are drawn
        return np.random.default_rng([self.seed, *stream, _LAST_OF_SEEDS])

    def noise_spectrum(self) -> NoiseSpectrum | None:
        """Return the spectrum of the noise; None for white."""
        if isinstance(self.noise, NoiseKind):
            return None if self.noise is NoiseKind.WHITE else NoiseSpectrum.falling()
        return read_noise_table(self.noise)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as it is kept with the entry: files by name and checksum."""
        content: dict[str, Any] = dataclasses.asdict(self)
        if self.has_ctf and self.optics is None and self.optics_path is None:
            # what is drawn from where the file of poses, if there is one, has no CTFs
            content["optics"] = dataclasses.asdict(OpticsRanges())
        for name in ("poses_path", "optics_path", "noise"):
            value = content[name]
            if isinstance(value, Path):
                content[name] = {"file": value.name, "sha256": sha256_of_file(value)}
        return content

    def fingerprint(self, *more: str) -> str:
        """Return a name of what this plan makes of what `more` stands for."""
        text = json.dumps([_VERSION, self.to_dict(), *more], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256_of_file(path: Path) -> str:
    """Return the checksum of a file.

    Raises
    ------
    MissingFileError
        If it does not exist.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; correct the name")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def draw_halves(
    plan: SimulationPlan, pixel_size_angst: float
) -> tuple[SimulatedHalf, SimulatedHalf]:
    """Return poses and optics of both halves: the same plan gives the same ones, always.

    Raises
    ------
    MetadataError
        If a file has fewer particles than are wanted, or lacks poses or CTFs.
    """
    given = None if plan.poses_path is None else read_acquisition(plan.poses_path)
    table = None if plan.optics_path is None else read_acquisition(plan.optics_path).require_ctf()
    first, second = (
        _draw_half(plan, halfset, pixel_size_angst, given, table) for halfset in HALFSETS
    )
    if given is not None and not (len(first.poses) and len(second.poses)):
        raise MetadataError(f"{given.source} has too few particles for two halves; give more")
    return first, second


def _draw_half(
    plan: SimulationPlan,
    halfset: int,
    pixel_size_angst: float,
    given: Acquisition | None,
    table: CtfParameters | None,
) -> SimulatedHalf:
    rows = np.arange(plan.n_particles or 0)
    if given is None:
        rotations = drawn_rotations(len(rows), plan.views, plan.generator(_POSES, halfset))
        origins_angst = np.zeros((len(rows), 2))
    else:
        rows = _rows_of_half(plan, given, halfset)
        poses = given.require_poses().select(rows)
        rotations, origins_angst = poses.rotations, poses.origins_angst
    count = len(rows)
    if plan.max_shift_px is not None or plan.shift_sigma_px is not None:
        generator = plan.generator(_SHIFTS, halfset)
        origins_px = drawn_origins_px(count, plan.max_shift_px, plan.shift_sigma_px, generator)
        origins_angst = origins_px * pixel_size_angst
    ctf = _optics_of_half(plan, halfset, count, rows, given, table)
    if plan.scale_spread:
        spread = plan.scale_spread
        drawn = plan.generator(_SCALE, halfset).normal(-(spread**2) / 2, spread, count)
        ctf = dataclasses.replace(ctf, scale=ctf.scale * np.exp(drawn))
    return SimulatedHalf(Poses(rotations, origins_angst, np.ones(count)), ctf)


def _optics_of_half(
    plan: SimulationPlan,
    halfset: int,
    count: int,
    rows: NDArray[np.int64],
    given: Acquisition | None,
    table: CtfParameters | None,
) -> CtfParameters:
    if not plan.has_ctf:
        return perfect_optics(count)
    generator = plan.generator(_OPTICS, halfset)
    if table is not None:
        return table.select(generator.integers(0, len(table), count))
    if plan.optics is None and given is not None and given.ctf is not None:
        return given.ctf.select(rows)
    return (plan.optics or OpticsRanges()).draw(count, generator)


def _rows_of_half(plan: SimulationPlan, given: Acquisition, halfset: int) -> NDArray[np.int64]:
    """Return which particles of a file make a half; no particle is in both."""
    subset, total = given.random_subset, len(given.require_poses())
    if subset is not None and set(np.unique(subset)) == {1, 2}:
        own = np.flatnonzero(subset == halfset + 1)
    else:
        shuffled = plan.generator(_ROWS).permutation(total)
        own = np.sort(shuffled[halfset::2])
    if plan.n_particles is None:
        return own
    if plan.n_particles > len(own):
        raise MetadataError(
            f"{plan.n_particles} particles are wanted in half {halfset}, and {given.source} has "
            f"{len(own)} for it; ask for fewer, or draw poses"
        )
    chosen = plan.generator(_ROWS, 1 + halfset).choice(len(own), plan.n_particles, replace=False)
    return np.asarray(own[np.sort(chosen)])


def read_noise_table(path: Path) -> NoiseSpectrum:
    """Read a noise spectrum: CSV lines of frequency [1 / angstrom] and power.

    Lines that begin with a letter or # are comments.

    Raises
    ------
    MissingFileError, MetadataError, OptionError
        If the file is not there, is no table of two numbers, or no spectrum.
    """
    if not path.is_file():
        kinds = ", ".join(kind.value for kind in NoiseKind)
        raise MissingFileError(f"{path} is neither a kind of noise ({kinds}) nor a file")
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text[0] == "#" or text[0].isalpha():
            continue
        try:
            frequency, power = (float(word) for word in text.split(","))
        except ValueError:
            raise MetadataError(
                f"line {number} of {path} is {text!r}; frequency and power are needed"
            ) from None
        pairs.append((frequency, power))
    columns = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return NoiseSpectrum(columns[:, 0], columns[:, 1])
