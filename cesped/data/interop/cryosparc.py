"""What the fields of a CryoSPARC particle file mean, and how ours are written as such.

`alignments3D/pose` is a rotation vector [rad] and its rotation is ours, image to volume;
`alignments3D/shift` is what must be added to centre the particle, as RELION's origin, in pixels of
`alignments3D/psize_A`, the sampling of the refinement, which need not be that of the images.
Defocus and its angle are RELION's, angles in radians. `blob/idx` counts from 0. `blob/sign` is -1
where protein is dark; the images themselves are never changed. Paths start from the project's
folder, or, with `>` before them, from the folder of the file.

Proved by projecting a map by these rules and comparing images, in
tests/data/interop/test_cryosparc.py; the unit of shifts is CryoSPARC's own statement (pyem, pull
request 125), the rest agrees with cryoDRGN's and pyem's readers.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cesped.data.interop.exchange import (
    CLASS_NUMBER,
    CRYOSPARC_UID,
    MICROGRAPH_NAME,
    RANDOM_SUBSET,
    ExchangedParticles,
    listed,
)
from cesped.errors import CsFileError
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import axis_angle_rotations
from cesped.io.cs import UID, Records, join_by_uid, read_cs
from cesped.physics.ctf import CtfParameters

#: What is told to whoever gets a `.cs` file of ours.
BRIGHT = (
    "blob/sign is written as 1, for images in which particles are bright; dark ones are to be "
    "inverted, or marked by -1"
)

POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"
_SHIFT_UNIT = "alignments3D/psize_A"
_PATH, _INDEX, _SHAPE, _PIXEL = "blob/path", "blob/idx", "blob/shape", "blob/psize_A"
_SPLIT, _CLASS = "alignments3D/split", "alignments3D/class"
_EXPOSURE_GROUP = "ctf/exp_group_id"
_MICROGRAPH = "location/micrograph_path"
_BLOB = (_PATH, _INDEX, _SHAPE, _PIXEL)
_CTF = {
    "defocus_u_angst": "ctf/df1_A",
    "defocus_v_angst": "ctf/df2_A",
    "defocus_angle_deg": "ctf/df_angle_rad",
    "voltage_kv": "ctf/accel_kv",
    "spherical_aberration_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "phase_shift_deg": "ctf/phase_shift_rad",
}
# corrections that no column of ours holds: nothing is lost where they are 0
_HIGHER_ABERRATIONS = {
    "ctf/tilt_A": "beam tilt",
    "ctf/trefoil_A": "trefoil",
    "ctf/tetra_A": "tetrafoil",
    "ctf/shift_A": "image shift",
    "ctf/anisomag": "anisotropic magnification",
    "ctf/bfactor": "B-factor",
}
_READ = {UID, *_BLOB, *_CTF.values(), *_HIGHER_ABERRATIONS, POSE, SHIFT, _SHIFT_UNIT, _SPLIT}
_READ |= {_CLASS, _MICROGRAPH, "blob/sign", _EXPOSURE_GROUP}


def read_cryosparc(
    path: str | os.PathLike[str], *passthrough: str | os.PathLike[str]
) -> ExchangedParticles:
    """Read a CryoSPARC particle file, and passthrough files of the same job.

    Raises
    ------
    MissingFileError, CsFileError
        As `cesped.io.cs.read_cs`; also if fields are missing or hold what cannot be true, with the
        row, or if particles of the first file are not in the others.
    """
    source, records = str(path), read_cs(path)
    for other in passthrough:
        records = join_by_uid(records, read_cs(other), source, str(other))
    _require(records, _BLOB, source, "the images")
    names, remarks = _stack_names(records)
    pixel_size = _numbers(records, _PIXEL, source)
    columns: dict[str, NDArray[Any]] = {CRYOSPARC_UID: records[UID]} if _has(records, UID) else {}
    if _has(records, _SPLIT) and np.ptp(records[_SPLIT]):
        columns[RANDOM_SUBSET] = records[_SPLIT].astype(np.int64) + 1
    if _has(records, _CLASS):
        columns[CLASS_NUMBER] = records[_CLASS].astype(np.int64) + 1
    if _has(records, _MICROGRAPH):
        columns[MICROGRAPH_NAME] = _text(records[_MICROGRAPH])
    groups = np.zeros(len(records), dtype=np.int64)
    if _has(records, _EXPOSURE_GROUP):
        groups = records[_EXPOSURE_GROUP].astype(np.int64)
    return ExchangedParticles(
        source=source,
        stack_names=names,
        section=records[_INDEX].astype(np.int64),
        box_px=_boxes(records, source),
        pixel_size_angst=pixel_size,
        poses=_poses(records, pixel_size, source),
        ctf=_ctf(records, source),
        optics_group=groups,
        columns=columns,
        left_out=_left_out(records),
        remarks=(*remarks, *_contrast(records)),
    )


def to_records(particles: ExchangedParticles) -> Records:
    """Return particles as CryoSPARC writes them: blob, ctf and alignments3D.

    Raises
    ------
    MetadataError
        If a box is not known.
    """
    count = len(particles)
    paths = np.char.encode(particles.stack_names.astype(str), "utf-8")
    values: dict[str, tuple[str, Any]] = {
        UID: ("<u8", _uids(particles)),
        _PATH: (paths.dtype.str, paths),
        _INDEX: ("<u4", particles.section),
        _SHAPE: ("2<u4", np.repeat(particles.require_boxes()[:, None], 2, axis=1)),
        _PIXEL: ("<f4", particles.pixel_size_angst),
        "blob/sign": ("<f4", 1.0),
    }
    if particles.ctf is not None:
        values |= {"ctf/type": ("S8", b"imported")}
        values |= {_EXPOSURE_GROUP: ("<u4", particles.optics_group)}
        for name, field in _CTF.items():
            number = getattr(particles.ctf, name)
            values[field] = ("<f4", np.radians(number) if field.endswith("_rad") else number)
        values |= {"ctf/scale": ("<f4", 1.0), "ctf/scale_const": ("<f4", 0.0)}
        sizes = {"ctf/tetra_A": "4<f4", "ctf/anisomag": "4<f4", "ctf/bfactor": "<f4"}
        values |= {field: (sizes.get(field, "2<f4"), 0.0) for field in _HIGHER_ABERRATIONS}
    if particles.poses is not None:
        values |= _alignments(particles, particles.poses)
    if MICROGRAPH_NAME in particles.columns:
        micrographs = np.char.encode(particles.columns[MICROGRAPH_NAME].astype(str), "utf-8")
        values[_MICROGRAPH] = (micrographs.dtype.str, micrographs)
    records = np.zeros(count, dtype=[(name, kind) for name, (kind, _) in values.items()])
    for name, (_, content) in values.items():
        records[name] = content
    return records


def _alignments(particles: ExchangedParticles, poses: Poses) -> dict[str, tuple[str, Any]]:
    from scipy.spatial.transform import Rotation

    subset = particles.columns.get(RANDOM_SUBSET, np.ones(len(particles)))
    number = particles.columns.get(CLASS_NUMBER, np.ones(len(particles)))
    values: dict[str, tuple[str, Any]] = {
        _SPLIT: ("<u4", np.maximum(subset.astype(np.int64) - 1, 0)),
        SHIFT: ("2<f4", poses.origins_angst / particles.pixel_size_angst[:, None]),
        POSE: ("3<f4", Rotation.from_matrix(poses.rotations).as_rotvec()),
        _SHIFT_UNIT: ("<f4", particles.pixel_size_angst),
    }
    of_refinement = ("error", "error_min", "resid_pow", "slice_pow", "image_pow", "cross_cor")
    values |= {f"alignments3D/{name}": ("<f4", 0.0) for name in of_refinement}
    values |= {"alignments3D/alpha": ("<f4", 1.0), "alignments3D/weight": ("<f4", 0.0)}
    values |= {"alignments3D/pose_ess": ("<f4", 0.0), "alignments3D/shift_ess": ("<f4", 0.0)}
    values |= {"alignments3D/class_posterior": ("<f4", 1.0)}
    values |= {_CLASS: ("<u4", np.maximum(number.astype(np.int64) - 1, 0))}
    return values | {"alignments3D/class_ess": ("<f4", 1.0)}


def _uids(particles: ExchangedParticles) -> NDArray[np.uint64]:
    """Return CryoSPARC's own numbers if they are known, else ones made of the image's name."""
    if CRYOSPARC_UID in particles.columns:
        known = particles.columns[CRYOSPARC_UID]
        if known.dtype.kind in "iu":
            return known.astype(np.uint64)
    names = zip(particles.section.tolist(), particles.stack_names, strict=True)
    hashes = (
        hashlib.blake2b(f"{section}@{stack}".encode(), digest_size=8).digest()
        for section, stack in names
    )
    return np.frombuffer(b"".join(hashes), dtype="<u8")


def _has(records: Records, *names: str) -> bool:
    return all(name in (records.dtype.names or ()) for name in names)


def _require(records: Records, names: tuple[str, ...], source: str, what: str) -> None:
    missing = [name for name in names if not _has(records, name)]
    if missing:
        raise CsFileError(
            f"{source} has no field {listed(missing)}, which {what} need; give the passthrough "
            "file of the job too, or the export of the job, which has all fields in one file"
        )


def _numbers(records: Records, name: str, source: str) -> NDArray[np.float64]:
    values = _shortest(records[name])
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if bad.size:
        row = int(bad[0])
        raise CsFileError(
            f"row {row + 1} of {source}: {name} is {records[name][row]}, which is no finite "
            "number; correct the value or remove the row"
        )
    return values


def _shortest(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return float32 numbers as the shortest decimals that stand for them: 2.7, not 2.70000005."""
    distinct, place = np.unique(values, return_inverse=True)
    return distinct.astype(str).astype(np.float64)[place].reshape(values.shape)


