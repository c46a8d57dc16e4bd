"""Two maps side by side as surfaces that the reader can turn, without any network."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from .palette import INK, PREDICTION, TRUTH
from .surface import surface_of_density

#: Voxels along the edge of the volume whose surface is drawn; more would bloat the page.
DISPLAY_BOX = 56
#: Share of Nyquist at which the display filter has fallen to 1/e.
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
    """Return `volume` `(N, N, N)` cut to `box` voxels in Fourier space, and low-passed."""
    size = volume.shape[0]
    small = min(size, box)
    spectrum = np.fft.fftshift(np.fft.fftn(np.asarray(volume, dtype=np.float64)))
    start = size // 2 - small // 2
    kept = slice(start, start + small)
    frequency = (np.arange(small) - small // 2) / (small / 2)  # 1 at the small box's Nyquist
    squared = sum(np.meshgrid(*(frequency**2,) * 3, indexing="ij"), np.zeros((1, 1, 1)))
    spectrum = spectrum[kept, kept, kept] * np.exp(-squared / DISPLAY_CUTOFF**2)
    density = np.fft.ifftn(np.fft.ifftshift(spectrum)).real * (small / size) ** 3
    voxel = voxel_size_angst * size / small
    return DisplayMap(density, voxel, 2.0 * voxel / DISPLAY_CUTOFF)


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
    colours = (TRUTH, PREDICTION)
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
    for position, ((title, shown), level) in enumerate(zip(maps.items(), levels, strict=True)):
        scene = "scene" if position == 0 else f"scene{position + 1}"
        traces.append(_surface_trace(shown, level, colours[position % 2], scene, title))
        layout[scene] = _scene_layout(shown, position * share, (position + 1) * share)
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


def _surface_trace(
    shown: DisplayMap, level: float, colour: str, scene: str, title: str
) -> dict[str, Any]:
    vertices, triangles = surface_of_density(shown.density, level)
    vertices = (vertices - shown.density.shape[0] / 2) * shown.voxel_size_angst
    axes = {name: _typed(vertices[:, i].astype("<f4")) for i, name in enumerate("xyz")}
    corners = {name: _typed(triangles[:, i].astype("<u4")) for i, name in enumerate("ijk")}
    light = {"ambient": 0.42, "diffuse": 0.85, "specular": 0.18, "roughness": 0.6, "fresnel": 0.1}
    return {
        "type": "mesh3d",
        **axes,
        **corners,
        "scene": scene,
        "color": colour,
        "flatshading": False,
        "lighting": light,
        "lightposition": {"x": 2000, "y": -3000, "z": 4000},
        "hovertemplate": "x %{x:.0f} Å<br>y %{y:.0f} Å<br>z %{z:.0f} Å<extra></extra>",
        "name": title,
    }


def _scene_layout(shown: DisplayMap, left: float, right: float) -> dict[str, Any]:
    half = shown.density.shape[0] / 2 * shown.voxel_size_angst
    axis = {"visible": False, "range": [-half, half]}
    return {
        "domain": {"x": [left, right], "y": [0.0, 1.0]},
        "xaxis": axis,
        "yaxis": axis,
        "zaxis": axis,
        "aspectmode": "cube",
        "dragmode": "orbit",
        "camera": {"eye": {"x": 0.95, "y": 0.85, "z": 0.6}, "projection": {"type": "orthographic"}},
    }


def _title(centre: float, text: str) -> dict[str, Any]:
    place = {"x": centre, "y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
    return {**place, "text": text, "showarrow": False, "font": {"size": 15}}


def _typed(values: NDArray) -> dict[str, str]:
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
