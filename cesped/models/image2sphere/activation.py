"""The rectifier on SO(3): to a grid of Euler angles, max(0, f), and back, one angle at a time.

A dense transform costs (coefficients x grid points) a feature; taking the three angles one after
the other costs 20 times less at l_max 8, and its tables are kilobytes.
"""

from typing import cast

import numpy as np
import torch
from torch import nn

from .harmonics import orders, small_wigner, so3_index, so3_size

#: Makes the second moment of max(0, x) one for a standard normal x.
RELU_GAIN = 2.0**0.5


class EulerGridTransform(nn.Module):
    """Exact transform between coefficients of degree up to `l_max` and an Euler-angle grid.

    The grid has Gauss-Legendre nodes in the cosine of the middle angle and uniform outer angles,
    a multiple of four of them, so that a quarter turn moves the grid onto itself. Going there and
    back returns the coefficients.

    Parameters
    ----------
    l_max : highest degree
    oversampling : ratio of the grid's resolution to the least that `l_max` needs; what a
        non-linearity creates beyond that aliases

    Notes
    -----
    With t_m(a) = cos(m a) for m >= 0 and sin(|m| a) for m < 0, a signal is
    sum over m, n of G_mn(beta) t_m(alpha) t_n(gamma), and G_mn takes two terms a degree:
    a F_mn + b F_-m-n, because D^l(beta) never mixes cosines with sines.
    """

    def __init__(self, l_max: int, oversampling: float = 1.0) -> None:
        super().__init__()
        self.l_max = l_max
        n_outer = 4 * int(np.ceil((2 * l_max + 1) * oversampling / 4))
        n_beta = int(np.ceil((l_max + 1) * oversampling))
        nodes, weights = np.polynomial.legendre.leggauss(n_beta)
        index, table = _beta_tables(l_max, torch.from_numpy(np.arccos(nodes)))
        angles = torch.arange(n_outer, dtype=torch.float64) * (2 * np.pi / n_outer)
        m = orders(l_max).to(torch.float64)
        waves = torch.where(m >= 0, torch.cos(angles[:, None] * m), torch.sin(-angles[:, None] * m))
        quadrature = torch.from_numpy(weights) / (2 * n_outer**2)
        self.register_buffer("index", index, persistent=False)
        self._table("to_beta", table)
        self._table("from_beta", (table * quadrature[:, None]).transpose(1, 2))
        self._table("to_outer", waves)
        self._table("from_outer", waves.T)

    def _table(self, name: str, values: torch.Tensor) -> None:
        self.register_buffer(name, values.to(torch.float32).contiguous(), persistent=False)

    def to_grid(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return `(n_outer, n_outer, n_beta, F)` values of `(coefficients, F)` signals.

        Axes of the result: alpha, gamma, beta.
        """
        width = 2 * self.l_max + 1
        features = coefficients.shape[1]
        padded = torch.cat([coefficients, coefficients.new_zeros(1, features)])
        index = cast(torch.Tensor, self.index)
        terms = padded.index_select(0, index.flatten()).view(*index.shape, features)
        spectrum = torch.bmm(cast(torch.Tensor, self.to_beta), terms)  # (m n, beta, F)
        to_outer = cast(torch.Tensor, self.to_outer)
        alpha = to_outer @ spectrum.view(width, -1)  # (alpha, n beta F)
        grid = to_outer @ alpha.view(to_outer.shape[0], width, -1)
        return grid.view(to_outer.shape[0], to_outer.shape[0], -1, features)

    def from_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Return the coefficients `(coefficients, F)` of `(n_outer, n_outer, n_beta, F)` values."""
        n_outer, _, n_beta, features = values.shape
        width = 2 * self.l_max + 1
        from_outer = cast(torch.Tensor, self.from_outer)
        gamma = from_outer @ values.view(n_outer, n_outer, -1)  # (alpha, n, beta F)
        spectrum = from_outer @ gamma.view(n_outer, -1)  # (m, n beta F)
        from_beta = cast(torch.Tensor, self.from_beta)
        terms = torch.bmm(from_beta, spectrum.view(width * width, n_beta, features))
        index = cast(torch.Tensor, self.index)
        padded = terms.new_zeros(so3_size(self.l_max) + 1, features)
        padded = padded.index_add(0, index.flatten(), terms.reshape(-1, features))
        return padded[:-1]


class So3Activation(nn.Module):
    """max(0, f) of signals on SO(3) given by their coefficients `(coefficients, F)`."""

    def __init__(self, l_max: int, oversampling: float = 1.0) -> None:
        super().__init__()
        self.transform = EulerGridTransform(l_max, oversampling)

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of the rectified signals, up to the same degree."""
        values = self.transform.to_grid(coefficients)
        return self.transform.from_grid(torch.relu(values) * RELU_GAIN)


def _beta_tables(l_max: int, beta_rad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which coefficients make G_mn, `(m n, 2 (l_max + 1))`, and with what, `(m n, beta, .)`.

    Terms that do not exist point at a row of zeros after the last coefficient.
    """
    width = 2 * l_max + 1
    index = torch.full((width, width, 2, l_max + 1), so3_size(l_max))
    table = torch.zeros(width, width, len(beta_rad), 2, l_max + 1, dtype=torch.float64)
    for degree in range(l_max + 1):
        matrix = small_wigner(degree, beta_rad) * (2 * degree + 1) ** 0.5
        for m in range(-degree, degree + 1):
            for n in range(-degree, degree + 1):
                place = (m + l_max, n + l_max)
                index[(*place, 0, degree)] = so3_index(degree, m, n)
                index[(*place, 1, degree)] = so3_index(degree, -m, -n)
                own, other = _factors(matrix, degree, m, n)
                table[place][:, 0, degree] = own
                table[place][:, 1, degree] = other
    terms = 2 * (l_max + 1)
    return index.view(-1, terms), table.view(width * width, len(beta_rad), terms)


def _factors(
    matrix: torch.Tensor, degree: int, m: int, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what F_mn and F_-m-n contribute to G_mn, `(beta,)` each."""

    def entry(row: int, column: int) -> torch.Tensor:
        return matrix[:, row + degree, column + degree]

    if m >= 0 and n >= 0:
        own, other = entry(m, n), entry(-m, -n)
    elif m >= 0:
        own, other = -entry(m, -n), entry(-m, n)
    elif n >= 0:
        own, other = entry(-m, n), -entry(m, -n)
    else:
        own, other = -entry(-m, -n), -entry(m, n)
    if m == 0 and n == 0:
        other = torch.zeros_like(other)
    return own, other