def _boxes(records: Records, source: str) -> NDArray[np.int64]:
    shape = records[_SHAPE].astype(np.int64)
    wrong = np.flatnonzero((shape[:, 0] != shape[:, 1]) | (shape[:, 0] < 1))
    if wrong.size:
        row = int(wrong[0])
        raise CsFileError(
            f"row {row + 1} of {source}: {_SHAPE} is {shape[row].tolist()}; images must be square"
        )
    return shape[:, 0]


def _text(names: NDArray[Any]) -> NDArray[np.object_]:
    decoded = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    return decoded.astype(object)


def _stack_names(records: Records) -> tuple[NDArray[np.object_], tuple[str, ...]]:
    names = _text(records[_PATH])
    beside = np.array([name.startswith(">") for name in names])
    names = np.array([name.removeprefix(">") for name in names], dtype=object)
    root = "that of the .cs file" if beside.all() else "the CryoSPARC project's"
    remarks = [f"image names start from one folder, {root}: name it as --root when they are used"]
    if any(name.lower().endswith(".mrc") for name in names):
        remarks.append(
            "stacks end in .mrc: this package reads them, RELION only under .mrcs or with `:mrcs` "
            "after the name"
        )
    return names, tuple(remarks)


def _poses(records: Records, pixel_size: NDArray[np.float64], source: str) -> Poses | None:
    if not _has(records, POSE, SHIFT):
        several = [name for name in records.dtype.names or () if name.endswith("/pose")]
        if any(name.startswith("alignments_class") for name in several):
            raise CsFileError(
                f"{source} holds a pose for each of several classes ({listed(several, 3)}) and no "
                f"{POSE}; refine the particles of one class, and give that job's file"
            )
        return None
    vectors = _numbers(records, POSE, source)
    angles = np.linalg.norm(vectors, axis=1)
    axes = np.where(angles[:, None] > 0, vectors, (0.0, 0.0, 1.0))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    unit = _numbers(records, _SHIFT_UNIT, source) if _has(records, _SHIFT_UNIT) else pixel_size
    origins = _numbers(records, SHIFT, source) * unit[:, None]
    rotations = axis_angle_rotations(axes, np.degrees(angles))
    return Poses(rotations, origins, np.ones(len(records)))


