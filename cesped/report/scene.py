"""Two maps side by side as surfaces that the reader can turn, without any network."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..errors import MissingExtraError
from .palette import INK, PREDICTION_SURFACE, TRUTH_SURFACE
from .surface import surface_of_density

#: Voxels along the edge of the volume whose surface is drawn; more would bloat the page.
DISPLAY_BOX = 56
#: Share of Nyquist, of the map or of the display, at which the filter has fallen to 1/e.
DISPLAY_CUTOFF = 0.6


@dataclass(frozen=True)
class DisplayMap:
    """A map made small and smooth for drawing.

    Attributes
    ----------
    density : `(n, n, n)` float64 [z, y, x].
    voxel_size_angst : edge of one voxel of `density` [A].
    filter_angst : resolution to which the map was low-passed [A].
    """

    density: NDArray[np.float64]
    voxel_size_angst: float
    filter_angst: float


def display_map(
    volume: NDArray[np.floating], voxel_size_angst: float, box: int = DISPLAY_BOX
) -> DisplayMap:
    """Return `volume` `(N, N, N)` low-passed and resampled to `box` voxels in Fourier space."""
    size = volume.shape[0]
    shared = min(size, box)
    # single precision is plenty for the eye, and half the memory at a box of 360
    spectrum = scipy.fft.fftn(np.asarray(volume, dtype=np.float32))
    wave = np.arange(shared) - shared // 2  # negative ones count from the end, as in the spectrum
    fall_off = np.exp(-((wave / (DISPLAY_CUTOFF * shared / 2)) ** 2))  # of the coarser Nyquist
    kept = np.zeros((box,) * 3, dtype=complex)
    places = np.ix_(wave, wave, wave)
    kept[places] = spectrum[places] * fall_off[:, None, None] * fall_off[:, None] * fall_off
    density = np.fft.ifftn(kept).real * (box / size) ** 3
    coarser_voxel_angst = voxel_size_angst * size / shared
    return DisplayMap(
        density, voxel_size_angst * size / box, 2 * coarser_voxel_angst / DISPLAY_CUTOFF
    )


def shared_levels(truth: DisplayMap, *others: DisplayMap) -> list[float]:
    """Return a surface level per map, all enclosing the volume that the truth's density fills.

    The truth's level separates density from background at the least variance within each
    (N. Otsu, IEEE Trans. SMC 9, 1979); the other maps are cut to the same volume, so that the
    comparison does not depend on their scale.
    """
    level = _otsu_level(truth.density)
    enclosed = int(np.count_nonzero(truth.density > level))
    enclosed = int(np.clip(enclosed, truth.density.size // 500, truth.density.size // 5))
    return [_level_enclosing(shown.density, enclosed) for shown in (truth, *others)]


def scene_html(maps: Mapping[str, DisplayMap], levels: list[float], div_id: str) -> str:
    """Return the `<div>` and `<script>` that draw `maps` side by side; turning one turns all.

    The page must hold `plotly_script()` above it.
    """
    colours = (TRUTH_SURFACE, PREDICTION_SURFACE)
    share = 1.0 / len(maps)
    layout: dict[str, Any] = {
        "margin": {"l": 0, "r": 0, "t": 34, "b": 0},
        "height": 470,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "color": INK},
        "showlegend": False,
        "annotations": [],
    }
    traces = []
    surfaces = [_placed_surface(m, level) for m, level in zip(maps.values(), levels, strict=True)]
    reach = max((float(np.abs(vertices).max(initial=0)) for vertices, _ in surfaces), default=0.0)
    for position, (title, surface) in enumerate(zip(maps, surfaces, strict=True)):
        scene = "scene" if position == 0 else f"scene{position + 1}"
        traces.append(_surface_trace(surface, colours[position % 2], scene, title))
        layout[scene] = _scene_layout(reach or 1.0, position * share, (position + 1) * share)
        layout["annotations"].append(_title((position + 0.5) * share, title))
    figure = {"data": traces, "layout": layout, "config": {"displaylogo": False}}
    return (
        f'<div id="{div_id}" class="scene"></div>\n'
        f"<script>drawLinkedScenes({_script_json(div_id)}, {_script_json(figure)});</script>"
    )


def plotly_script() -> str:
    """Return the whole of plotly.js, to be put into a page once.

    Raises
    ------
    MissingExtraError
        If plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            "the report's surfaces need plotly; install it with: pip install 'cesped[plots]'"
        ) from error
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _placed_surface(
    shown: DisplayMap, level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vertices [A, from the middle of the box] and triangles of the surface at `level`."""
    vertices, triangles = surface_of_density(shown.density, level)
    return (vertices - shown.density.shape[0] / 2) * shown.voxel_size_angst, triangles


def _surface_trace(
    surface: tuple[NDArray[np.float64], NDArray[np.int64]], colour: str, scene: str, title: str
) -> dict[str, Any]:
    vertices, triangles = surface
    axes = {name: _typed(vertices[:, i].astype("<f4")) for i, name in enumerate("xyz")}
    corners = {name: _typed(triangles[:, i].astype("<u4")) for i, name in enumerate("ijk")}
    light = {"ambient": 0.38, "diffuse": 0.75, "specular": 0.1, "roughness": 0.5, "fresnel": 0.1}
    return {
        "type": "mesh3d",
        **axes,
        **corners,
        "scene": scene,
        "color": colour,
        "flatshading": False,
        "lighting": light,
        # plotly.js counts this from the viewer: a flat light from above shows the relief
        "lightposition": {"x": 100000, "y": -100000, "z": 1500},
        "hovertemplate": "x %{x:.0f} Å<br>y %{y:.0f} Å<br>z %{z:.0f} Å<extra></extra>",
        "name": title,
    }


def _scene_layout(reach_angst: float, left: float, right: float) -> dict[str, Any]:
    axis = {"visible": False, "range": [-reach_angst, reach_angst]}
    return {
        "domain": {"x": [left, right], "y": [0.0, 1.0]},
        "xaxis": axis,
        "yaxis": axis,
        "zaxis": axis,
        "aspectmode": "cube",
        "dragmode": "orbit",
        "camera": {"eye": {"x": 0.92, "y": 0.8, "z": 0.5}},
    }


def _title(centre: float, text: str) -> dict[str, Any]:
    place = {"x": centre, "y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
    return {**place, "text": text, "showarrow": False, "font": {"size": 15}}


def _typed(values: NDArray[np.generic]) -> dict[str, str]:
    """Return `values` as plotly.js's base64 typed array, a third of the size of decimal text."""
    return {"dtype": values.dtype.str[1:], "bdata": base64.b64encode(values.tobytes()).decode()}


def _script_json(value: object) -> str:
    """Return JSON that cannot end the `<script>` it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026")


def _otsu_level(density: NDArray[np.float64]) -> float:
    counts, edges = np.histogram(density, bins=512)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mass = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = mass / below - (mass[-1] - mass) / above
    between = np.nan_to_num(below * above * gap**2)
    return float(edges[int(np.argmax(between)) + 1])


def _level_enclosing(density: NDArray[np.float64], voxels: int) -> float:
    """Return the level that `voxels` voxels exceed."""
    place = density.size - voxels
    return float(np.partition(density, place - 1, axis=None)[place - 1])
