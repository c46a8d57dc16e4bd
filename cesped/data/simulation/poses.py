"""Where the poses of simulated particles come from: all directions alike, or preferred ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cesped.errors import OptionError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import axis_angle_rotations, random_rotations


@dataclass(frozen=True)
class PreferredView:
    """A direction that more particles are seen from than from others.

    Parameters
    ----------
    rot_deg, tilt_deg : the direction, as RELION's first two angles
    spread_deg : how far views scatter about it: the directions follow the von Mises-Fisher
        distribution, of which this is the deviation along each of two axes where it is small
    share : of all particles, 0 to 1

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    rot_deg: float
    tilt_deg: float
    spread_deg: float
    share: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rot_deg) and np.isfinite(self.tilt_deg)):
            raise OptionError(f"view {self}: rot and tilt must be numbers [degrees]")
        if not 0 < self.spread_deg <= 90:
            raise OptionError(f"view {self}: the spread must be above 0 and at most 90 degrees")
        if not 0 < self.share <= 1:
            raise OptionError(f"view {self}: the share of particles must be above 0 and at most 1")

    @classmethod
    def parse(cls, text: str) -> PreferredView:
        """Return the view that `ROT,TILT,SPREAD,SHARE` names.

        Examples
        --------
        >>> PreferredView.parse("0,90,15,0.6").share
        0.6
        """
        words = text.split(",")
        try:
            rot, tilt, spread, share = (float(word) for word in words)
        except ValueError:
            raise OptionError(
                f"{text!r} is no view; give ROT,TILT,SPREAD,SHARE, for example 0,90,15,0.6"
            ) from None
        return cls(rot, tilt, spread, share)


def drawn_rotations(
    count: int, views: Sequence[PreferredView], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return rotations `(count, 3, 3)`: the shares of `views`, and the rest uniform on SO(3).

    In-plane angles are uniform everywhere.

    Raises
    ------
    OptionError
        If the shares are more than 1 together.
    """
    shares = np.array([view.share for view in views])
    if shares.sum() > 1 + 1e-9:
        raise OptionError(f"the views have {shares.sum():g} of the particles together; at most 1")
    rotations = random_rotations(count, generator)
    if not views:
        return rotations
    which = np.searchsorted(np.cumsum(shares), generator.random(count), side="right")
    for number, view in enumerate(views):
        rows = np.flatnonzero(which == number)
        rotations[rows] = _about(view, len(rows), generator)
    return rotations


def _about(view: PreferredView, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return rotations whose directions scatter about that of a view."""
    kappa = np.deg2rad(view.spread_deg) ** -2
    # the cosine of the distance has the density exp(kappa cos), whose distribution inverts
    uniform = 1.0 - generator.random(count)  # above 0
    floor = np.exp(-2 * kappa)
    cosine = np.clip(1 + np.log(uniform + (1 - uniform) * floor) / kappa, -1, 1)
    azimuth = generator.uniform(0, 2 * np.pi, count)
    axes = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(count)], axis=1)
    off = axis_angle_rotations(axes, np.rad2deg(np.arccos(cosine)))
    in_plane = np.zeros((count, 3))
    in_plane[:, 2] = generator.uniform(0, 360, count)
    centre = euler_to_rotation(np.array([view.rot_deg, view.tilt_deg, 0.0]))
    return np.asarray(centre @ off @ euler_to_rotation(in_plane))


def drawn_origins_px(
    count: int,
    max_shift_px: float | None,
    shift_sigma_px: float | None,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return origins `(count, 2)` x, y [px]; 0 where neither of the two is given.

    Parameters
    ----------
    max_shift_px : uniform along each axis between minus and plus this
    shift_sigma_px : normal along each axis with this deviation

    Raises
    ------
    OptionError
        If both are given, or one is negative.
    """
    if max_shift_px is not None and shift_sigma_px is not None:
        raise OptionError("give the largest shift or the deviation of shifts, not both")
    for value in (max_shift_px, shift_sigma_px):
        if value is not None and not 0 <= value < np.inf:
            raise OptionError(f"a shift of {value:g} px was asked for; it must be 0 or more")
    if max_shift_px:
        return generator.uniform(-max_shift_px, max_shift_px, (count, 2))
    return generator.normal(0.0, shift_sigma_px or 0.0, (count, 2))
