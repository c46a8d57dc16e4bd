"""The part of the page that states the figures: in short, in a table, and all of them."""

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..vocabulary import PredictionType, Track
from .glossary import (
    ABINITIO_TERMS,
    MAIN_MAP_GROUPS,
    MAP_TERMS,
    MORE_POSE_TERMS,
    OTHER_MAP_GROUPS,
    POSE_TERMS,
    PUBLISHED_TERMS,
    Term,
)
from .markup import details, table

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult

#: Figures shown large, and their titles.
_CARDS = {
    "mean_angular_error_deg": "mean angular error (MAnE)",
    "median_angular_error_deg": "median angular error",
    "share_under_10_deg": "placed within 10°",
    "resolution_to_truth_05_angst": "map against truth, FSC 0.5",
}
#: Columns of the table of figures: whose poses, and what they are called.
_COLUMNS = {
    "prediction": "prediction",
    "random": "random poses",
    "fixed_view": "one fixed view",
    "truth": "known poses",
}
_TERMS = POSE_TERMS | MAP_TERMS
_NEAR = 1.001  # rounding of resolutions in shells


def summary(result: "EvaluationResult") -> str:
    """Return the section that says how good the poses are in a few words and figures."""
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


def _verdict(result: "EvaluationResult", scores: "_Scores") -> str:
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


def score_table(result: "EvaluationResult") -> str:
    """Return the section with all figures, between those of its floors and of its ceiling."""
    poses = dict(POSE_TERMS)
    if PredictionType.parse(result.prediction_type) is not PredictionType.SO3XR2:
        del poses["shift_rmse_angst"]  # shifts were not predicted
    groups: dict[str, Mapping[str, Term]] = {"Poses": poses, **MAIN_MAP_GROUPS}
    if result.stamps.get("track") == Track.AB_INITIO.value:
        groups["Without a reference: figures of the ab initio track"] = ABINITIO_TERMS
    scores = _Scores(result)
    more = {"Spread and parts of the errors, and what confidence is worth": MORE_POSE_TERMS}
    return (
        "<section><h2>The score</h2>"
        "<p>Each figure stands between two marks: poses that know nothing (the floor: drawn at "
        "random, or one and the same for every particle) and the known poses themselves (the "
        "ceiling that the data allow). In small print: 95 % intervals, by how much a figure would "
        "move with other particles of the same kind.</p>"
        + _figure_table(scores, groups)
        + details("More about the poses", _figure_table(scores, more))
        + details("More about the maps", _figure_table(scores, OTHER_MAP_GROUPS))
        + details("Figures under their published names", _published_table(result))
        + details("Every figure, each half by itself, with and without mask", _long_table(result))
        + "</section>"
    )


def _figure_table(scores: "_Scores", groups: Mapping[str, Mapping[str, Term]]) -> str:
    """Return figures of prediction, floors and known poses, under the headings of `groups`."""
    columns = {poses: title for poses, title in _COLUMNS.items() if scores.has(poses)}
    rows = []
    for group, terms in groups.items():
        heading = f'<td colspan="{len(columns) + 2}">{html.escape(group)}</td>'
        rows.append(f'<tr class="group">{heading}</tr>')
        for metric, term in terms.items():
            if not np.isfinite(scores.value("prediction", metric)):
                continue
            cells = "".join(
                f'<td class="n{" ours" if poses == "prediction" else ""}">'
                f"{scores.shown(term, poses, metric)}"
                f"{scores.interval(term, metric) if poses == 'prediction' else ''}</td>"
                for poses in columns
            )
            rows.append(
                f'<tr><td class="label">{html.escape(term.label)}</td>{cells}'
                f'<td class="why">{html.escape(term.meaning)}</td></tr>'
            )
    titles = "".join(f'<th class="n">{html.escape(title)}</th>' for title in columns.values())
    return (
        '<div class="scroll" tabindex="0"><table><thead><tr>'
        f"<th>figure</th>{titles}<th>meaning</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _published_table(result: "EvaluationResult") -> str:
    rows = []
    for key, value in result.published.items():
        term = PUBLISHED_TERMS.get(key, Term(key, "", ""))
        rows.append((html.escape(key), html.escape(term.show(value)), html.escape(term.meaning)))
    return table(("key in metrics.json", "value", "meaning"), rows, number_columns=(1,))


def _long_table(result: "EvaluationResult") -> str:
    rows = [
        (
            html.escape(row.poses.replace("_", " ")),
            html.escape(str(row.half)),
            html.escape(row.metric),
            "yes" if row.masked else "no",
            f"{row.value:.5g}" if np.isfinite(row.value) else "–",
            "–" if row.interval is None else f"{row.interval[0]:.5g} to {row.interval[1]:.5g}",
            "lower" if row.direction == "min" else "higher",
        )
        for row in (*result.rows, *result.reference_rows)
    ]
    return table(
        ("poses", "half", "figure", "masked", "value", "95 % interval", "better"),
        rows,
        number_columns=(4, 5),
    )


class _Scores:
    """Looks up figures over both halves, inside the mask where there is one."""

    def __init__(self, result: "EvaluationResult") -> None:
        self._by_poses = {poses: result.metrics_of(poses) for poses in _COLUMNS}
        rows = sorted(result.rows, key=lambda row: row.masked)  # of two, the masked one is shown
        self._intervals = {row.metric: row.interval for row in rows if row.half == "all"}

    def has(self, poses: str) -> bool:
        """Return whether there is any figure of these poses, or a column is due to them anyway."""
        return poses != "fixed_view" or bool(self._by_poses[poses])

    def value(self, poses: str, metric: str) -> float:
        """Return the figure; NaN if it was not computed."""
        return float(self._by_poses[poses].get(metric, np.nan))

    def shown(self, term: Term, poses: str, metric: str) -> str:
        """Return the figure as HTML text."""
        return html.escape(term.show(self.value(poses, metric)))

    def interval(self, term: Term, metric: str) -> str:
        """Return the 95 % interval of the prediction's figure as HTML; nothing without one."""
        ends = self._intervals.get(metric)
        if ends is None:
            return ""
        low, high = (f"{end * term.scale:.{term.decimals}f}" for end in ends)
        return f'<span class="ci">{low} to {high}</span>'
