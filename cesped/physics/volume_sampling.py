"""Values of a map's transform between grid points, and the map turned and moved by them."""

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError
from .fourier import half_space_to_volume
from .threads import run_in_chunks

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex64]

#: Real-space padding before the transform.
_PADDING = 2
#: Places between two grid points in the table of interpolation weights, which is read linearly.
_TABLE = 2048


class VolumeSampler:
    """The transform of a map, made ready to be read at any frequency.

    Parameters
    ----------
    volume : `(N, N, N)` real array [z, y, x], origin at voxel N // 2
    limit : largest |k| that will be asked for [1 / box]; (N - 1) // 2 when not given
    width : grid points that a value is made of along each axis, even; 4 is accurate to 1e-3
        of the largest value, 6 to 1e-5

    Raises
    ------
    GeometryError
        If `volume` is not a cube.
    OptionError
        If `limit` or `width` is out of range.

    Notes
    -----
    Interpolation by the kernel exp(beta (sqrt(1 - (2 x / w)^2) - 1)) on a grid padded twofold,
    whose fall-off in real space the map was divided by beforehand, as in non-uniform FFTs
    (Barnett, Magland and af Klinteberg, SIAM J. Sci. Comput. 41, C479, 2019).

    Examples
    --------
    >>> volume = np.zeros((8, 8, 8))
    >>> volume[4, 4, 5] = 1.0  # a point at x = 1
    >>> value = VolumeSampler(volume, width=6).sample([[0, 1, 0]], np.eye(3)[None])[0, 0]
    >>> bool(abs(value - 1.0) < 1e-4)  # constant along y
    True
    """

    def __init__(self, volume: ArrayLike, limit: int | None = None, width: int = 4) -> None:
        density = np.asarray(volume)
        if density.ndim != 3 or len(set(density.shape)) != 1 or density.shape[0] < 2:
            raise GeometryError(f"a map has shape {density.shape}; a cube (N, N, N) is needed")
        self.box = int(density.shape[0])
        self.limit = (self.box - 1) // 2 if limit is None else int(limit)
        if not 0 <= self.limit <= self.box // 2 + 1:
            raise OptionError(f"limit {limit} of a map of {self.box} voxels; use 0 to N / 2 + 1")
        if width not in (2, 4, 6):
            raise OptionError(f"interpolation width {width}; use 2, 4 or 6")
        self._table = _kernel_table(width)
        self._grid = _padded_grid(density, self.limit, width)

    def sample(
        self, frequencies: ArrayLike, rotations: ArrayLike, threads: int | None = None
    ) -> ComplexArray:
        """Return the transform of the map turned by each rotation, at the same frequencies.

        Parameters
        ----------
        frequencies : `(M, 3)` kx, ky, kz [1 / box], none longer than the limit
        rotations : `(B, 3, 3)`; the map V(R^T x) has the transform F(R^T k)
        threads : most threads to use; `torch.get_num_threads()` when None

        Returns
        -------
        `(B, M)` complex64; phases refer to the origin voxel

        Raises
        ------
        GeometryError
            If a frequency is longer than the limit, or a shape is wrong.
        """
        wanted = np.ascontiguousarray(frequencies, dtype=np.float64)
        turns = np.ascontiguousarray(rotations, dtype=np.float64)
        if wanted.ndim != 2 or wanted.shape[1:] != (3,) or turns.shape[1:] != (3, 3):
            raise GeometryError(
                f"frequencies {wanted.shape} and rotations {turns.shape}; give (M, 3) and (B, 3, 3)"
            )
        # The kernel does not look before it reads.
        longest = float(np.sqrt((wanted**2).sum(axis=1).max(initial=0.0)))
        norms = np.linalg.norm(turns, axis=2).max(initial=0.0)
        if not (longest <= self.limit + 1e-6 and norms < 1.0 + 1e-4):
            raise GeometryError(
                f"frequencies up to {longest:g} of a sampler with the limit {self.limit}, "
                "or matrices that are no rotations"
            )
        out = np.empty((len(turns), len(wanted)), np.complex64)
        run_in_chunks(
            lambda start, stop: _sample(self._grid, self._table, wanted, turns, start, stop, out),
            out.size,
            threads,
        )
        return out


def sphere_of_frequencies(limit: int) -> NDArray[np.int64]:
    """Return the frequencies `(M, 3)` kx, ky, kz of a half space with |k| <= limit.

    kx is 0 or more; of the plane kx = 0 all are there, each with its opposite. The order is that of
    the half-space layout: kz slowest, kx fastest.
    """
    axis = np.arange(-limit, limit + 1)
    kz, ky, kx = np.meshgrid(axis, axis, np.arange(limit + 1), indexing="ij")
    inside = kx**2 + ky**2 + kz**2 <= limit**2
    return np.stack([kx[inside], ky[inside], kz[inside]], axis=1).astype(np.int64)


