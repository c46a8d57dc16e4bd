"""A seeded stand-in for a protein: a folded chain of pseudo-atoms in domains of unlike size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..geometry.symmetry import PointGroup, point_group

FloatArray = NDArray[np.float64]

#: Radius of each domain in units of the largest one, and the weight of its atoms.
_DOMAIN_RADII = (1.0, 0.74, 0.6, 0.5, 0.4)
_DOMAIN_WEIGHTS = (1.0, 1.2, 0.9, 1.4, 1.6)

#: Neighbouring domains overlap a little: distance of centres over the sum of radii.
_CONTACT = 0.9

#: Where the asymmetric unit sits; its three unlike components keep D2 from looking tetrahedral.
_UNIT_DIRECTION = np.array([0.75, 0.55, 0.37]) / np.linalg.norm([0.75, 0.55, 0.37])

#: Radius of the asymmetric unit over the distance between neighbouring copies: they interlock.
_UNIT_SHARE = 1.1

#: What every accepted arrangement of domains must have: standard deviations along the principal
#: axes that differ by this factor, and skewness along each of at least this much. The first tells
#: the axes apart, the second tells each from its opposite.
_LEAST_AXIS_RATIO = 1.15
_LEAST_SKEWNESS = 0.2
_MOST_ARRANGEMENTS = 10_000


class Phantom(NamedTuple):
    """Pseudo-atoms: positions `(A, 3)` [angstrom], x y z about the origin, and weights `(A,)`."""

    positions_angst: FloatArray
    weights: FloatArray


def chain_phantom(
    n_atoms: int,
    radius_angst: float,
    generator: np.random.Generator,
    symmetry: PointGroup | str = "C1",
) -> Phantom:
    """Return a folded chain of pseudo-atoms, or a symmetric assembly of such chains.

    Parameters
    ----------
    n_atoms : int
        Atoms in all; each of the G copies gets `n_atoms // G`, which must be 50 or more.
    radius_angst : float
        Distance of the farthest atom from the origin [angstrom].
    generator : numpy.random.Generator
    symmetry : PointGroup or its name
        The operators are applied to a chain placed off every axis.

    Returns
    -------
    Phantom with its centre of mass at the origin; copies follow each other in the order of the
    operators.

    Raises
    ------
    OptionError
        If there are too few atoms, or the radius is not positive.
    SymmetryError
        If the name of the group is unknown.

    Examples
    --------
    >>> phantom = chain_phantom(1000, 60.0, np.random.default_rng(7))
    >>> phantom.positions_angst.shape
    (1000, 3)
    """
    group = point_group(symmetry) if isinstance(symmetry, str) else symmetry
    per_copy = n_atoms // group.order
    if per_copy < 50:
        raise OptionError(
            f"{n_atoms} atoms in {group.order} copies of {group.name}; "
            f"use at least {50 * group.order}"
        )
    if not radius_angst > 0:
        raise OptionError(f"phantom radius {radius_angst} A was given; it must be positive")
    positions, weights = _chain(per_copy, generator)
    if group.order > 1:
        positions = _place_copies(positions, group)
        weights = np.tile(weights, group.order)
    # The centre of mass is a fixed point of the group: removing it keeps the symmetry.
    positions = positions - np.average(positions, axis=0, weights=weights)
    positions *= radius_angst / np.linalg.norm(positions, axis=1).max()
    return Phantom(positions, weights)


def _chain(n_atoms: int, generator: np.random.Generator) -> Phantom:
    """Return one chain through all domains, at an arbitrary scale."""
    radii = np.array(_DOMAIN_RADII)
    shares = np.cumsum(radii**3) / np.sum(radii**3)
    counts = np.diff(np.rint(n_atoms * shares).astype(int), prepend=0)
    mass = counts * np.array(_DOMAIN_WEIGHTS)
    centres = _arrange_domains(radii, mass, generator)
    step = float((4 / 3 * np.pi * np.sum(radii**3) / n_atoms) ** (1 / 3))
    here = centres[0].copy()
    heading = _unit(generator.normal(size=3))
    atoms = []
    for centre, radius, count in zip(centres, radii, counts, strict=True):
        for _ in range(count):
            inward = centre - here
            distance = float(np.linalg.norm(inward))
            # Free inside, drawn back outside: the chain crosses to the next domain by itself.
            pull = 3.0 * inward / distance if distance > radius - step else np.zeros(3)
            heading = _unit(0.6 * heading + 0.8 * generator.normal(size=3) + pull)
            here = here + step * heading
            atoms.append(here)
    return Phantom(np.array(atoms), np.repeat(_DOMAIN_WEIGHTS, counts))


def _arrange_domains(
    radii: FloatArray, mass: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Return centres of spheres of which each touches an earlier one, without any symmetry."""
    for _ in range(_MOST_ARRANGEMENTS):
        centres = np.zeros((len(radii), 3))
        for index in range(1, len(radii)):
            neighbour = int(generator.integers(max(0, index - 2), index))
            reach = _CONTACT * (radii[index] + radii[neighbour])
            centres[index] = centres[neighbour] + reach * _unit(generator.normal(size=3))
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
        contact = _CONTACT * (radii[:, None] + radii[None])
        apart = gaps + np.eye(len(radii)) * contact >= contact * (1 - 1e-9)
        if apart.all() and _is_asymmetric(centres, radii, mass):
            return centres
    raise OptionError(f"no asymmetric arrangement in {_MOST_ARRANGEMENTS} tries; use another seed")


def _is_asymmetric(centres: FloatArray, radii: FloatArray, mass: FloatArray) -> bool:
    """Return whether solid balls at `centres` have three unlike and skewed principal axes."""
    share = mass / mass.sum()
    about = centres - share @ centres
    solid = float(share @ radii**2) / 5  # variance of a ball along each axis
    variance, axes = np.linalg.eigh((about * share[:, None]).T @ about)
    deviation = np.sqrt(variance + solid)
    along = about @ axes
    # Third central moment of a mixture of balls: its centres and their own width.
    third = share @ (along**3 + 3 * along * (radii**2)[:, None] / 5)
    skewness = np.abs(third) / deviation**3
    unlike = (deviation[1:] / deviation[:-1]).min() >= _LEAST_AXIS_RATIO
    return bool(unlike and skewness.min() >= _LEAST_SKEWNESS)


def _place_copies(positions: FloatArray, group: PointGroup) -> FloatArray:
    """Return copies of a chain around the axes of `group`, `(G * A, 3)`."""
    others = group.operators[1:] @ _UNIT_DIRECTION
    nearest = float(np.linalg.norm(others - _UNIT_DIRECTION, axis=1).min())
    centred = positions - positions.mean(axis=0)
    extent = float(np.linalg.norm(centred, axis=1).max())
    placed = centred + _UNIT_DIRECTION * extent / (_UNIT_SHARE * nearest)
    copies = np.einsum("gij,aj->gai", group.operators, placed)
    return np.asarray(copies.reshape(-1, 3))


def _unit(vector: FloatArray) -> FloatArray:
    """Return `vector` at length 1."""
    return np.asarray(vector / np.linalg.norm(vector))