def _ctf(records: Records, source: str) -> CtfParameters | None:
    if not _has(records, "ctf/df1_A"):
        return None
    optional = "ctf/phase_shift_rad"
    _require(records, tuple(name for name in _CTF.values() if name != optional), source, "the CTF")
    values = {}
    for name, field in _CTF.items():
        if _has(records, field):
            number = _numbers(records, field, source)
            values[name] = np.degrees(number) if field.endswith("_rad") else number
    return CtfParameters(**values)


def _contrast(records: Records) -> tuple[str, ...]:
    if not _has(records, "blob/sign") or (records["blob/sign"] > 0).all():
        return ()
    dark = float((records["blob/sign"] < 0).mean())
    which = "the images" if dark == 1 else f"{dark:.0%} of the images"
    return (
        f"blob/sign says that particles are dark in {which}: this package and RELION take dense as "
        "bright, and images were not changed (`relion_image_handler --multiply_constant -1` "
        "inverts a stack)",
    )


def _left_out(records: Records) -> tuple[str, ...]:
    sentences = [
        f"{field}: {what}, which is not 0 everywhere"
        for field, what in _HIGHER_ABERRATIONS.items()
        if _has(records, field) and np.any(records[field])
    ]
    others = [name for name in records.dtype.names or () if name not in _READ]
    if others:
        sentences.append(f"fields that no star file has a column for: {listed(others)}")
    return tuple(sentences)
