"""How well two maps agree in a pose at their low frequencies, and the best pose nearby.

The arithmetic of `cesped.evaluation.abinitio.volume_alignment`, whose text gives the equations.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cesped.geometry.grids import So3Grid
from cesped.geometry.rotations import axis_angle_rotations, geodesic_distance_deg, nearest_rotations
from cesped.physics.fourier import half_space_to_volume, volume_to_half_space
from cesped.physics.volume_sampling import VolumeSampler, sphere_of_frequencies, to_half_space
from cesped.progress import Progress

FloatArray = NDArray[np.float64]

_BATCH = 256
#: No shell correlation is believed to be higher.
_MOST_CORRELATION = 0.999
#: Shells up to here [1 / box] always count, with at least this correlation, or a pose far off would
#: not know where to go; others count if they agree by more than chance, in standard deviations.
_GUIDING_SHELLS, _LEAST_CORRELATION, _BEYOND_CHANCE = 8, 0.05, 3.0
#: Candidates of the grid are at least this far apart [degrees].
_APART_DEG = 14.0


@dataclass(frozen=True)
class Pose:
    """A pose of the moving map and its correlation with the fixed one.

    Parameters
    ----------
    rotation : `(3, 3)`
    shift_px : `(3,)` [voxel]
    is_mirrored : whether the mirror image is meant
    score : what the agreement of the shells is worth as evidence, the more the better: on the
        grid, the mean correlation; after refinement, `-1/2 sum n log(1 - c^2)` of the shells'
        numbers of samples n and correlations c [nats], the greatest log likelihood
    """

    rotation: FloatArray
    shift_px: FloatArray
    is_mirrored: bool
    score: float


class Registration:
    """Two maps, compared up to a frequency.

    Parameters
    ----------
    fixed, moving : `(N, N, N)` float32
    limit : largest |k| [1 / box]
    independent : share of the samples of the transforms that are independent numbers: that of the
        box which is not masked
    threads : most threads to use
    width : of the interpolation, see `VolumeSampler`
    """

    def __init__(
        self,
        fixed: NDArray[np.float32],
        moving: NDArray[np.float32],
        limit: int,
        independent: float = 1.0,
        threads: int | None = None,
        width: int = 4,
    ) -> None:
        self.box = fixed.shape[0]
        self.limit = limit
        self._independent = independent
        self._threads = threads
        every = sphere_of_frequencies(limit)
        self._frequencies = every[(every != 0).any(axis=1)]  # the mean says nothing
        fixed, moving = _shrunk(fixed, limit), _shrunk(moving, limit)
        # samples off the plane kx = 0 stand for their opposites too
        self._copies = np.where(self._frequencies[:, 0] > 0, 2.0, 1.0)
        lengths = np.sqrt((self._frequencies**2).sum(axis=1))
        self._shell = np.rint(lengths).astype(np.int64) - 1
        self._count = independent * np.bincount(self._shell, self._copies, limit)
        self._sampler = VolumeSampler(moving, limit, width)
        kx, ky, kz = self._frequencies.T
        transform = volume_to_half_space(torch.from_numpy(fixed)).numpy()
        self._fixed = self._whitened(transform[kz, ky, kx].astype(np.complex64))
        own = self._sampler.sample(self._frequencies, np.eye(3)[None], threads)[0]
        self._norm = self._root_power(own)

    def best_shift(self, rotation: FloatArray, is_mirrored: bool) -> Pose:
        """Return the best of all whole shifts at one rotation."""
        return self.best_shifts(rotation[None], (is_mirrored,))[0]

    def best_shifts(self, rotations: FloatArray, hands: tuple[bool, ...]) -> list[Pose]:
        """Return the best shift at each of the rotations `(B, 3, 3)`, of each hand in turn."""
        n = 2 * self.limit + 2
        values = self._sampler.sample(self._frequencies, rotations, self._threads) / self._norm
        found = []
        for is_mirrored in hands:
            # conj(B); the mirror image's transform is conj(B) itself
            product = self._fixed * (values if is_mirrored else values.conj())
            maps = torch.fft.irfftn(
                to_half_space(product, self._frequencies, n), s=(n, n, n), dim=(1, 2, 3)
            )
            scores, places = maps.reshape(len(rotations), -1).max(dim=1)
            scores = scores.double().numpy() * n**3 / self._copies.sum()
            z, y, x = np.unravel_index(places.numpy(), (n, n, n))
            shifts = (np.stack([x, y, z], axis=1) + n // 2) % n - n // 2
            shifts_px = shifts * (self.box / n)
            found += [
                Pose(rotation, shift, is_mirrored, float(score))
                for rotation, shift, score in zip(rotations, shifts_px, scores, strict=True)
            ]
        return found

    def refined(self, pose: Pose, steps: int, tolerance: float = 0.01) -> Pose:
        """Return the pose of the greatest agreement near `pose`, by Levenberg and Marquardt.

        Parameters
        ----------
        pose : where to start
        steps : most steps to take
        tolerance : stop at a step that moves no sample of the transform, and no voxel, by more
            [1 / box, voxel]
        """
        moved = self._moved(pose)
        correlation = self._correlations(moved)
        damping = 1e-3
        for _ in range(steps):
            normal, pull = self._normal_equations(pose, moved, correlation)
            while damping < 1e4:
                damped = normal + damping * np.diag(np.diag(normal) + 1e-12)
                step = np.linalg.solve(damped, pull)
                trial = _stepped(pose, step)
                trial_moved = self._moved(trial)
                gain = self._likelihood(trial_moved - moved, correlation)
                if gain > 0:
                    break
                damping *= 10.0
            else:
                break
            pose, moved = trial, trial_moved
            correlation = self._correlations(moved)
            damping = max(damping / 10.0, 1e-6)
            turned = float(np.linalg.norm(step[:3])) * self.limit
            if max(turned, float(np.abs(step[3:]).max())) < tolerance:
                break
        return replace(pose, score=self._information(correlation))

    def standard_errors(self, pose: Pose) -> tuple[float, float]:
        """Return the standard errors of a refined pose: of rotation [degrees] and shift [voxel].

        Notes
        -----
        The roots of the summed variances of three axes each, from the curvature at the maximum.
        They are a guide: samples within a shell are taken to be alike, which makes them too small,
        for noisy maps by up to a half. Noise that the maps share would make them smaller still.
        """
        moved = self._moved(pose)
        normal, _ = self._normal_equations(pose, moved, self._correlations(moved))
        covariance = np.linalg.pinv(normal * self._independent)
        return (
            float(np.degrees(np.sqrt(np.trace(covariance[:3, :3])))),
            float(np.sqrt(np.trace(covariance[3:, 3:]))),
        )

    def is_exhausted(self, pose: Pose) -> bool:
        """Return whether the highest frequencies already agree no more than by chance."""
        correlation = self._correlations(self._moved(pose))
        return not correlation[-max(1, self.limit // 4) :].all()

    def _moved(self, pose: Pose, rotation: FloatArray | None = None) -> NDArray[np.complex64]:
        """Return the whitened transform `(M,)` of the moving map in a pose."""
        turn = pose.rotation if rotation is None else rotation
        values = self._sampler.sample(self._frequencies, turn[None], self._threads)[0] / self._norm
        if pose.is_mirrored:
            values = values.conj()
        phase = np.exp((-2j * np.pi / self.box) * (self._frequencies @ pose.shift_px))
        return np.asarray(values * phase, dtype=np.complex64)

    def _normal_equations(
        self, pose: Pose, moved: NDArray[np.complex64], correlation: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the normal matrix `(6, 6)` and right side `(6,)`: turns [radian], shifts [voxel].

        Notes
        -----
        A whitened sample has unit power, and what the model leaves of it has 1 - c^2, in its real
        and imaginary part together: each has half of it, and the weight is 2 / (1 - c^2). As only
        half of space is independent, that is 1 / (1 - c^2) for each sample of the whole.
        """
        c = correlation[self._shell]
        weight = self._copies / (1.0 - c**2)
        delta = 0.05 / self.limit
        columns = []
        for axis in np.eye(3):
            turn = axis_angle_rotations(axis, np.degrees(delta))
            columns.append((self._moved(pose, turn @ pose.rotation) - moved) / delta)
        factor = np.complex64(-2j * np.pi / self.box) * moved
        columns += [factor * self._frequencies[:, axis].astype(np.float32) for axis in range(3)]
        # of w |a - J x|^2 with complex a and J: real and imaginary parts side by side
        root = np.sqrt(weight).astype(np.float32)
        design = (np.stack(columns) * (c * root)).astype(np.complex64).view(np.float32)
        residual = ((self._fixed - c * moved) * root).astype(np.complex64).view(np.float32)
        normal = np.asarray(design @ design.T, dtype=np.float64)
        return normal, np.asarray(design @ residual, dtype=np.float64)

    def _likelihood(self, moved: NDArray[np.complex64], correlation: FloatArray) -> float:
        c = correlation[self._shell]
        agreement = (self._fixed * moved.conj()).real
        return float(np.sum(self._copies * c / (1.0 - c**2) * agreement))

    def _correlations(self, moved: NDArray[np.complex64]) -> FloatArray:
        """Return the correlation of each shell `(S,)`; 0 for those that do not count."""
        agreement = (self._fixed * moved.conj()).real
        power = moved.real**2 + moved.imag**2
        shells = self.limit
        cross = np.bincount(self._shell, self._copies * agreement, shells)
        own = np.bincount(self._shell, self._copies * power, shells)
        fixed = np.bincount(self._shell, self._copies, shells)
        correlation = cross / np.sqrt(np.maximum(own * fixed, 1e-30))
        chance = np.minimum(_BEYOND_CHANCE / np.sqrt(self._count), 0.5)
        correlation[correlation < chance] = 0.0
        guiding = correlation[:_GUIDING_SHELLS]
        correlation[:_GUIDING_SHELLS] = np.maximum(guiding, _LEAST_CORRELATION)
        return np.asarray(np.minimum(correlation, _MOST_CORRELATION))

    def _information(self, correlation: FloatArray) -> float:
        """Return -1/2 sum n log(1 - c^2), n being the independent real numbers of each shell."""
        return float(-0.5 * np.sum(self._count * np.log1p(-(correlation**2))))

    def _whitened(self, values: NDArray[np.complex64]) -> NDArray[np.complex64]:
        return np.asarray(values / self._root_power(values), dtype=np.complex64)

    def _root_power(self, values: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Return, for each sample, the root of the mean power of its shell."""
        power = np.bincount(self._shell, self._copies * np.abs(values) ** 2, self.limit)
        count = np.bincount(self._shell, self._copies, self.limit)
        root = np.sqrt(power / count)
        floor = 1e-6 * root.max()  # a shell without any power must not become one of rounding
        by_sample = np.maximum(root, max(floor, 1e-30))[self._shell]
        return np.asarray(by_sample, dtype=np.float32)


def grid_candidates(
    registration: Registration,
    order: int,
    hands: tuple[bool, ...],
    count: int,
    progress: Progress,
) -> list[Pose]:
    """Return the best `count` nodes of a grid of rotations for each hand, none beside another.

    Parameters
    ----------
    registration : maps to compare
    order : HEALPix order of the grid
    hands : hands of the moving map to try
    count : nodes to return of each hand, at most
    progress : told of each node
    """
    grid = So3Grid(order)
    found: list[Pose] = []
    with progress.task("Searching rotations", grid.size) as advance:
        for start in range(0, grid.size, _BATCH):
            nodes = np.arange(start, min(start + _BATCH, grid.size))
            found += registration.best_shifts(grid.rotations(nodes), hands)
            advance(len(nodes))
    chosen = []
    for hand in hands:
        of_hand = [pose for pose in found if pose.is_mirrored == hand]
        chosen += distinct_poses(of_hand, count, _APART_DEG)
    return chosen


def distinct_poses(poses: list[Pose], count: int, apart_deg: float) -> list[Pose]:
    """Return the best poses, at most `count`, whose rotations are `apart_deg` from one another."""
    chosen: list[Pose] = []
    for pose in sorted(poses, key=lambda pose: pose.score, reverse=True):
        if len(chosen) == count:
            break
        rotations = np.asarray([other.rotation for other in chosen]).reshape(-1, 3, 3)
        if not (geodesic_distance_deg(rotations, pose.rotation) < apart_deg).any():
            chosen.append(pose)
    return chosen


def _shrunk(volume: NDArray[np.float32], limit: int) -> NDArray[np.float32]:
    """Return a map in as few voxels as its frequencies up to `limit` need, and a few more.

    The margin keeps the ringing of the cut away from the frequencies that are used.
    """
    n = 2 * (limit + 4) + 1
    if n >= volume.shape[0]:
        return volume
    half_space = volume_to_half_space(torch.from_numpy(volume)).numpy()
    kept = np.fft.ifftshift(np.arange(n) - n // 2)
    small = half_space[kept[:, None], kept, : n // 2 + 1]
    return half_space_to_volume(torch.from_numpy(np.ascontiguousarray(small))).numpy()


def _stepped(pose: Pose, step: NDArray[np.floating]) -> Pose:
    """Return a pose after a step of turns [radian] and shifts [voxel], `(6,)`."""
    angle = float(np.linalg.norm(step[:3]))
    axis = step[:3] / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    turn = axis_angle_rotations(axis, np.degrees(angle))
    return replace(
        pose,
        rotation=nearest_rotations(turn @ pose.rotation),
        shift_px=pose.shift_px + step[3:],
    )
