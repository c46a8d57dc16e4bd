"""What cryoDRGN's pickles mean, and how ours are written as such.

`poses.pkl` is a tuple of rotations `(N, 3, 3)` and translations `(N, 2)`. cryoDRGN turns row
vectors, `x_volume = x_image @ M`, so M is the transpose of our rotation; a translation is RELION's
origin as a fraction of the box. `ctf.pkl` is an array `(N, 9)`: box [px], pixel size [angstrom/px],
defocus U and V [angstrom], defocus angle [degrees], voltage [kV], spherical aberration [mm],
amplitude contrast and phase shift [degrees], for images of that box; the same particles downsampled
keep box x pixel size. Neither names its images: rows are in the order of the particle file that
cryoDRGN was given.

Proved by projecting a map by these rules and comparing images, in
tests/data/interop/test_cryodrgn.py. cryoDRGN's own CTF has the opposite sign of ours, and it
inverts images on reading unless told not to: bright particles are what it expects, as we do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cesped.data.interop.exchange import ExchangedParticles, listed
from cesped.errors import GeometryError, MetadataError, PickleFileError, PixelSizeError
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import check_rotations
from cesped.io.mrc import inspect_mrc
from cesped.io.pickles import read_pickle
from cesped.physics.ctf import CtfParameters

CTF_COLUMNS = (
    "box",
    "pixel_size_angst",
    "defocus_u_angst",
    "defocus_v_angst",
    "defocus_angle_deg",
    "voltage_kv",
    "spherical_aberration_mm",
    "amplitude_contrast",
    "phase_shift_deg",
)
_SAME_CTF = 2e-4  # relative: float32 and six printed digits
_SAME_WIDTH = 0.01  # relative: headers are rounded


@dataclass(frozen=True)
class CryoDrgnPickles:
    """The arrays of cryoDRGN's pickles, as they are in the files.

    Parameters
    ----------
    source : the files, for messages
    rotations : `(N, 3, 3)`, row vectors times matrix; None without a pose pickle
    translations : `(N, 2)` as fractions of the box; None if there are none
    ctf : `(N, 9)`, see `CTF_COLUMNS`; None without a CTF pickle
    """

    source: str
    rotations: NDArray[np.float64] | None = None
    translations: NDArray[np.float64] | None = None
    ctf: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        first = self.rotations if self.rotations is not None else self.ctf
        return 0 if first is None else len(first)


def read_pickles(*paths: str | os.PathLike[str]) -> CryoDrgnPickles:
    """Read pickles of poses and CTF, in any order: their shapes say which is which.

    Raises
    ------
    MissingFileError, PickleFileError
        If one cannot be read, is neither, or two are the same.
    GeometryError
        If a matrix is no rotation; names the first.
    """
    arrays: dict[str, NDArray[np.float64]] = {}
    for path in paths:
        for name, value in _contents(read_pickle(path), str(path)).items():
            if name in arrays:
                raise PickleFileError(f"{path} holds {name}, and so does another file: give one")
            arrays[name] = value
    source = " and ".join(map(str, paths))
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise PickleFileError(
            f"{source} hold {len(arrays['rotations'])} poses and {len(arrays['ctf'])} CTFs: give "
            "the files of one data set"
        )
    return CryoDrgnPickles(
        source, arrays.get("rotations"), arrays.get("translations"), arrays.get("ctf")
    )


def images_of_stack(
    path: str | os.PathLike[str], name: str, pickles: CryoDrgnPickles
) -> ExchangedParticles:
    """Return all images of an MRC stack, in order, without poses.

    Parameters
    ----------
    path : the stack
    name : what image names should call it
    pickles : for the pixel size, if the CTF is among them

    Raises
    ------
    MrcFileError, MissingFileError
        If the stack cannot be read.
    PixelSizeError
        If neither the pickles nor the header know the pixel size, or they disagree.
    """
    info = inspect_mrc(path)
    count, box = info.shape[0], info.shape[2]
    header = info.voxel_size_angst
    if pickles.ctf is not None and len(pickles.ctf) == count:
        sizes = pickles.ctf[:, 0] * pickles.ctf[:, 1] / box
        known = header not in (None, 1.0)
        if known and header and np.abs(sizes - header).max() > _SAME_WIDTH * header:
            raise PixelSizeError(
                f"{pickles.source} describe images of {sizes[0] * box:.5g} angstrom, the header of "
                f"{path} {header * box:.5g} ({box} px of {header:.4g}): they are not of one data "
                "set, or one of them is wrong"
            )
    elif header:
        sizes = np.full(count, header)
    else:
        raise PixelSizeError(f"{path} states no pixel size; give the CTF pickle, which does")
    return ExchangedParticles(
        source=str(path),
        stack_names=np.full(count, name, dtype=object),
        section=np.arange(count),
        box_px=np.full(count, box),
        pixel_size_angst=sizes,
        poses=None,
        ctf=None,
        optics_group=np.ones(count, dtype=np.int64),
    )


def with_pickles(particles: ExchangedParticles, pickles: CryoDrgnPickles) -> ExchangedParticles:
    """Return `particles` with the poses of cryoDRGN, and its CTF if they have none.

    Raises
    ------
    PickleFileError
        If the numbers of particles differ.
    MetadataError
        If both have a CTF and they differ, which rows in another order do.
    """
    if len(particles) != len(pickles):
        raise PickleFileError(
            f"{pickles.source} describe {len(pickles)} particles, {particles.source} has "
            f"{len(particles)}: give the particle file that cryoDRGN was given, rows in that order"
        )
    ctf = None if pickles.ctf is None else _ctf_parameters(pickles.ctf, pickles.source)
    if ctf is not None and particles.ctf is not None:
        _check_same_ctf(particles.ctf, ctf, particles.source, pickles.source)
    poses = particles.poses
    if pickles.rotations is not None:
        origins = np.zeros((len(particles), 2))
        if pickles.translations is not None:
            width = particles.require_boxes() * particles.pixel_size_angst
            origins = pickles.translations * width[:, None]
        poses = Poses(np.swapaxes(pickles.rotations, 1, 2), origins, np.ones(len(particles)))
    return replace(particles, poses=poses, ctf=ctf if particles.ctf is None else particles.ctf)


def to_pickles(
    particles: ExchangedParticles,
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32] | None]:
    """Return the contents of `poses.pkl`, and of `ctf.pkl` if there is a CTF.

    Raises
    ------
    MetadataError
        If there are no poses, or a box is not known.
    """
    poses, box = particles.require_poses(), particles.require_boxes()
    width = (box * particles.pixel_size_angst)[:, None]
    rotations = np.swapaxes(poses.rotations, 1, 2).astype(np.float32)
    translations = (poses.origins_angst / width).astype(np.float32)
    if particles.ctf is None:
        return (rotations, translations), None
    columns: list[Any] = [box, particles.pixel_size_angst]
    columns += [getattr(particles.ctf, name) for name in CTF_COLUMNS[2:]]
    return (rotations, translations), np.stack(columns, axis=1).astype(np.float32)


def pickle_paths(out: Path) -> tuple[Path, Path]:
    """Return where poses and CTF go for the name `NAME.pkl`: `NAME.poses.pkl`, `NAME.ctf.pkl`."""
    name = out.name.removesuffix(".pkl").removesuffix(".poses").removesuffix(".ctf")
    return out.with_name(f"{name}.poses.pkl"), out.with_name(f"{name}.ctf.pkl")


def columns_left_out(particles: ExchangedParticles) -> tuple[str, ...]:
    """Return a sentence for the columns that cryoDRGN's pickles do not have."""
    lost = list(particles.columns)
    if np.ptp(particles.optics_group):
        lost.append("the optics groups")
    return (f"not part of cryoDRGN's pickles: {listed(lost)}",) if lost else ()


