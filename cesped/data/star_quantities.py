"""Quantities out of the columns of a particle star file: lengths in angstrom, rotations, CTF.

RELION 3.0 has origins in pixels and states its pixel size by magnification and detector; RELION
3.1 to 5.0 have angstrom, and pixel size and box in the optics table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cesped.data.star_columns import (
    ANGLES,
    IMAGE_SIZE,
    ORIGINS_ANGST,
    ORIGINS_PX,
    StarColumns,
)
from cesped.errors import MetadataError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.poses import Poses
from cesped.physics.ctf import CtfParameters

#: No microscope is outside of this; volts, megavolts and micrometres are.
_TRUE_RANGES = {
    "rlnVoltage": (1.0, 3000.0, "kilovolts, such as 300"),
    "rlnSphericalAberration": (-100.0, 100.0, "millimetres, such as 2.7"),
    "rlnDefocusU": (-1e6, 1e6, "angstrom, such as 15000"),
    "rlnDefocusV": (-1e6, 1e6, "angstrom, such as 15000"),
}
#: Nobody focuses so well; but a defocus in micrometres is below this.
_LEAST_DEFOCUS_ANGST = 20.0
_SHARE_IN_FOCUS = 0.1  # of particles, by chance


def pixel_sizes(columns: StarColumns) -> NDArray[np.float64]:
    """Return the pixel size `(P,)` of every particle [angstrom/px].

    Raises
    ------
    MetadataError
        If the file states none, or one that is not above 0.
    """
    if columns.has("rlnImagePixelSize"):
        sizes, name = columns.numbers("rlnImagePixelSize"), "rlnImagePixelSize"
    elif columns.has("rlnPixelSize"):
        sizes, name = columns.numbers("rlnPixelSize"), "rlnPixelSize"
    elif columns.has("rlnDetectorPixelSize") and columns.has("rlnMagnification"):
        name = "rlnDetectorPixelSize / rlnMagnification"
        with np.errstate(divide="ignore"):
            # the detector pixel is in micrometres: 1e4 angstrom
            sizes = (
                columns.numbers("rlnDetectorPixelSize") * 1e4 / columns.numbers("rlnMagnification")
            )
    else:
        raise MetadataError(
            f"{columns.source} states no pixel size; add rlnImagePixelSize to the optics table "
            "(RELION 3.1), or rlnDetectorPixelSize and rlnMagnification (RELION 3.0)"
        )
    bad = np.flatnonzero(~np.isfinite(sizes) | (sizes <= 0))
    if bad.size:
        row = int(bad[0])
        raise MetadataError(
            f"row {row + 1} of {columns.source}: {name} gives a pixel size of {sizes[row]:g} "
            "angstrom; it must be above 0"
        )
    return sizes


def stated_boxes(columns: StarColumns) -> NDArray[np.float64]:
    """Return the box `(P,)` that the file states for every particle [px]; 0 where it is silent.

    Raises
    ------
    MetadataError
        If a value is no finite number.
    """
    return columns.numbers(IMAGE_SIZE, 0.0)


def one_stated_box(columns: StarColumns) -> int:
    """Return the box that the file states for all particles [px]; 0 if it is silent.

    Raises
    ------
    MetadataError
        If optics groups differ; names the first row of another box.
    """
    boxes = stated_boxes(columns)
    wrong = np.flatnonzero(boxes != boxes[0])
    if wrong.size:
        row = int(wrong[0])
        raise MetadataError(
            f"row {row + 1} of {columns.source}{columns.group_of(row)}: {IMAGE_SIZE} is "
            f"{boxes[row]:g}, row 1{columns.group_of(0)} has {boxes[0]:g}; all particles must have "
            "one box: extract them again, or keep the optics groups of one box"
        )
    return int(boxes[0])


def poses_of(
    columns: StarColumns, pixel_size: NDArray[np.float64], confidence: str, *, required: bool
) -> Poses | None:
    """Return the poses, or None if there are no angles and they are not `required`.

    Parameters
    ----------
    columns : of the star file
    pixel_size : `(P,)` [angstrom/px], for origins in pixels
    confidence : column of the confidence, which is 1 where it is absent
    required : whether a file without angles is an error

    Raises
    ------
    MetadataError
        If angles are missing, there is one origin column without the other, or a confidence is
        negative.
    """
    missing = [name for name in ANGLES if name not in columns.particles]
    if missing:
        if not required:
            return None
        raise MetadataError(
            f"{columns.source} has no column {', '.join(missing)}; poses are needed here: refine "
            "the particles first, or give the star file of a refinement"
        )
    angles = np.stack([columns.numbers(name) for name in ANGLES], axis=-1)
    _check_origins_are_pairs(columns)
    if any(name in columns.particles for name in ORIGINS_ANGST):
        origins = np.stack([columns.numbers(name, 0.0) for name in ORIGINS_ANGST], axis=-1)
    else:  # RELION 3.0; no origins at all means centred
        origins = np.stack([columns.numbers(name, 0.0) for name in ORIGINS_PX], axis=-1)
        origins = origins * pixel_size[:, None]
    return Poses(euler_to_rotation(angles), origins, _confidence(columns, confidence))


def _check_origins_are_pairs(columns: StarColumns) -> None:
    for pair in (ORIGINS_ANGST, ORIGINS_PX):
        missing = [name for name in pair if name not in columns.particles]
        if len(missing) == 1:
            raise MetadataError(
                f"{columns.source} has {' or '.join(set(pair) - set(missing))} without "
                f"{missing[0]}; give both origins, in angstrom or in pixels, or neither"
            )


def _confidence(columns: StarColumns, name: str) -> NDArray[np.float64]:
    values = columns.numbers(name, 1.0)
    negative = np.flatnonzero(values < 0)
    if negative.size:
        row = int(negative[0])
        raise MetadataError(
            f"row {row + 1} of {columns.source}: {name} is {values[row]:g}; a confidence cannot be "
            "negative"
        )
    return values


def ctf_of(columns: StarColumns) -> CtfParameters | None:
    """Return the contrast transfer of the particles, or None if there is no defocus.

    Raises
    ------
    MetadataError
        If voltage, aberration or amplitude contrast are missing, or a value cannot be true: also
        not if it is a voltage in volts, or a defocus in micrometres.
    """
    if not columns.has("rlnDefocusU"):
        return None
    _refuse_other_units(columns)
    defocus_u = columns.numbers("rlnDefocusU")
    has_v = columns.has("rlnDefocusV")
    values = {
        "defocus_u_angst": defocus_u,
        "defocus_v_angst": columns.numbers("rlnDefocusV") if has_v else defocus_u,
        "defocus_angle_deg": columns.numbers("rlnDefocusAngle", 0.0),
        "voltage_kv": columns.numbers("rlnVoltage"),
        "spherical_aberration_mm": columns.numbers("rlnSphericalAberration"),
        "amplitude_contrast": columns.numbers("rlnAmplitudeContrast"),
        "phase_shift_deg": columns.numbers("rlnPhaseShift", 0.0),
        "b_factor_angst2": columns.numbers("rlnCtfBfactor", 0.0),
        "scale": columns.numbers("rlnCtfScalefactor", 1.0),
    }
    try:
        return CtfParameters(**values)
    except MetadataError as error:
        raise MetadataError(f"{columns.source}: {error}") from error


def _refuse_other_units(columns: StarColumns) -> None:
    for name, (least, most, unit) in _TRUE_RANGES.items():
        if not columns.has(name):
            continue
        values = columns.numbers(name)
        # a voltage of 0 has its own complaint
        wrong = np.flatnonzero((values != 0) & ((values < least) | (values > most)))
        if wrong.size:
            row = int(wrong[0])
            raise MetadataError(
                f"row {row + 1} of {columns.source}{columns.group_of(row)}: {name} is "
                f"{values[row]:g}, which no microscope has; it must be in {unit}"
            )
    defocus = columns.numbers("rlnDefocusU")
    tiny = np.flatnonzero((defocus != 0) & (np.abs(defocus) < _LEAST_DEFOCUS_ANGST))
    if tiny.size > _SHARE_IN_FOCUS * len(defocus):
        row = int(tiny[0])
        raise MetadataError(
            f"row {row + 1} of {columns.source}: rlnDefocusU is {defocus[row]:g} angstrom, and so "
            f"are {tiny.size} of {len(defocus)} rows below {_LEAST_DEFOCUS_ANGST:g}; it must be in "
            "angstrom, such as 15000: multiply micrometres by 10000"
        )
