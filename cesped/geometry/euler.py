"""RELION's Euler angles: the one place that states the direction of a rotation.

`R = Rz(rot) @ Ry(tilt) @ Rz(psi)`, intrinsic ZYZ in degrees, right-handed turns; it is
`scipy.spatial.transform.Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True)`. It takes
image coordinates to volume coordinates, `x_volume = R @ x_image`, vectors (x, y, z). The matrix
that RELION itself builds from the same angles is its transpose.
"""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError
from .rotations import FloatArray

#: Below this sine of the tilt, rot and psi turn about one axis and only their sum is defined.
GIMBAL_SINE = 1e-10


def euler_to_rotation(angles_deg: ArrayLike) -> FloatArray:
    """Return the rotations `(..., 3, 3)` of the Euler angles `(..., 3)` [rot, tilt, psi; degrees].

    Raises
    ------
    GeometryError
        If the last axis does not hold three angles.

    Examples
    --------
    The viewing direction is the third column; its azimuth is rot and its polar angle tilt:

    >>> import numpy as np
    >>> np.abs(euler_to_rotation([90.0, 90.0, 0.0])[:, 2]).round(12).tolist()
    [0.0, 1.0, 0.0]
    """
    angles = np.asarray(angles_deg, dtype=np.float64)
    if angles.ndim < 1 or angles.shape[-1] != 3:
        raise GeometryError(
            f"Euler angles: expected an array (..., 3) of rot, tilt, psi, "
            f"found shape {angles.shape}"
        )
    radians = np.radians(angles)
    cos_rot, cos_tilt, cos_psi = np.moveaxis(np.cos(radians), -1, 0)
    sin_rot, sin_tilt, sin_psi = np.moveaxis(np.sin(radians), -1, 0)
    rotations = np.empty((*angles.shape[:-1], 3, 3))
    rotations[..., 0, 0] = cos_rot * cos_tilt * cos_psi - sin_rot * sin_psi
    rotations[..., 0, 1] = -cos_rot * cos_tilt * sin_psi - sin_rot * cos_psi
    rotations[..., 0, 2] = cos_rot * sin_tilt
    rotations[..., 1, 0] = sin_rot * cos_tilt * cos_psi + cos_rot * sin_psi
    rotations[..., 1, 1] = -sin_rot * cos_tilt * sin_psi + cos_rot * cos_psi
    rotations[..., 1, 2] = sin_rot * sin_tilt
    rotations[..., 2, 0] = -sin_tilt * cos_psi
    rotations[..., 2, 1] = sin_tilt * sin_psi
    rotations[..., 2, 2] = cos_tilt
    return rotations


def rotation_to_euler(rotations: ArrayLike) -> FloatArray:
    """Return the Euler angles `(..., 3)` [rot, tilt, psi; degrees] of `(..., 3, 3)` rotations.

    `tilt` lies in [0, 180], `rot` and `psi` in [-180, 180]. Where the tilt is 0 or 180 only one
    combination of `rot` and `psi` is defined; `rot` is then 0, as RELION writes it.

    Raises
    ------
    GeometryError
        If the last two axes are not `(3, 3)`.

    Notes
    -----
    `psi` is read from what is left once `rot` is undone, not from the third row: the third row
    vanishes with the tilt, what is left does not, so the round trip is exact near the poles too.
    """
    r = np.asarray(rotations, dtype=np.float64)
    if r.ndim < 2 or r.shape[-2:] != (3, 3):
        raise GeometryError(f"rotations: expected an array (..., 3, 3), found shape {r.shape}")
    sin_tilt = np.hypot(r[..., 0, 2], r[..., 1, 2])
    at_pole = sin_tilt < GIMBAL_SINE
    rot = np.where(at_pole, 0.0, np.arctan2(r[..., 1, 2], r[..., 0, 2]))
    cos_rot, sin_rot = np.cos(rot), np.sin(rot)
    tilt = np.arctan2(np.where(at_pole, 0.0, sin_tilt), r[..., 2, 2])
    psi = np.arctan2(
        cos_rot * r[..., 1, 0] - sin_rot * r[..., 0, 0],
        cos_rot * r[..., 1, 1] - sin_rot * r[..., 0, 1],
    )
    angles: FloatArray = np.degrees(np.stack([rot, tilt, psi], axis=-1))
    return angles
