"""Rows of a board, made by hand."""

from dataclasses import replace

from cesped.leaderboard.ranking import RANKED_BY
from cesped.leaderboard.rows import BoardRow, Figure
from cesped.vocabulary import PredictionType, ScoreStatus, Track

CONDITIONS = {
    "metric version": "1",
    "prediction type": "SO3",
    "particles": "sha256:a and sha256:b",
    "images": "sha256:d",
    "mask": "sha256:c",
    "symmetry": "C1",
    "weights": "predicted confidence",
}


def row(method, value, interval=None, **changes):
    conditions = {**CONDITIONS, **changes.pop("conditions", {})}
    return replace(
        BoardRow(
            method=method,
            submission=method,
            track=Track.SUPERVISED,
            entry="DEMO",
            prediction_type=PredictionType.SO3,
            status=ScoreStatus.SUBMITTED,
            conditions=conditions,
            figures={RANKED_BY: Figure(value, interval)},
        ),
        **changes,
    )
