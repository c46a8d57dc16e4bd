"""`InPlaneMove`: turns, shifts, zooms and mirrors of an image, and what they do to a pose.

The law, stated once: the content at image position p = (x, y), counted from the centre pixel n//2,
goes to p' = s A F p + t, where F negates x if the image is mirrored, A turns +x (the last axis)
towards +y, s magnifies and t shifts. Because `x_volume = R @ x_image`, the image that has been
moved belongs to

* the rotation R' = R @ Rz(-angle), with R @ Ry(180) in place of R where it is mirrored: a
  projection sums over z, so the view from the opposite side is the mirror image,
* the origin o' = s A F o - t [pixels], since content is displaced by minus the origin,
* the pixel size' = pixel size / s: a pixel of a magnified image spans less of the particle,
* the defocus angle' = angle + defocus angle, or angle - defocus angle where it is mirrored, since
  it is measured from +x towards +y.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError
from .poses import Poses
from .rotations import FloatArray


@dataclass(frozen=True)
class InPlaneMove:
    """One in-plane move for each of `B` images.

    Parameters
    ----------
    angle_deg : `(B,)` turns [degrees] from +x towards +y, about the centre pixel n//2
    shift_px : `(B, 2)` x, y [pixels of the moved image], applied last
    scale : `(B,)` or `(1,)` magnifications about the centre pixel, above 0
    mirrored : `(B,)` or `(1,)` bool, whether x is negated first

    Raises
    ------
    GeometryError
        If the shapes do not fit together, a value is not finite, or a scale is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> move = InPlaneMove(np.array([90.0]), np.array([[0.0, 2.0]]))
    >>> move.apply_to_points_px([[3.0, 0.0]]).round(12).tolist()
    [[0.0, 5.0]]
    """

    angle_deg: FloatArray
    shift_px: FloatArray
    scale: FloatArray = field(default_factory=lambda: np.ones(1))
    mirrored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, bool))

    def __post_init__(self) -> None:
        angle = np.asarray(self.angle_deg, dtype=np.float64)
        shift = np.asarray(self.shift_px, dtype=np.float64)
        scale = np.asarray(self.scale, dtype=np.float64)
        mirrored = np.asarray(self.mirrored, dtype=np.bool_)
        if angle.ndim != 1 or shift.shape != (*angle.shape, 2):
            raise GeometryError(
                "in-plane move: expected angle_deg (B,) and shift_px (B, 2), "
                f"found {angle.shape} and {shift.shape}"
            )
        for name, values in (("scale", scale), ("mirrored", mirrored)):
            if values.shape not in ((1,), angle.shape):
                raise GeometryError(
                    f"in-plane move of {len(angle)} images: {name} has shape {values.shape}; "
                    f"({len(angle)},) or (1,) is needed"
                )
        if not (np.isfinite(angle).all() and np.isfinite(shift).all()):
            raise GeometryError("in-plane move: angle_deg or shift_px has values not finite")
        if not ((scale > 0) & np.isfinite(scale)).all():
            raise GeometryError("in-plane move: scale has values that are not above 0")
        object.__setattr__(self, "angle_deg", angle)
        object.__setattr__(self, "shift_px", shift)
        object.__setattr__(self, "scale", np.broadcast_to(scale, angle.shape))
        object.__setattr__(self, "mirrored", np.broadcast_to(mirrored, angle.shape))

    def __len__(self) -> int:
        return int(self.angle_deg.shape[0])

    @classmethod
    def identity(cls, n: int) -> Self:
        """Return `n` moves that leave everything where it is."""
        return cls(np.zeros(n), np.zeros((n, 2)))

    def matrices(self) -> FloatArray:
        """Return the plane maps s A F `(B, 2, 2)`."""
        return self.scale[:, None, None] * self._orthogonal()

    def apply_to_points_px(self, points_px: ArrayLike) -> FloatArray:
        """Return where the content at `points_px` `(B, ..., 2)` (x, y about n//2) goes."""
        points = np.asarray(points_px, dtype=np.float64)
        spread = (len(self), *(1,) * (points.ndim - 2), 2)
        return self._map(self.matrices(), points) + self.shift_px.reshape(spread)

    def apply_to_rotations(self, rotations: ArrayLike) -> FloatArray:
        """Return the rotations `(B, 3, 3)` of the moved images: R @ Ry(0 or 180) @ Rz(-angle)."""
        r = np.asarray(rotations, dtype=np.float64)
        moved = r.copy()
        # Rz and Ry(180) mix the first two columns among themselves, by the transpose of A F
        moved[..., :2] = r[..., :2] @ np.swapaxes(self._orthogonal(), 1, 2)
        moved[..., 2] *= np.where(self.mirrored, -1.0, 1.0)[:, None]
        return moved

    def apply_to_origins_px(self, origins_px: ArrayLike) -> FloatArray:
        """Return the origins `(B, 2)` [pixels] of the moved images: s A F origin - shift."""
        return self._map(self.matrices(), np.asarray(origins_px, np.float64)) - self.shift_px

    def apply_to_pixel_size_angst(self, pixel_size_angst: ArrayLike) -> FloatArray:
        """Return the pixel sizes `(B,)` [angstrom] of the moved images."""
        return np.asarray(pixel_size_angst, dtype=np.float64) / self.scale

    def apply_to_origins_angst(
        self, origins_angst: ArrayLike, pixel_size_angst: ArrayLike
    ) -> FloatArray:
        """Return the origins `(B, 2)` [angstrom] of the moved images.

        Parameters
        ----------
        origins_angst : `(B, 2)` x, y [angstrom]
        pixel_size_angst : of the images before, one pixel size or `(B,)` of them [angstrom]
        """
        shift_angst = self.shift_px * self.apply_to_pixel_size_angst(pixel_size_angst)[:, None]
        origins = np.asarray(origins_angst, dtype=np.float64)
        return self._map(self._orthogonal(), origins) - shift_angst

    def apply_to_defocus_angle_deg(self, defocus_angle_deg: ArrayLike) -> FloatArray:
        """Return the defocus angles `(B,)` [degrees] of the moved images."""
        angle = np.asarray(defocus_angle_deg, dtype=np.float64)
        return np.where(self.mirrored, -angle, angle) + self.angle_deg

    def apply_to_poses(self, poses: Poses, pixel_size_angst: ArrayLike) -> Poses:
        """Return the poses of the moved images; the confidence stays.

        Parameters
        ----------
        poses : `B` poses
        pixel_size_angst : of the images before, one pixel size or `(B,)` of them [angstrom]
        """
        return Poses(
            self.apply_to_rotations(poses.rotations),
            self.apply_to_origins_angst(poses.origins_angst, pixel_size_angst),
            poses.confidence,
        )

    def where(self, chosen: ArrayLike) -> Self:
        """Return the moves of the images that are `chosen` `(B,)`; the others stay."""
        here = np.asarray(chosen, dtype=np.bool_)
        return type(self)(
            np.where(here, self.angle_deg, 0.0),
            np.where(here[:, None], self.shift_px, 0.0),
            np.where(here, self.scale, 1.0),
            self.mirrored & here,
        )

    def compose(self, after: "InPlaneMove") -> Self:
        """Return the moves that do this one first and then `after`."""
        # a mirror passes a turn by turning it back
        angle = np.where(after.mirrored, -self.angle_deg, self.angle_deg)
        return type(self)(
            angle + after.angle_deg,
            after.apply_to_points_px(self.shift_px),
            self.scale * after.scale,
            self.mirrored ^ after.mirrored,
        )

    def inverse(self) -> Self:
        """Return the moves that undo these."""
        back = InPlaneMove(
            np.where(self.mirrored, self.angle_deg, -self.angle_deg),
            np.zeros_like(self.shift_px),
            1 / self.scale,
            self.mirrored,
        )
        shift = -back.apply_to_points_px(self.shift_px)
        return type(self)(back.angle_deg, shift, back.scale, back.mirrored)

    def _orthogonal(self) -> FloatArray:
        cosine, sine = np.cos(np.radians(self.angle_deg)), np.sin(np.radians(self.angle_deg))
        sign = np.where(self.mirrored, -1.0, 1.0)
        flat = np.stack([cosine * sign, -sine, sine * sign, cosine], axis=-1)
        return flat.reshape(-1, 2, 2)

    def _map(self, matrices: FloatArray, vectors: FloatArray) -> FloatArray:
        if vectors.ndim < 2 or vectors.shape[0] != len(self) or vectors.shape[-1] != 2:
            raise GeometryError(
                f"in-plane move of {len(self)} images: expected vectors ({len(self)}, ..., 2), "
                f"found shape {vectors.shape}"
            )
        moved: FloatArray = np.einsum("bij,b...j->b...i", matrices, vectors)
        return moved
