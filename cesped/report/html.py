"""The report of one evaluation: a single page that needs nothing else, not even a network."""

import html
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry.rotations import random_rotations, viewing_directions
from ..geometry.symmetry import (
    point_group,
    symmetric_direction_distance_deg,
    symmetric_distance_deg,
)
from ..io.files import write_text_atomic
from ..io.mrc import read_volume
from ..vocabulary import PredictionType, Track
from .canvas import png_element, svg_element
from .figures import angular_error_figure, direction_figure, fsc_figure, slices_figure
from .glossary import (
    ABINITIO_TERMS,
    MAIN_MAP_GROUPS,
    MAP_TERMS,
    OTHER_MAP_GROUPS,
    POSE_TERMS,
    PUBLISHED_TERMS,
    WORDS,
    Term,
)
from .scene import display_map, plotly_script, scene_html, shared_levels

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult

#: FSC curves of the evaluation that are drawn, and what they are called on the page.
CURVE_NAMES: dict[str, str] = {
    "prediction_to_truth": "prediction against truth",
    "truth_halves": "truth, half against half",
    "prediction_halves": "prediction, half against half",
    "random_to_truth": "random poses against truth",
}
#: Figures shown large, and their titles.
_CARDS = {
    "mean_angular_error_deg": "mean angular error (MAnE)",
    "median_angular_error_deg": "median angular error",
    "share_under_10_deg": "placed within 10°",
    "resolution_to_truth_05_angst": "map against truth, FSC 0.5",
}
_TERMS = POSE_TERMS | MAP_TERMS
_RANDOM_POSES = 20_000
_NEAR = 1.001  # rounding of resolutions in shells


def write_report(
    result: "EvaluationResult",
    path: str | os.PathLike[str],
    extra: Mapping[str, object] | None = None,
) -> Path:
    """Write the page of `result` to `path` and return the path.

    Parameters
    ----------
    result : of `cesped.evaluation.entry.evaluate_entry`.
    path : file to write.
    extra : facts to add to the table of how the score was made (recipe, times, ...).

    Raises
    ------
    MissingExtraError
        If matplotlib or plotly are not installed.
    """
    facts = {**result.stamps, **(extra or {})}
    sections = (
        _summary(result),
        _score_table(result),
        _pose_section(result),
        _map_section(result),
        _word_section(),
        _facts_section(result, facts),
    )
    page = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    text = page.substitute(
        title=html.escape(f"{result.target}: pose estimation score"),
        heading=html.escape(f"Pose estimation on {result.target}"),
        subtitle=html.escape(_subtitle(result)),
        plotly=plotly_script(),
        body="\n".join(sections),
        footer="Made by cesped. Everything on this page is inside this one file.",
    )
    return write_text_atomic(path, text)


class _Scores:
    """Looks up figures over both halves, inside the mask where there is one."""

    def __init__(self, result: "EvaluationResult") -> None:
        self._by_poses = {
            poses: result.metrics_of(poses) for poses in ("prediction", "random", "truth")
        }

    def value(self, poses: str, metric: str) -> float:
        """Return the figure; NaN if it was not computed."""
        return float(self._by_poses[poses].get(metric, np.nan))

    def shown(self, term: Term, poses: str, metric: str) -> str:
        """Return the figure as HTML text."""
        return html.escape(term.show(self.value(poses, metric)))


def _subtitle(result: "EvaluationResult") -> str:
    count = len(result.particles)
    mask = "maps compared inside a mask" if result.has_mask else "no mask"
    return f"{count:,} particles in two halves · symmetry {result.symmetry} · {mask}"


def _summary(result: "EvaluationResult") -> str:
    scores = _Scores(result)
    cards = "".join(
        f'<div class="card"><span>{html.escape(title)}</span>'
        f"<b>{scores.shown(_TERMS[metric], 'prediction', metric)}</b>"
        f"<span>random poses: {scores.shown(_TERMS[metric], 'random', metric)}</span></div>"
        for metric, title in _CARDS.items()
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in result.notes)
    return (
        "<section><h2>In short</h2>"
        f'<p class="lead">{html.escape(_verdict(result, scores))}</p>'
        f'<div class="cards">{cards}</div>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</section>"
    )


def _verdict(result: "EvaluationResult", scores: _Scores) -> str:
    def said(poses: str, metric: str) -> str:
        return _TERMS[metric].show(scores.value(poses, metric), decimals=1)

    median, detail = "median_angular_error_deg", "resolution_to_truth_05_angst"
    best = "resolution_halves_05_angst"
    text = f"Half of the predicted orientations are off by less than {said('prediction', median)}"
    if np.isfinite(scores.value("random", median)):
        text += f"; drawn at random they would be off by {said('random', median)}"
    text += (
        ". The map made from the predicted poses agrees with the map from the known poses down to "
        f"details of {said('prediction', detail)}"
    )
    finest_angst = 2 * min((c.pixel_size_angst for c in result.fsc_curves.values()), default=0.0)
    if scores.value("prediction", detail) <= finest_angst * _NEAR:
        text += " (the finest that these pixels can hold)"
    if np.isfinite(scores.value("random", detail)):
        text += f"; random poses reach {said('random', detail)}"
    if np.isfinite(scores.value("truth", best)):
        text += f", and the data with its known poses resolves {said('truth', best)}"
    return text + "."


