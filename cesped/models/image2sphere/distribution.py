"""`PoseDistribution`: what a model believes about the poses of a batch, as harmonics."""

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from ...errors import OptionError
from ...geometry.grids import So3Grid
from ...geometry.symmetry import PointGroup, point_group
from ...vocabulary import Decoding
from .decoding import PoseDecoder
from .grid_logits import GridLogits
from .grid_nodes import GridNodes
from .series import RotationSeries


@dataclasses.dataclass(frozen=True)
class PoseSpace:
    """The grid that probabilities refer to, with the tables that evaluate signals on it.

    Parameters
    ----------
    logits : evaluates signals at nodes
    nodes : their rotations, and the fundamental domain
    series : evaluates signals at any rotation
    group : the particle's symmetry
    """

    logits: GridLogits
    nodes: GridNodes
    series: RotationSeries
    group: PointGroup

    @classmethod
    def of_order(cls, order: int, l_max: int, symmetry: PointGroup) -> "PoseSpace":
        """Make the tables of a grid."""
        grid = So3Grid(order)
        return cls(
            GridLogits(l_max, grid), GridNodes(grid, symmetry), RotationSeries(l_max), symmetry
        )


@lru_cache(maxsize=2)
def _space(order: int, l_max: int, symmetry: str, device: torch.device) -> PoseSpace:
    space = PoseSpace.of_order(order, l_max, point_group(symmetry))
    for module in (space.logits, space.nodes, space.series):
        module.to(device)
    return space


