"""Rotation matrices in float64: distances, random draws and repairs.

Everywhere in the package `x_volume = R @ x_image` (see `cesped.geometry.euler`), vectors are
(x, y, z), and the viewing direction of a pose is the third column of `R`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: How far `R.T @ R` may be from the identity: wide enough for float32 and five printed digits.
ORTHONORMALITY_TOLERANCE = 1e-3


def rotation_angle_deg(rotations: ArrayLike) -> FloatArray:
    """Return the angle `(...)` [degrees, 0 to 180] of each rotation of `(..., 3, 3)`.

    Notes
    -----
    The antisymmetric part of a rotation has length sin(angle) and its trace is
    1 + 2 cos(angle). Their `atan2` has the absolute accuracy of float64 at 0 and at 180
    degrees alike, where an `arccos` of the trace keeps only half of the digits.
    """
    r = np.asarray(rotations, dtype=np.float64)
    x = r[..., 2, 1] - r[..., 1, 2]
    y = r[..., 0, 2] - r[..., 2, 0]
    z = r[..., 1, 0] - r[..., 0, 1]
    twice_cos = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2] - 1.0
    angle: FloatArray = np.degrees(np.arctan2(np.sqrt(x * x + y * y + z * z), twice_cos))
    return angle


def geodesic_distance_deg(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return the angle `(...)` [degrees, 0 to 180] of the rotation that takes `a` to `b`.

    Parameters
    ----------
    a, b : `(..., 3, 3)` rotations, broadcast against each other

    Examples
    --------
    >>> import numpy as np
    >>> float(geodesic_distance_deg(np.eye(3), np.diag([-1.0, -1.0, 1.0])))
    180.0
    """
    left = np.asarray(a, dtype=np.float64)
    right = np.asarray(b, dtype=np.float64)
    return rotation_angle_deg(np.swapaxes(left, -1, -2) @ right)


def viewing_directions(rotations: ArrayLike) -> FloatArray:
    """Return the unit vectors `(..., 3)` along which the poses `(..., 3, 3)` look."""
    directions: FloatArray = np.asarray(rotations, dtype=np.float64)[..., :, 2]
    return directions


