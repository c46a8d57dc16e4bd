"""New poses for some of the particles of a table, found by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.data.conventions import PREDICTED_CONFIDENCE
from cesped.data.table import ParticleTable
from cesped.errors import GeometryError, IdMismatchError, MetadataError, OptionError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import check_rotations, nearest_rotations
from cesped.vocabulary import AnglesFormat


class PoseUpdates:
    """A table whose poses change; the table that was given does not."""

    def __init__(self, table: ParticleTable):
        self.table = table
        self.predicted_confidence: NDArray[np.float64] | None = None
        self._updated: NDArray[np.bool_] | None = None
        self._row_of: dict[str, int] | None = None

    def is_updated(self, row: int) -> bool:
        """Return whether the pose of that particle was changed."""
        return self._updated is not None and bool(self._updated[row])

    def confidence_column(self, row: int) -> dict[str, float]:
        """Return the predicted confidence of a particle, under its column's name."""
        if self.predicted_confidence is None:
            return {}
        return {PREDICTED_CONFIDENCE: float(self.predicted_confidence[row])}

    def update(
        self,
        ids: Sequence[str],
        angles: Tensor | ArrayLike | None,
        shifts: Tensor | ArrayLike | None,
        confidence: Tensor | ArrayLike | None,
        angles_format: AnglesFormat,
    ) -> None:
        """Change what is given of the particles `ids`; all is checked before anything changes.

        Raises
        ------
        OptionError
            If nothing is given to change.
        IdMismatchError
            If an id is unknown or occurs twice.
        GeometryError, MetadataError
            If shapes do not fit, matrices are no rotations, or values are not finite.
        """
        if angles is None and shifts is None and confidence is None:
            raise OptionError("nothing to update; give angles, shifts or confidence")
        rows = self._rows(ids)
        count = len(rows)
        rotations = None if angles is None else _rotations(angles, angles_format, count)
        origins = None if shifts is None else _checked(shifts, (count, 2), "shifts")
        sureness = None if confidence is None else _confidence(confidence, count)
        poses = self._own_poses()
        if rotations is not None:
            poses.rotations[rows] = rotations
        if origins is not None:
            poses.origins_angst[rows] = origins
        if sureness is not None:
            if self.predicted_confidence is None:
                self.predicted_confidence = self._confidence_as_read()
            self.predicted_confidence[rows] = sureness
        if self._updated is not None:
            self._updated[rows] = True

    def _rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        if self._row_of is None:
            self.table.check_ids_unique()
            self._row_of = {name: row for row, name in enumerate(self.table.ids)}
        names = [ids] if isinstance(ids, str) else [str(name) for name in ids]
        unknown = [name for name in names if name not in self._row_of]
        if unknown:
            raise IdMismatchError(
                f"{len(unknown)} of {len(names)} ids are not in {self.table.source}, the first is "
                f"{unknown[0]!r}; ids are the rlnImageName of that file, for example "
                f"{self.table.ids[0]!r}"
            )
        if len(set(names)) != len(names):
            doubled = next(name for name in names if names.count(name) > 1)
            raise IdMismatchError(f"id {doubled!r} is given twice; update each particle once")
        return np.array([self._row_of[name] for name in names], dtype=np.int64)

    def _own_poses(self) -> Poses:
        """Return poses whose arrays may be written to; `table` holds the same ones."""
        poses = self.table.require_poses()
        if self._updated is None:
            self._updated = np.zeros(len(self.table), dtype=np.bool_)
            poses = Poses(poses.rotations.copy(), poses.origins_angst.copy(), poses.confidence)
            self.table = self.table.with_poses(poses)
        return poses

    def _confidence_as_read(self) -> NDArray[np.float64]:
        if PREDICTED_CONFIDENCE in self.table.particles:
            return self.table.particles[PREDICTED_CONFIDENCE].to_numpy(dtype=np.float64).copy()
        return np.ones(len(self.table))


def _as_array(values: Tensor | ArrayLike) -> NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _checked(values: Tensor | ArrayLike, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    array = _as_array(values)
    if array.shape != shape:
        raise GeometryError(f"{what} have the shape {array.shape}; {shape} is needed")
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if bad.size:
        raise GeometryError(f"{what} of particle {bad[0] + 1} of {len(array)} are not finite")
    return array


def _rotations(
    angles: Tensor | ArrayLike, angles_format: AnglesFormat, count: int
) -> NDArray[np.float64]:
    if angles_format is AnglesFormat.ZYZ_EULER_DEGS:
        return euler_to_rotation(_checked(angles, (count, 3), "Euler angles"))
    matrices = _checked(angles, (count, 3, 3), "rotation matrices")
    # models work in float32: take the rotation that is meant
    return nearest_rotations(check_rotations(matrices, "angles"))


def _confidence(confidence: Tensor | ArrayLike, count: int) -> NDArray[np.float64]:
    array = _as_array(confidence).reshape(-1)
    array = _checked(array, (count,), "confidences")
    if (array < 0).any():
        row = int(np.flatnonzero(array < 0)[0])
        raise MetadataError(
            f"confidence of particle {row + 1} of {count} is {array[row]:g}; it must not be "
            "negative"
        )
    return array
