"""The page of poses that were found without a reference."""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..geometry.poses import Poses
from ..inference.abinitio.trust import LARGEST_TURN_ERROR_DEG, Trust, TurnCheck
from ..physics.fsc import FscCurve
from .abinitio_figures import confidence_and_shift_figure, found_directions_figure
from .canvas import png_element, svg_element
from .figures import fsc_figure, particle_figure, slices_figure
from .html import write_page
from .markup import fact, table
from .scene import display_map, scene_html, shared_levels


@dataclass(frozen=True)
class AbinitioFindings:
    """What the page shows of `P` particles.

    Parameters
    ----------
    name : of the particles
    poses : found, in the frame of the reference
    confidence : `(P,)` as the network states it, above 1
    reference : index of the particle that the others are posed relative to; its confidence, which
        is no measure of it, is not shown
    trust, check : what they are worth, and why
    volumes : maps `(N, N, N)` by their titles: of all particles, then of each half
    voxel_size_angst : of the maps
    curves : Fourier shell correlations of the halves, by what was compared
    resolutions_angst : at each threshold, of the first curve
    pictures : raw images `(K, n, n)` by what they are; `picture_names` has their names
    notes : what else a reader must know
    facts : how it was made
    """

    name: str
    poses: Poses
    confidence: NDArray[np.float64]
    reference: int
    trust: Trust
    check: TurnCheck
    volumes: Mapping[str, NDArray[np.float32]]
    voxel_size_angst: float
    curves: Mapping[str, FscCurve]
    resolutions_angst: Mapping[float, float]
    pictures: NDArray[np.float32]
    picture_names: Sequence[str]
    notes: Sequence[str]
    facts: Mapping[str, object]

    @property
    def others(self) -> NDArray[np.int64]:
        """Rows of all particles but the reference."""
        return np.flatnonzero(np.arange(len(self.poses)) != self.reference)


def write_abinitio_page(path: str | os.PathLike[str], found: AbinitioFindings) -> Path:
    """Write the page.

    Raises
    ------
    MissingExtraError
        If matplotlib or plotly are not installed.
    """
    return write_page(
        path,
        f"{found.name}: poses without a reference",
        f"Poses without a reference: {found.name}",
        f"{len(found.poses):,} particles · frame of one of them · perhaps of the other hand",
        (_summary(found), _map_section(found), _pose_section(found), _facts_section(found)),
    )


def _summary(found: AbinitioFindings) -> str:
    at_143, at_5 = (found.resolutions_angst[level] for level in (0.143, 0.5))
    median = found.check.median_deg
    cards = {
        "resolution of the halves, FSC 0.143": (f"{at_143:.2f} Å", f"FSC 0.5: {at_5:.2f} Å"),
        "poses followed a quarter turn to": (
            f"{median:.1f}°",
            f"half of {len(found.check.rows)} particles; 90°: images ignored",
        ),
        "mean confidence": (
            f"{found.confidence[found.others].mean():.4g}",
            "2: what weights that know nothing say",
        ),
    }
    shown = "".join(
        f'<div class="card"><span>{title}</span><b>{value}</b><span>{more}</span></div>'
        for title, (value, more) in cards.items()
    )
    if not found.trust.poses:
        lead = "These poses mean nothing, nor does the map that was made of them."
    elif not found.trust.confidence:
        lead = "Poses follow their images. Their confidence says nothing."
    else:
        lead = (
            "Poses follow their images, and confidence tells the better from the worse. What that "
            "cannot show: whether the map is right; look at it."
        )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in (*found.trust.notes, *found.notes))
    return (
        f'<section><h2>In short</h2><p class="lead">{html.escape(lead)}</p>'
        f'<div class="cards">{shown}</div>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</section>"
    )


def _map_section(found: AbinitioFindings) -> str:
    title, volume = next(iter(found.volumes.items()))
    shown = display_map(volume, found.voxel_size_angst)
    return (
        "<section><h2>The map</h2>"
        "<p>How well the maps of the two halves of the particles agree, from coarse detail at the "
        "left to fine detail at the right. Both halves have the frame of one particle in common, "
        "and poses are found in groups of both: this is not the resolution of two halves that were "
        "refined apart.</p>"
        + svg_element(fsc_figure(found.curves), "Fourier shell correlation of the half maps")
        + "<h3>Surface</h3>"
        f"<p>Drag to turn, scroll to zoom. Filtered to {shown.filter_angst:.0f} Å for the eye. A "
        "map and its mirror image explain the images equally well.</p>"
        + scene_html({title: shown}, shared_levels(shown), "map-3d")
        + "<h3>Sections through the centre</h3><p>Bright is dense.</p>"
        + png_element(
            slices_figure(found.volumes, found.voxel_size_angst),
            "Central sections of the maps: " + ", ".join(found.volumes),
        )
        + "</section>"
    )


def _pose_section(found: AbinitioFindings) -> str:
    return (
        "<section><h2>The poses</h2>"
        "<p>All sides from which the particles were seen, unrolled into equal areas; grey: none. "
        "The axes are those of the reference particle's image.</p>"
        + png_element(
            found_directions_figure(
                found.poses.select(found.others), found.confidence[found.others]
            ),
            "Number of particles and their mean confidence over the viewing sphere",
        )
        + "<p>Left: how sure the network is of all but the reference. Right: where in its image "
        "each particle is.</p>"
        + png_element(
            confidence_and_shift_figure(
                found.confidence[found.others], found.poses.origins_angst[found.others]
            ),
            "Histogram of confidence, and places of the particles in their images",
        )
        + "<h3>The reference, the most and the least confident particles</h3>"
        + png_element(
            particle_figure({"image": found.pictures}, found.picture_names),
            "Images of " + ", ".join(found.picture_names),
        )
        + "<p>A test without known poses: images were turned by a quarter and posed again. Half of "
        f"the {len(found.check.rows)} poses came out within {found.check.median_deg:.1f}° of the "
        f"turned ones; {LARGEST_TURN_ERROR_DEG:.0f}° and more count as poses that mean nothing.</p>"
        "</section>"
    )


def _facts_section(found: AbinitioFindings) -> str:
    rows = [(html.escape(key.replace("_", " ")), fact(value)) for key, value in found.facts.items()]
    return f"<section><h2>How this was made</h2>{table(('fact', 'value'), rows)}</section>"