def direction_distance_deg(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return the angle `(...)` [degrees, 0 to 180] between unit vectors `(..., 3)`.

    Notes
    -----
    Twice the `atan2` of the lengths of difference and sum: as accurate at 0 and 180
    degrees as between them.
    """
    u = np.asarray(a, dtype=np.float64)
    v = np.asarray(b, dtype=np.float64)
    difference = np.linalg.norm(u - v, axis=-1)
    total = np.linalg.norm(u + v, axis=-1)
    angle: FloatArray = np.degrees(2.0 * np.arctan2(difference, total))
    return angle


def inplane_distance_deg(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return the in-plane part `(...)` [degrees, 0 to 180] of the turn that takes `a` to `b`.

    Parameters
    ----------
    a, b : `(..., 3, 3)` rotations, broadcast against each other

    Notes
    -----
    Any turn `a' b` is one about an axis in the image plane, which alone moves the viewing
    direction, after one about the viewing direction itself (swing and twist). This is the angle
    of the latter. It needs no meridian, so it does not jump at the poles as a difference of psi
    does; with the angle between the directions it makes up the whole distance,
    `cos(whole / 2) = cos(direction / 2) cos(inplane / 2)`. Between opposite directions every
    in-plane turn is as good as another, and the value says nothing.
    """
    left = np.asarray(a, dtype=np.float64)
    turn = np.swapaxes(left, -1, -2) @ np.asarray(b, dtype=np.float64)
    sine = turn[..., 1, 0] - turn[..., 0, 1]
    angle: FloatArray = np.degrees(np.arctan2(np.abs(sine), turn[..., 0, 0] + turn[..., 1, 1]))
    return angle


def random_rotations(n: int, generator: np.random.Generator) -> FloatArray:
    """Return `(n, 3, 3)` rotations drawn uniformly (Haar measure)."""
    quaternions = generator.standard_normal((n, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    return _quaternions_to_rotations(quaternions)


def rotations_about_random_axes(
    n: int, angle_deg: ArrayLike, generator: np.random.Generator
) -> FloatArray:
    """Return `(n, 3, 3)` rotations by `angle_deg` about axes drawn uniformly on the sphere.

    Parameters
    ----------
    n : number of rotations
    angle_deg : one angle, or `(n,)` angles [degrees]
    generator : source of the axes
    """
    axes = generator.standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.broadcast_to(np.asarray(angle_deg, dtype=np.float64), (n,))
    return axis_angle_rotations(axes, angles)


def axis_angle_rotations(axes: ArrayLike, angle_deg: ArrayLike) -> FloatArray:
    """Return the rotations `(..., 3, 3)` by `angle_deg` `(...)` about unit `axes` `(..., 3)`.

    The turn is right-handed: about +z it takes +x towards +y.
    """
    unit = np.asarray(axes, dtype=np.float64)
    half = np.radians(np.asarray(angle_deg, dtype=np.float64)) / 2.0
    half = np.broadcast_to(half, unit.shape[:-1])[..., None]
    return _quaternions_to_rotations(np.concatenate([np.cos(half), np.sin(half) * unit], axis=-1))


def nearest_rotations(matrices: ArrayLike) -> FloatArray:
    """Return the rotations `(..., 3, 3)` nearest to `matrices` in the Frobenius norm.

    Notes
    -----
    Orthogonal Procrustes: U diag(1, 1, det(U V')) V' of the singular value decomposition.
    """
    u, _, vt = np.linalg.svd(np.asarray(matrices, dtype=np.float64))
    signs = np.ones(u.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(u @ vt))
    nearest: FloatArray = (u * signs[..., None, :]) @ vt
    return nearest


def check_rotations(matrices: ArrayLike, what: str) -> FloatArray:
    """Return `matrices` `(..., 3, 3)` as float64 if each of them is a rotation.

    Parameters
    ----------
    matrices : what should be rotations
    what : the name that an error message gives them, such as "rotations of preds.star"

    Raises
    ------
    GeometryError
        If the shape is wrong, a value is not finite, a matrix is not orthonormal, or is a
        reflection; the message names the first bad one, counted from 1.
    """
    m = np.asarray(matrices, dtype=np.float64)
    if m.ndim < 2 or m.shape[-2:] != (3, 3):
        raise GeometryError(f"{what}: expected an array (..., 3, 3), found shape {m.shape}")
    flat = m.reshape(-1, 3, 3)
    finite = np.asarray(np.isfinite(flat).all(axis=(1, 2)), dtype=np.bool_)
    _refuse(~finite, what, "has values that are not finite")
    gram = np.swapaxes(flat, 1, 2) @ flat
    off = np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0)
    remedy = "is not orthonormal; pass it through nearest_rotations if it should be one"
    _refuse(off > ORTHONORMALITY_TOLERANCE, what, remedy)
    remedy = "has determinant -1, it mirrors; a pose must be a proper rotation"
    _refuse(np.linalg.det(flat) < 0, what, remedy)
    return m


def _refuse(bad: NDArray[np.bool_], what: str, complaint: str) -> None:
    if bad.any():
        first = int(np.argmax(bad)) + 1
        raise GeometryError(f"{what}: matrix {first} of {bad.size} {complaint}")


def _quaternions_to_rotations(quaternions: FloatArray) -> FloatArray:
    """Return the rotations `(..., 3, 3)` of unit quaternions `(..., 4)`, scalar part first."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rotations = np.empty((*quaternions.shape[:-1], 3, 3))
    rotations[..., 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    rotations[..., 0, 1] = 2.0 * (x * y - w * z)
    rotations[..., 0, 2] = 2.0 * (x * z + w * y)
    rotations[..., 1, 0] = 2.0 * (x * y + w * z)
    rotations[..., 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    rotations[..., 1, 2] = 2.0 * (y * z - w * x)
    rotations[..., 2, 0] = 2.0 * (x * z - w * y)
    rotations[..., 2, 1] = 2.0 * (y * z + w * x)
    rotations[..., 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    return rotations