def to_half_space(
    values: NDArray[np.complex64], frequencies: NDArray[np.int64], n: int
) -> torch.Tensor:
    """Return values `(..., M)` at integer frequencies `(M, 3)` as half spaces of box `n`.

    Returns
    -------
    `(..., n, n, n // 2 + 1)` complex tensor, the layout of `volume_to_half_space`; zero elsewhere
    """
    half_space = np.zeros((*values.shape[:-1], n, n, n // 2 + 1), values.dtype)
    kx, ky, kz = frequencies.T
    half_space[..., kz % n, ky % n, kx] = values
    return torch.from_numpy(half_space)


def moved_volume(
    volume: ArrayLike,
    rotation: ArrayLike,
    shift_px: ArrayLike,
    *,
    is_mirrored: bool = False,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return a map turned about its origin, then moved: V'(x) = V(R^T (x - t)).

    Parameters
    ----------
    volume : `(N, N, N)` [z, y, x]
    rotation : `(3, 3)` R, of vectors (x, y, z)
    shift_px : `(3,)` t along x, y, z [voxel]
    is_mirrored : V(-x) is turned and moved in the place of V(x)
    threads : most threads to use; `torch.get_num_threads()` when None

    Returns
    -------
    `(N, N, N)` float32

    Notes
    -----
    Fourier interpolation of what lies in the sphere inscribed to the box; around it, where a turned
    box has no data, stands the mean of what lay outside the sphere. Kept are the frequencies that
    an FSC looks at, |k| < N / 2 + 1, as far as the map has them in its own axes.
    """
    density = np.asarray(volume, dtype=np.float32)
    turn = np.asarray(rotation, dtype=np.float64)
    shift = np.asarray(shift_px, dtype=np.float64)
    n = density.shape[0]
    inside = _within_sphere(n, np.zeros(3))
    background = np.float32(density[~inside].mean(dtype=np.float64)) if not inside.all() else 0.0
    sampler = VolumeSampler(
        np.where(inside, density - background, np.float32(0)), limit=n // 2 + 1, width=6
    )
    frequencies = _kept_frequencies(n, turn)
    values = sampler.sample(frequencies, turn[None], threads)[0]
    if is_mirrored:
        values = values.conj()
    phase = np.exp((-2j * np.pi / n) * (frequencies @ shift))
    half_space = to_half_space((values * phase).astype(np.complex64), frequencies, n)
    moved = half_space_to_volume(half_space).numpy()
    # what the shift pushed out of the box has come in again on the other side
    moved[~_within_sphere(n, shift)] = 0.0
    return np.asarray(moved + np.float32(background), dtype=np.float32)


def _kept_frequencies(n: int, turn: FloatArray) -> NDArray[np.int64]:
    """Return the frequencies `(M, 3)` of a half space that both the map and the turned one have.

    Those at the Nyquist frequency of an axis are left out: they are their own opposites there, but
    not after a turn.
    """
    frequencies = sphere_of_frequencies(n // 2 + 1)
    lengths = (frequencies**2).sum(axis=1)
    highest = (n - 1) // 2
    frequencies = frequencies[(lengths < (n // 2 + 1) ** 2) & (frequencies <= highest).all(axis=1)]
    frequencies = frequencies[(frequencies >= -highest).all(axis=1)]
    within = np.abs(frequencies @ turn) <= highest + 0.5
    return np.asarray(frequencies[within.all(axis=1)])


def _within_sphere(n: int, centre_px: FloatArray) -> NDArray[np.bool_]:
    """Return which voxels lie within N / 2 of a point given about the origin voxel."""
    x, y, z = ((np.arange(n) - n // 2 - c) ** 2 for c in centre_px)
    return np.asarray(z[:, None, None] + y[:, None] + x < (n / 2) ** 2)


def _kernel(x: FloatArray, width: int) -> FloatArray:
    """Return the interpolation kernel at distances `x` [grid points], 0 from width / 2 on."""
    inside = np.maximum(0.0, 1.0 - (2.0 * x / width) ** 2)
    value = np.exp(2.30 * width * (np.sqrt(inside) - 1.0))
    return np.where(np.abs(x) <= width / 2, value, 0.0)


def _kernel_table(width: int) -> NDArray[np.float32]:
    """Return the weights `(_TABLE + 2, width)` of the grid points about each fractional place.

    Row `e` is for a place that lies `e / _TABLE` beyond a grid point; the first of its `width`
    grid points is `width // 2 - 1` before that one.
    """
    place = width // 2 - 1 + np.arange(_TABLE + 2) / _TABLE
    return _kernel(place[:, None] - np.arange(width), width).astype(np.float32)


def _fall_off(n: int, width: int) -> FloatArray:
    """Return what interpolation multiplies the map by along an axis, `(n,)`."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = nodes * width / 2
    position = (np.arange(n) - n // 2) / (_PADDING * n)
    waves = np.cos(2 * np.pi * position[:, None] * x)
    return np.asarray(waves @ (weights * width / 2 * _kernel(x, width)))


def _padded_grid(density: NDArray[np.floating], limit: int, width: int) -> ComplexArray:
    """Return the padded transform: kz, ky from -reach to reach, kx from -width / 2 to reach."""
    n = density.shape[0]
    size = _PADDING * n
    inverse = (1.0 / _fall_off(n, width)).astype(np.float32)
    level = np.asarray(density, dtype=np.float32) * inverse[:, None, None]
    compensated = torch.from_numpy(level * inverse[:, None] * inverse)
    padded = torch.zeros((size,) * 3)
    place = (torch.arange(n) - n // 2) % size  # the origin voxel goes to index 0
    padded[place[:, None, None], place[None, :, None], place] = compensated
    half_space = torch.fft.rfftn(padded).numpy()
    del padded
    reach = _PADDING * limit + width // 2 + 1
    wrapped = np.arange(-reach, reach + 1) % size
    columns = np.arange(-(width // 2), reach + 1)
    grid = np.empty((len(wrapped), len(wrapped), len(columns)), np.complex64)
    stored = (columns >= 0) & (columns <= size // 2)
    first, last = width // 2, width // 2 + int(stored.sum())
    for plane, kz in enumerate(wrapped):  # at once, it would take as much memory again
        grid[plane, :, first:last] = half_space[kz, wrapped, : last - first]
    # the few columns that a half space lacks, so that no reader has to cross over
    for index in np.flatnonzero(~stored):
        mirrored = half_space[-wrapped[:, None], -wrapped, -columns[index] % size]
        grid[:, :, index] = mirrored.conj()  # F(-k) = conj F(k)
    return grid


@njit(nogil=True, cache=True, fastmath=True)
def _sample(  # type: ignore[no-untyped-def]
    grid, table, frequencies, rotations, start, stop, out
):  # pragma: no cover - compiled
    """Fill entries `start` to `stop` of the flattened `out` `(B, M)`."""
    count = frequencies.shape[0]
    taps = table.shape[1]
    before = taps // 2 - 1
    centre = grid.shape[0] // 2
    weight_x = np.empty(taps, np.float32)
    weight_y = np.empty(taps, np.float32)
    weight_z = np.empty(taps, np.float32)
    turn, entry = start // count, start % count
    for _ in range(start, stop):
        r = rotations[turn]
        k = frequencies[entry]
        # F(R^T k)
        x = _PADDING * (r[0, 0] * k[0] + r[1, 0] * k[1] + r[2, 0] * k[2])
        y = _PADDING * (r[0, 1] * k[0] + r[1, 1] * k[1] + r[2, 1] * k[2])
        z = _PADDING * (r[0, 2] * k[0] + r[1, 2] * k[1] + r[2, 2] * k[2])
        is_opposite = x < 0.0
        if is_opposite:
            x, y, z = -x, -y, -z
        x0 = _fill(table, x + taps // 2, weight_x) - before
        y0 = _fill(table, y + centre, weight_y) - before
        z0 = _fill(table, z + centre, weight_z) - before
        real = np.float32(0.0)
        imag = np.float32(0.0)
        for i in range(taps):
            for j in range(taps):
                row_real = np.float32(0.0)
                row_imag = np.float32(0.0)
                for m in range(taps):
                    value = grid[z0 + i, y0 + j, x0 + m]
                    row_real += weight_x[m] * value.real
                    row_imag += weight_x[m] * value.imag
                f = weight_z[i] * weight_y[j]
                real += f * row_real
                imag += f * row_imag
        out[turn, entry] = complex(real, -imag if is_opposite else imag)
        entry += 1
        if entry == count:
            turn, entry = turn + 1, 0


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _fill(table, position, weights):  # type: ignore[no-untyped-def]
    """Write the weights of the grid points about a positive place; return the one before it."""
    before = int(position)
    scaled = (position - before) * _TABLE
    row = int(scaled)
    fraction = np.float32(scaled - row)
    for tap in range(table.shape[1]):
        low = table[row, tap]
        weights[tap] = low + fraction * (table[row + 1, tap] - low)
    return before
