"""Logits on the SO(3) grid from harmonics: a series per direction, then the in-plane turn.

The grid is a product of directions and in-plane angles, so its (coefficients x rotations) table
never exists: at order 4 and l_max 8 it would have 286 million entries, these have 12 million,
and 35 times fewer multiplications are done.

A training step needs the logits at a few labelled nodes and the logarithm of the sum of exp over
all of them. The sum, and how it changes with the coefficients, are gathered a block of directions
at a time: not even the logits of the whole grid exist, and a block stays in the cache.
"""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ...geometry.grids import So3Grid
from .harmonics import orders, small_wigner, so3_index, so3_size, turn_about_z

#: Logits held at a time: on a processor they should fit its cache, elsewhere keep it busy.
_BLOCK_LOGITS = {"cpu": 1 << 18}
_BLOCK_LOGITS_ELSEWHERE = 1 << 26

#: Differences of logits below it count as it: subnormal numbers are slow, and tell nothing.
_NEGLIGIBLE = -80.0


class GridLogits(nn.Module):
    """Values at the nodes of a grid of the signal sum of sqrt(2 l + 1) F^l_mn D^l_mn(R^-1).

    The inverse is there because a network sees the particle turned towards the camera: turning
    the image by A takes R to R A^-1, hence R^-1 to A R^-1, and F to D(A) F.

    Parameters
    ----------
    l_max : highest degree
    grid : `So3Grid`; its node (direction, in-plane) is Rz(rot) Ry(tilt) Rz(psi)
    """

    waves: torch.Tensor
    means: torch.Tensor

    def __init__(self, l_max: int, grid: So3Grid) -> None:
        super().__init__()
        self.l_max = l_max
        self.grid = grid
        angles = torch.from_numpy(np.radians(grid.direction_angles_deg()))
        tables = _direction_tables(l_max, angles[:, 0], angles[:, 1])
        for m, (index, table) in enumerate(tables):
            self.register_buffer(f"index_{m}", index, persistent=False)
            self.register_buffer(f"table_{m}", table, persistent=False)
        psi = torch.from_numpy(np.radians(grid.inplane_deg()))
        phase = torch.arange(l_max + 1)[:, None] * psi
        waves = torch.stack([torch.cos(phase), torch.sin(phase)], dim=1).flatten(0, 1)
        self.register_buffer("waves", waves.to(torch.float32), persistent=False)
        self.register_buffer("means", self._means(), persistent=False)

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return `(B, directions, in-plane angles)` logits of `(coefficients, B)` signals."""
        return self.of_directions(coefficients, 0, self.grid.n_directions)

    def of_directions(self, coefficients: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Return `(B, stop - start, in-plane angles)` logits at some of the directions."""
        series = self._series(self._terms(coefficients), start, stop)
        logits = series @ self.waves
        return logits.view(coefficients.shape[1], stop - start, -1)

    def at_nodes(self, coefficients: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        """Return the logits `(B, G)` of `(coefficients, B)` signals at `(B, G)` nodes."""
        batch, count = nodes.shape
        direction = nodes.div(self.grid.n_inplane, rounding_mode="floor").flatten()
        columns = torch.stack([2 * direction, 2 * direction + 1], dim=1).flatten()
        series = torch.stack(
            [
                torch.einsum("tb,tbgk->bgk", terms, table[:, columns].view(-1, batch, count, 2))
                for terms, table in zip(self._terms(coefficients), self._tables(), strict=True)
            ],
            dim=2,
        )
        waves = self.waves.T[nodes % self.grid.n_inplane]
        return (series.flatten(2) * waves).sum(dim=2)

    def mean(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the means `(B,)` of the logits over all nodes."""
        return self.means @ coefficients

    def log_normaliser(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return `(B,)` logarithms of the sum of exp(logit) over all nodes."""
        values: torch.Tensor = _LogNormaliser.apply(coefficients, self)  # type: ignore[no-untyped-call]
        return values

    @torch.no_grad()
    def best(
        self, coefficients: torch.Tensor, count: int, domain: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the highest logits, their nodes, and the logarithm of the sum of exp of all.

        Parameters
        ----------
        coefficients : `(coefficients, B)`
        count : how many are wanted; all of the domain if it has fewer
        domain : `(directions, in-plane)` booleans: the nodes that may be among them

        Returns
        -------
        logits : `(B, count)`, the highest first
        nodes : `(B, count)`
        log_normaliser : `(B,)`, over the whole grid
        """
        batch, count = coefficients.shape[1], min(count, int(domain.sum()))
        logits = coefficients.new_empty(batch, 0)
        nodes = torch.empty(batch, 0, dtype=torch.int64, device=coefficients.device)
        normaliser = coefficients.new_full((batch,), -torch.inf)
        for start, stop in self.blocks(batch):
            found = self.of_directions(coefficients, start, stop)
            normaliser = torch.logaddexp(normaliser, torch.logsumexp(found.flatten(1), dim=1))
            places = torch.nonzero(domain[start:stop].flatten()).flatten()
            found = found.flatten(1)
            if len(places) < found.shape[1]:
                found = found[:, places]
            high, where = found.topk(min(count, found.shape[1]), dim=1)
            logits = torch.cat([logits, high], dim=1)
            nodes = torch.cat([nodes, places[where] + start * self.grid.n_inplane], dim=1)
            logits, where = logits.topk(min(count, logits.shape[1]), dim=1)
            nodes = nodes.gather(1, where)
        return logits, nodes, normaliser

    def blocks(self, batch: int) -> Iterator[tuple[int, int]]:
        """Yield the bounds of blocks of directions whose logits fit in little memory."""
        held = _BLOCK_LOGITS.get(self.waves.device.type, _BLOCK_LOGITS_ELSEWHERE)
        step = max(1, held // max(1, batch * self.grid.n_inplane))
        for start in range(0, self.grid.n_directions, step):
            yield start, min(start + step, self.grid.n_directions)

    def _tables(self) -> list[torch.Tensor]:
        return [cast(torch.Tensor, getattr(self, f"table_{m}")) for m in range(self.l_max + 1)]

    def _terms(self, coefficients: torch.Tensor) -> list[torch.Tensor]:
        """Return the coefficients that each order m >= 0 needs, `(terms, B)`."""
        return [
            coefficients.index_select(0, cast(torch.Tensor, getattr(self, f"index_{m}")))
            for m in range(self.l_max + 1)
        ]

    def _series(self, terms: list[torch.Tensor], start: int, stop: int) -> torch.Tensor:
        """Return `(B directions, 2 (l_max + 1))`: for each order, cosine and sine of m psi."""
        parts = [
            part.T @ table[:, 2 * start : 2 * stop]
            for part, table in zip(terms, self._tables(), strict=True)
        ]
        series = torch.stack(parts, dim=1)  # (B, m, 2 directions)
        series = series.view(series.shape[0], self.l_max + 1, stop - start, 2).transpose(1, 2)
        return series.reshape(-1, 2 * (self.l_max + 1))

    def gather(self, series: torch.Tensor, start: int, stop: int, into: torch.Tensor) -> None:
        """Add to `(coefficients, B)` what `(B directions, 2 (l_max + 1))` series weights give.

        It is the transpose of the step from coefficients to series.
        """
        batch = into.shape[1]
        weights = series.view(batch, stop - start, self.l_max + 1, 2).permute(2, 0, 1, 3)
        weights = weights.reshape(self.l_max + 1, batch, -1)
        for m, table in enumerate(self._tables()):
            index = cast(torch.Tensor, getattr(self, f"index_{m}"))
            into.index_add_(0, index, table[:, 2 * start : 2 * stop] @ weights[m].T)

    def _means(self) -> torch.Tensor:
        """Return the mean of each coefficient's basis function over the nodes."""
        means = torch.zeros(so3_size(self.l_max), dtype=torch.float64)
        waves = self.waves.to(torch.float64).mean(dim=1).view(-1, 2)
        for m, table in enumerate(self._tables()):
            index = cast(torch.Tensor, getattr(self, f"index_{m}"))
            of_directions = table.view(len(table), -1, 2).mean(dim=1, dtype=torch.float64)
            means.index_add_(0, index, of_directions @ waves[m])
        return means.to(torch.float32)


class _LogNormaliser(torch.autograd.Function):
    """The logarithm of a sum of exp, with its gradient found in the same pass."""

    @staticmethod
    def forward(ctx: Any, coefficients: torch.Tensor, grid: GridLogits) -> torch.Tensor:
        coefficients = coefficients.detach().float()
        batch = coefficients.shape[1]
        terms = grid._terms(coefficients)
        waves = grid.waves
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(coefficients)
        highest = coefficients.new_full((batch,), -torch.inf)
        total = coefficients.new_zeros(batch)
        for start, stop in grid.blocks(batch):
            logits = (grid._series(terms, start, stop) @ waves).view(batch, -1)
            above = torch.maximum(highest, logits.amax(dim=1))
            shrink = torch.exp(highest - above)
            weights = logits.sub_(above[:, None]).clamp_(min=_NEGLIGIBLE).exp_()
            total = total * shrink + weights.sum(dim=1)
            highest = above
            if wanted:
                gradient *= shrink
                series = weights.view(batch * (stop - start), -1) @ waves.T
                grid.gather(series, start, stop, gradient)
        ctx.save_for_backward(gradient / total)
        return highest + torch.log(total)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None


def _direction_tables(
    l_max: int, rot_rad: torch.Tensor, tilt_rad: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return for each order m >= 0 the coefficients used and their `(terms, 2 directions)` table.

    D^l_mn(R^-1) = D^l_nm(R), and with W = D(rot, tilt, 0) that is
    W_nm cos(m psi) + W_n-m sin(m psi), for negative m as well. Columns of cosine and sine
    alternate.
    """
    indices: list[list[int]] = [[] for _ in range(l_max + 1)]
    for degree in range(l_max + 1):
        for m in orders(degree).tolist():
            indices[abs(m)] += [so3_index(degree, m, n) for n in orders(degree).tolist()]
    count = len(rot_rad)
    tables = [torch.empty(len(index), count, 2, dtype=torch.float32) for index in indices]
    filled = [0] * (l_max + 1)
    for degree in range(l_max + 1):
        w = turn_about_z(degree, rot_rad) @ small_wigner(degree, tilt_rad)
        w = (w * (2 * degree + 1) ** 0.5).to(torch.float32).permute(1, 2, 0)  # (n, m, directions)
        for m in orders(degree).tolist():
            place = slice(filled[abs(m)], filled[abs(m)] + 2 * degree + 1)
            tables[abs(m)][place, :, 0] = w[:, m + degree]
            tables[abs(m)][place, :, 1] = w[:, -m + degree] * (1.0 if m >= 0 else -1.0)
            filled[abs(m)] = place.stop
    return [
        (torch.tensor(index), table.flatten(1))
        for index, table in zip(indices, tables, strict=True)
    ]