def _contents(value: Any, path: str) -> dict[str, NDArray[np.float64]]:
    """Return the fields of `CryoDrgnPickles` that one file holds."""
    parts = list(value) if isinstance(value, tuple | list) else [value]
    if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in parts):
        raise PickleFileError(f"{path} holds {type(value).__name__}, not cryoDRGN's arrays")
    shapes = [part.shape for part in parts]
    arrays = [part.astype(np.float64) for part in parts]
    if len(parts) == 1 and len(shapes[0]) == 2 and shapes[0][1] == len(CTF_COLUMNS):
        return {"ctf": _checked_ctf(arrays[0], path)}
    is_rotation = len(shapes[0]) == 3 and shapes[0][1:] == (3, 3)
    if len(parts) == 1 and is_rotation:
        return {"rotations": check_rotations(arrays[0], f"rotations of {path}")}
    if len(parts) == 2 and is_rotation and shapes[1] == (shapes[0][0], 2):
        rotations = check_rotations(arrays[0], f"rotations of {path}")
        return {"rotations": rotations, "translations": _checked_fractions(arrays[1], path)}
    raise PickleFileError(
        f"{path} holds arrays of shape {listed([str(shape) for shape in shapes])}; poses are "
        "(N, 3, 3) and (N, 2), a CTF is (N, 9)"
    )


def _checked_fractions(translations: NDArray[np.float64], path: str) -> NDArray[np.float64]:
    finite = np.isfinite(translations).all(axis=1)
    if not finite.all():
        raise GeometryError(f"row {int(np.argmin(finite)) + 1} of {path}: a shift is not finite")
    far = np.flatnonzero((np.abs(translations) > 1).any(axis=1))
    if far.size:
        row = int(far[0])
        raise PickleFileError(
            f"row {row + 1} of {path}: a shift of {translations[row].tolist()} boxes; the file is "
            "of an early cryoDRGN, in pixels: divide its shifts by the box"
        )
    return translations


def _checked_ctf(ctf: NDArray[np.float64], path: str) -> NDArray[np.float64]:
    bad = ~np.isfinite(ctf).all(axis=1) | (ctf[:, :2] <= 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise PickleFileError(
            f"row {row + 1} of {path}: {dict(zip(CTF_COLUMNS, ctf[row].tolist(), strict=True))}; "
            "box and pixel size must be above 0, all must be finite"
        )
    return ctf


def _ctf_parameters(ctf: NDArray[np.float64], source: str) -> CtfParameters:
    try:
        return CtfParameters(**dict(zip(CTF_COLUMNS[2:], ctf[:, 2:].T, strict=True)))
    except MetadataError as error:
        raise MetadataError(f"{source}: {error}") from error


def _check_same_ctf(first: CtfParameters, second: CtfParameters, source: str, other: str) -> None:
    for name in ("defocus_u_angst", "defocus_v_angst", "voltage_kv"):
        one, two = getattr(first, name), getattr(second, name)
        differs = np.flatnonzero(np.abs(one - two) > _SAME_CTF * np.abs(one))
        if differs.size:
            row = int(differs[0])
            raise MetadataError(
                f"row {row + 1}: {name} is {one[row]:.6g} in {source} and {two[row]:.6g} in "
                f"{other} ({differs.size} of {len(one)} rows differ): their rows are in another "
                "order, or they are not of one data set"
            )
