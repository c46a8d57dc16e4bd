"""`InPlaneMove`: turns and shifts in the image plane, and what they do to a pose.

The law, stated once: the content at image position p = (x, y), counted from the centre pixel n//2,
goes to p' = A p + t, where A turns +x (the last axis) towards +y. Because `x_volume = R @ x_image`,
the image that has been moved belongs to

* the rotation R' = R @ Rz(-angle),
* the origin o' = A o - t, since content is displaced by minus the origin,
* the defocus angle' = defocus angle + angle, since it is measured from +x towards +y.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError
from .poses import Poses
from .rotations import FloatArray


@dataclass(frozen=True)
class InPlaneMove:
    """One in-plane move for each of `B` images.

    Parameters
    ----------
    angle_deg : `(B,)` turns [degrees] from +x towards +y, about the centre pixel n//2
    shift_px : `(B, 2)` x, y [pixels], applied after the turn

    Raises
    ------
    GeometryError
        If the shapes do not fit together, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> move = InPlaneMove(np.array([90.0]), np.array([[0.0, 2.0]]))
    >>> move.apply_to_points_px([[3.0, 0.0]]).round(12).tolist()
    [[0.0, 5.0]]
    """

    angle_deg: FloatArray
    shift_px: FloatArray

    def __post_init__(self) -> None:
        angle = np.asarray(self.angle_deg, dtype=np.float64)
        shift = np.asarray(self.shift_px, dtype=np.float64)
        if angle.ndim != 1 or shift.shape != (*angle.shape, 2):
            raise GeometryError(
                "in-plane move: expected angle_deg (B,) and shift_px (B, 2), "
                f"found {angle.shape} and {shift.shape}"
            )
        if not (np.isfinite(angle).all() and np.isfinite(shift).all()):
            raise GeometryError("in-plane move: angle_deg or shift_px has values not finite")
        object.__setattr__(self, "angle_deg", angle)
        object.__setattr__(self, "shift_px", shift)

    def __len__(self) -> int:
        return int(self.angle_deg.shape[0])

    @classmethod
    def identity(cls, n: int) -> Self:
        """Return `n` moves that leave everything where it is."""
        return cls(np.zeros(n), np.zeros((n, 2)))

    def matrices(self) -> FloatArray:
        """Return the plane turns A `(B, 2, 2)`."""
        cosine, sine = np.cos(np.radians(self.angle_deg)), np.sin(np.radians(self.angle_deg))
        flat = np.stack([cosine, -sine, sine, cosine], axis=-1)
        return flat.reshape(-1, 2, 2)

    def apply_to_points_px(self, points_px: ArrayLike) -> FloatArray:
        """Return where the content at `points_px` `(B, ..., 2)` (x, y about n//2) goes."""
        points = np.asarray(points_px, dtype=np.float64)
        spread = (len(self), *(1,) * (points.ndim - 2), 2)
        return self._turn(points) + self.shift_px.reshape(spread)

    def apply_to_rotations(self, rotations: ArrayLike) -> FloatArray:
        """Return the rotations `(B, 3, 3)` of the moved images: R @ Rz(-angle)."""
        r = np.asarray(rotations, dtype=np.float64)
        # Rz(-angle) mixes the first two columns alone, by the transpose of A
        moved = r.copy()
        moved[..., :2] = r[..., :2] @ np.swapaxes(self.matrices(), 1, 2)
        return moved

    def apply_to_origins_px(self, origins_px: ArrayLike) -> FloatArray:
        """Return the origins `(B, 2)` [pixels] of the moved images: A origin - shift."""
        return self._turn(np.asarray(origins_px, dtype=np.float64)) - self.shift_px

    def apply_to_origins_angst(
        self, origins_angst: ArrayLike, pixel_size_angst: ArrayLike
    ) -> FloatArray:
        """Return the origins `(B, 2)` [angstrom] of the moved images.

        Parameters
        ----------
        origins_angst : `(B, 2)` x, y [angstrom]
        pixel_size_angst : one pixel size, or `(B,)` of them [angstrom]
        """
        size = np.asarray(pixel_size_angst, dtype=np.float64)
        shift_angst = self.shift_px * (size[:, None] if size.ndim else size)
        return self._turn(np.asarray(origins_angst, dtype=np.float64)) - shift_angst

    def apply_to_defocus_angle_deg(self, defocus_angle_deg: ArrayLike) -> FloatArray:
        """Return the defocus angles `(B,)` [degrees] of the moved images."""
        return np.asarray(defocus_angle_deg, dtype=np.float64) + self.angle_deg

    def apply_to_poses(self, poses: Poses, pixel_size_angst: ArrayLike) -> Poses:
        """Return the poses of the moved images; the confidence stays.

        Parameters
        ----------
        poses : `B` poses
        pixel_size_angst : one pixel size, or `(B,)` of them [angstrom]
        """
        return Poses(
            self.apply_to_rotations(poses.rotations),
            self.apply_to_origins_angst(poses.origins_angst, pixel_size_angst),
            poses.confidence,
        )

    def compose(self, after: "InPlaneMove") -> Self:
        """Return the moves that do this one first and then `after`."""
        return type(self)(self.angle_deg + after.angle_deg, after.apply_to_points_px(self.shift_px))

    def inverse(self) -> Self:
        """Return the moves that undo these."""
        back = InPlaneMove(-self.angle_deg, np.zeros_like(self.shift_px))
        return type(self)(back.angle_deg, -back.apply_to_points_px(self.shift_px))

    def _turn(self, vectors: FloatArray) -> FloatArray:
        if vectors.ndim < 2 or vectors.shape[0] != len(self) or vectors.shape[-1] != 2:
            raise GeometryError(
                f"in-plane move of {len(self)} images: expected vectors ({len(self)}, ..., 2), "
                f"found shape {vectors.shape}"
            )
        turned: FloatArray = np.einsum("bij,b...j->b...i", self.matrices(), vectors)
        return turned
