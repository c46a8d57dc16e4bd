"""The report of one evaluation: a single page that needs nothing else, not even a network."""

import html
import os
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ..io.files import write_text_atomic
from ..io.mrc import read_volume
from .canvas import png_element, svg_element
from .figures import fsc_figure, slices_figure
from .glossary import WORDS
from .markup import details, fact, table
from .pose_section import breakdown_section, pose_section
from .scene import display_map, plotly_script, scene_html, shared_levels
from .score_section import score_table, summary

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult
    from .artists import Artist

#: FSC curves of the evaluation that are drawn, and what they are called on the page.
CURVE_NAMES: dict[str, str] = {
    "prediction_to_truth": "prediction against truth",
    "truth_halves": "truth, half against half",
    "prediction_halves": "prediction, half against half",
    "random_to_truth": "random poses against truth",
    "prediction_crossed": "prediction, other half's truth",
}


def write_report(
    result: "EvaluationResult",
    path: str | os.PathLike[str],
    extra: Mapping[str, object] | None = None,
    artist: "Artist | None" = None,
) -> Path:
    """Write the page of `result` to `path` and return the path.

    Parameters
    ----------
    result : of `cesped.evaluation.entry.evaluate_entry`.
    path : file to write.
    extra : facts to add to the table of how the score was made (recipe, times, ...).
    artist : draws a part of the figures meanwhile.

    Raises
    ------
    MissingExtraError
        If matplotlib or plotly are not installed.
    """
    facts = {**result.stamps, **(extra or {})}
    particles = (
        partial(_particle_sections, result)
        if artist is None
        else artist.ask(_particle_sections, result)
    )
    maps = _map_section(result)
    sections = (
        summary(result),
        score_table(result),
        particles(),
        maps,
        _word_section(),
        _facts_section(result, facts),
    )
    return write_page(
        path,
        f"{result.target}: pose estimation score",
        f"Pose estimation on {result.target}",
        _subtitle(result),
        sections,
    )


def _particle_sections(result: "EvaluationResult") -> str:
    return pose_section(result) + "\n" + breakdown_section(result)


def write_page(
    path: str | os.PathLike[str], title: str, heading: str, subtitle: str, sections: Iterable[str]
) -> Path:
    """Write one page that needs nothing else.

    Parameters
    ----------
    path : file to write
    title, heading, subtitle : plain text
    sections : HTML

    Raises
    ------
    MissingExtraError
        If plotly is not installed.
    """
    page = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    text = page.substitute(
        title=html.escape(title),
        heading=html.escape(heading),
        subtitle=html.escape(subtitle),
        plotly=plotly_script(),
        body="\n".join(sections),
        footer="Made by cesped. Everything on this page is inside this one file.",
    )
    return write_text_atomic(path, text)


def _subtitle(result: "EvaluationResult") -> str:
    count = len(result.particles)
    mask = "maps compared inside a mask" if result.has_mask else "no mask"
    return f"{count:,} particles in two halves · symmetry {result.symmetry} · {mask}"


def _map_section(result: "EvaluationResult") -> str:
    curves = _named_curves(result)
    truth, voxel = read_volume(result.map_paths["truth"])
    prediction, _ = read_volume(result.map_paths["prediction"])
    shown = display_map(truth, voxel), display_map(prediction, voxel)
    titles = ("known poses", "predicted poses")
    scene = scene_html(dict(zip(titles, shown, strict=True)), shared_levels(*shown), "maps-3d")
    volumes = {"known poses": truth, "predicted poses": prediction}
    if "random" in result.map_paths:
        volumes["random poses"] = read_volume(result.map_paths["random"])[0]
    inside = " inside the mask" if result.has_mask else ""
    return (
        "<section><h2>What the poses are worth: the maps</h2>"
        f"<p>How well two maps agree{inside}, from coarse detail at the left to fine detail at the "
        "right. A curve that stays high further to the right means finer common detail. The "
        "resolution is where a curve falls under a threshold line.</p>"
        + svg_element(fsc_figure(curves), "Fourier shell correlations: " + ", ".join(curves))
        + "<h3>Surfaces</h3>"
        f"<p>Drag to turn, scroll to zoom; both turn together. Both maps are filtered to "
        f"{shown[0].filter_angst:.0f} Å for the eye and cut to the same enclosed volume.</p>"
        + scene
        + "<h3>Sections through the centre</h3>"
        "<p>Bright is dense. All maps share one grey scale, so a blurred map looks fainter.</p>"
        + png_element(
            slices_figure(volumes, voxel), "Central sections of the maps: " + ", ".join(volumes)
        )
        + "</section>"
    )


def _named_curves(result: "EvaluationResult") -> dict[str, Any]:
    suffix = "_masked" if result.has_mask else ""
    return {
        label: result.fsc_curves[name + suffix]
        for name, label in CURVE_NAMES.items()
        if name + suffix in result.fsc_curves
    }


def _word_section() -> str:
    words = "".join(
        f"<dt>{html.escape(word)}</dt><dd>{html.escape(meaning)}</dd>"
        for word, meaning in WORDS.items()
    )
    return f"<section><h2>Words</h2><dl>{words}</dl></section>"


def _facts_section(result: "EvaluationResult", facts: Mapping[str, object]) -> str:
    rows = [
        (html.escape(key.replace("_", " ")), fact(value))
        for key, value in facts.items()
        if value not in (None, "", [], {})
    ]
    maps = [
        (html.escape(name.replace("_", " ")), html.escape(Path(path).name))
        for name, path in result.map_paths.items()
    ]
    return (
        "<section><h2>How this was made</h2>"
        + table(("fact", "value"), rows)
        + details("Map files beside this page", table(("map", "file"), maps))
        + "</section>"
    )