@dataclasses.dataclass(frozen=True)
class PoseDistribution:
    """Distributions over rotations, one for each image of a batch.

    The logarithm of a probability is a sum of a few hundred harmonics, so that it can be asked for
    at any rotation and on a grid of any order. Probabilities are those of the nodes of the grid:
    they sum to one, over all poses, equal ones counted each.

    Parameters
    ----------
    harmonics : `(coefficients, B)` float32 tensor, in the order of `harmonics.so3_index`
    space : the grid and its tables
    radius_deg : neighbourhood that decoding averages over [degrees]; None: 1.5 steps of the grid
    temperature : what the logits are divided by where a probability is stated
    """

    harmonics: torch.Tensor
    space: PoseSpace
    radius_deg: float | None = None
    temperature: float = 1.0

    def __len__(self) -> int:
        return self.harmonics.shape[1]

    def __getitem__(self, rows: slice) -> "PoseDistribution":
        """Return the distributions of some of the images."""
        if not isinstance(rows, slice):
            raise TypeError(f"a distribution is cut by a slice such as [0:1], found {rows!r}")
        return dataclasses.replace(self, harmonics=self.harmonics[:, rows])

    @property
    def grid(self) -> So3Grid:
        """The grid whose nodes the probabilities are of."""
        return self.space.logits.grid

    def at_order(self, order: int) -> "PoseDistribution":
        """Return the same distributions on the grid of another HEALPix order.

        Raises
        ------
        OptionError
            If there is no such order.
        """
        logits = self.space.logits
        space = _space(order, logits.l_max, self.space.group.name, self.harmonics.device)
        return dataclasses.replace(self, space=space)

    def to(self, device: torch.device | str) -> "PoseDistribution":
        """Return the same distributions on another device."""
        harmonics = self.harmonics.to(device)
        if harmonics.device == self.harmonics.device:
            return self
        moved = dataclasses.replace(self, harmonics=harmonics)
        return moved.at_order(self.grid.order)

    @torch.no_grad()
    def probabilities(self) -> torch.Tensor:
        """Return the probabilities `(B, N)` of all nodes: 1.2 MB an image at order 4."""
        return torch.softmax(self.space.logits(self._calibrated).flatten(1), dim=1)

    @torch.no_grad()
    def log_prob(self, rotations: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the probability of a cell of the grid around rotations.

        Parameters
        ----------
        rotations : `(B, 3, 3)`, one for each image, or `(B, K, 3, 3)`; on no grid

        Returns
        -------
        `(B,)` or `(B, K)`; the density relative to the uniform one is the exponential of it times
        the number of nodes
        """
        single = rotations.dim() == 3
        asked = (rotations[:, None] if single else rotations).to(self.harmonics)
        values: torch.Tensor = self.space.series(self._calibrated, asked)
        values = values - self.space.logits.log_normaliser(self._calibrated)[:, None]
        return values[:, 0] if single else values

    @torch.no_grad()
    def top_k(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the `k` most probable rotations `(B, k, 3, 3)` and their probabilities `(B, k)`.

        Of poses that symmetry makes equal one is named, the one that turns least, and its
        probability is that of all of them together.
        """
        logits, nodes, normaliser = self._best(self._calibrated, k)
        weights = torch.exp(logits - normaliser[:, None]) * self.space.nodes.order
        return self.space.nodes.rotations(nodes), weights

    @torch.no_grad()
    def decode(
        self, decoding: Decoding | str = Decoding.MEAN, candidates: int = 128
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one rotation for each image, `(B, 3, 3)`, and its confidence `(B,)`.

        Parameters
        ----------
        decoding : `argmax`, the most probable node; `neighbours`, the mean over it and those that
            touch it; `mean`, the posterior mean within `radius_deg` of the rotation with the least
            expected error
        candidates : the most probable nodes, which `mean` compares

        Notes
        -----
        The confidence is the probability of what was averaged over, of all equal poses together.
        Weights of the average are those that the model learned, whatever the temperature: labels
        are as wide as the nodes are far apart so that an average can lie between them, and a
        sharper distribution, however true, would leave one node of them.
        """
        found, logits, averaged = self.averages(decoding, candidates)
        return found, self.share(logits, averaged)

    def averages(
        self, decoding: Decoding | str, candidates: int = 128
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rotations `(B, 3, 3)`, logits `(B, M)` of nodes, and which nodes were averaged."""
        decoding = Decoding.parse(decoding)
        decoder = PoseDecoder(self.space.nodes, self._radius_deg)
        count = candidates if decoding is Decoding.MEAN else 1
        logits, nodes, normaliser = self._best(self.harmonics, count)
        rotations = self.space.nodes.rotations(nodes)
        if decoding is Decoding.MEAN:
            weights = torch.exp(logits - normaliser[:, None])
            found, averaged = decoder.around_the_best(weights, rotations)
        elif decoding is Decoding.ARGMAX:
            found, averaged = rotations[:, 0], torch.ones_like(nodes, dtype=torch.bool)
        else:
            nodes = torch.from_numpy(self.grid.neighbours(nodes[:, 0].cpu().numpy()))
            nodes = nodes.to(logits.device)
            averaged, nodes = nodes >= 0, nodes.clamp(min=0)
            logits = self.space.logits.at_nodes(self.harmonics, nodes)
            weights = torch.exp(logits - normaliser[:, None]) * averaged
            around = self.space.nodes.rotations(nodes)
            found = decoder.mean(weights, around, rotations[:, 0])
        return found, logits, averaged

    def share(self, logits: torch.Tensor, averaged: torch.Tensor) -> torch.Tensor:
        """Return the probability `(B,)` of nodes with `(B, M)` logits, and of their equals."""
        normaliser = self.space.logits.log_normaliser(self._calibrated)
        shares = torch.exp(logits / self.temperature - normaliser[:, None]) * averaged
        return (shares.sum(dim=1) * self.space.nodes.order).clamp(0.0, 1.0)

    def radius_of_deg(self, decoding: Decoding | str) -> float:
        """Return how far from its rotation that reaches which a confidence speaks of [degrees].

        A node, and a node with its 26 neighbours, count as balls of their volume.
        """
        step_deg = self.grid.inplane_step_deg
        nodes = {Decoding.ARGMAX: 1, Decoding.NEIGHBOURS: 27}.get(Decoding.parse(decoding))
        return self._radius_deg if nodes is None else (nodes * 0.75 / np.pi) ** (1 / 3) * step_deg

    @property
    def _calibrated(self) -> torch.Tensor:
        return self.harmonics / self.temperature

    @property
    def _radius_deg(self) -> float:
        return self.radius_deg or 1.5 * self.grid.inplane_step_deg

    def _best(
        self, harmonics: torch.Tensor, count: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if count < 1:
            raise OptionError(f"{count} most probable rotations: ask for at least one")
        return self.space.logits.best(harmonics, count, self.space.nodes.domain)