def _score_table(result: "EvaluationResult") -> str:
    poses = dict(POSE_TERMS)
    if PredictionType.parse(result.prediction_type) is not PredictionType.SO3XR2:
        del poses["shift_rmse_angst"]  # shifts were not predicted
    groups: dict[str, Mapping[str, Term]] = {"Poses": poses, **MAIN_MAP_GROUPS}
    if result.stamps.get("track") == Track.AB_INITIO.value:
        groups["Without a reference: figures of the ab initio track"] = ABINITIO_TERMS
    scores = _Scores(result)
    return (
        "<section><h2>The score</h2>"
        "<p>Each figure stands between two marks: poses drawn at random (the floor) and the known "
        "poses themselves (the ceiling that the data allow).</p>"
        + _figure_table(scores, groups)
        + _details("More about the maps", _figure_table(scores, OTHER_MAP_GROUPS))
        + _details("Figures under their published names", _published_table(result))
        + _details("Every figure, each half by itself, with and without mask", _long_table(result))
        + "</section>"
    )


def _figure_table(scores: _Scores, groups: Mapping[str, Mapping[str, Term]]) -> str:
    """Return figures of prediction, random and known poses, under the headings of `groups`."""
    rows = []
    for group, terms in groups.items():
        rows.append(f'<tr class="group"><td colspan="5">{html.escape(group)}</td></tr>')
        rows += [
            f'<tr><td class="label">{html.escape(term.label)}</td>'
            f'<td class="n ours">{scores.shown(term, "prediction", metric)}</td>'
            f'<td class="n">{scores.shown(term, "random", metric)}</td>'
            f'<td class="n">{scores.shown(term, "truth", metric)}</td>'
            f'<td class="why">{html.escape(term.meaning)}</td></tr>'
            for metric, term in terms.items()
            if np.isfinite(scores.value("prediction", metric))
        ]
    return (
        '<div class="scroll"><table><thead><tr><th>figure</th><th class="n">prediction</th>'
        '<th class="n">random poses</th><th class="n">known poses</th><th>meaning</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _published_table(result: "EvaluationResult") -> str:
    rows = []
    for key, value in result.published.items():
        term = PUBLISHED_TERMS.get(key, Term(key, "", ""))
        rows.append((html.escape(key), html.escape(term.show(value)), html.escape(term.meaning)))
    return _table(("key in metrics.json", "value", "meaning"), rows, number_columns=(1,))


def _long_table(result: "EvaluationResult") -> str:
    rows = [
        (
            html.escape(row.poses.replace("_", " ")),
            html.escape(str(row.half)),
            html.escape(row.metric),
            "yes" if row.masked else "no",
            f"{row.value:.5g}" if np.isfinite(row.value) else "–",
            "lower" if row.direction == "min" else "higher",
        )
        for row in (*result.rows, *result.reference_rows)
    ]
    return _table(
        ("poses", "half", "figure", "masked", "value", "better"), rows, number_columns=(4,)
    )


def _pose_section(result: "EvaluationResult") -> str:
    particles = result.particles
    errors = particles["angular_error_deg"].to_numpy(dtype=np.float64)
    rot = particles["rot_deg"].to_numpy(dtype=np.float64)
    tilt = particles["tilt_deg"].to_numpy(dtype=np.float64)
    histogram = angular_error_figure(errors, _random_errors(result))
    sphere = direction_figure(rot, tilt, errors)
    return (
        "<section><h2>Where the predicted poses land</h2>"
        "<p>Left: how many particles have which error. Right: the share of particles with an error "
        "smaller than the one on the axis. The dashed lines show poses drawn at random; particles "
        "under the dashed hump are lost, those at the left edge are found.</p>"
        + svg_element(
            histogram,
            f"Angular errors: mean {errors.mean():.1f}, median {np.median(errors):.1f} degrees, "
            "beside random poses",
        )
        + "<h3>Error over the viewing directions</h3>"
        "<p>The globe of all sides from which the molecule was seen, unrolled into equal areas. "
        "Bright patches at the left are sides that the model confuses; dark patches at the right "
        "are sides that few pictures show. Grey: no particle.</p>"
        + png_element(sphere, "Mean angular error and number of particles over the viewing sphere")
        + "</section>"
    )


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
    rows = [(html.escape(key.replace("_", " ")), _fact(value)) for key, value in facts.items()]
    maps = [
        (html.escape(name.replace("_", " ")), html.escape(Path(path).name))
        for name, path in result.map_paths.items()
    ]
    return (
        "<section><h2>How this was made</h2>"
        + _table(("fact", "value"), rows)
        + _details("Map files beside this page", _table(("map", "file"), maps))
        + "</section>"
    )


def _fact(value: object) -> str:
    """Return a stamp as HTML: lists as lines, nested facts as `name: value` pairs."""
    if isinstance(value, Mapping):
        pairs = (f"{html.escape(str(key))}: {_fact(item)}" for key, item in value.items())
        return "; ".join(pairs)
    if isinstance(value, list | tuple):
        return "<br>".join(_fact(item) for item in value)
    return "–" if value is None else html.escape(str(value))


def _table(
    heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], number_columns: tuple[int, ...] = ()
) -> str:
    """Return a table; the cells of `rows` are already HTML."""
    kinds = ["n" if column in number_columns else "word" for column in range(len(heads))]
    head = "".join(
        f'<th class="{k}">{html.escape(h)}</th>' for h, k in zip(heads, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{inner}</table></div>'


def _details(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _random_errors(result: "EvaluationResult") -> np.ndarray:
    """Return angular errors of poses drawn at random, measured as those of `result` [degrees]."""
    predicted = random_rotations(_RANDOM_POSES, np.random.default_rng(0))
    truth = np.broadcast_to(np.eye(3), predicted.shape)
    group = point_group(result.symmetry)
    if PredictionType.parse(result.prediction_type) is PredictionType.S2:
        return symmetric_direction_distance_deg(
            viewing_directions(truth), viewing_directions(predicted), group
        )
    return symmetric_distance_deg(truth, predicted, group)
