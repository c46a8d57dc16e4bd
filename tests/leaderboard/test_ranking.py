"""Ranks: only among rows that were scored alike, ties shared, published figures apart."""

import math
import statistics

import pytest
from board_rows import row

from cesped.leaderboard.ranking import RANKED_BY, make_boards
from cesped.leaderboard.rows import images_condition, published_facts, published_rows
from cesped.vocabulary import ScoreStatus, Track


def places(board):
    return [[(r.row.method, r.rank) for r in section.rows] for section in board.sections]


def test_less_is_better_and_ties_share_a_rank():
    (board,) = make_boards([row("c", 9.0), row("b", 5.0), row("a", 5.0), row("d", math.nan)])
    assert places(board) == [[("a", 1), ("b", 1), ("c", 3), ("d", None)]]


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("metric version", "2", "metric version 1 instead of 2"),
        ("particles", "sha256:x", "particles sha256"),
        ("images", "sha256:e", "images sha256:e instead of sha256:d"),
        ("mask", "none", "mask none instead of sha256:c"),
        ("symmetry", "D2", "symmetry D2 instead of C1"),
        ("prediction type", "S2", "prediction type S2 instead of SO3"),
        ("weights", "none", "weights none instead of predicted confidence"),
    ],
)
def test_rows_that_were_scored_differently_are_never_ranked_together(name, other, said):
    rows = [row("a", 9.0), row("a2", 8.0), row("b", 1.0, conditions={name: other})]
    (board,) = make_boards(rows)
    assert len(board.sections) == 2
    assert {place for section in places(board) for place in section} == {
        ("a", 2),
        ("a2", 1),
        ("b", 1),
    }
    assert board.sections[0].reason == ""
    assert said in board.sections[1].reason


def test_images_are_known_by_checksum_else_by_record_else_by_size():
    def stamped(sums, records=(), size=5):
        files = [{"name": "a.mrcs", "bytes": size, "checksum": found} for found in sums]
        listed = [{"half": half, "record": record} for half, record in enumerate(records)]
        return images_condition({"image_files": files, "published_records": listed})

    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert stamped([one, other]) == stamped([one, other], size=6) != stamped([other, one])
    assert stamped([one, None]) == "not summed, 10 bytes"  # a half that is too large
    assert stamped([None, None], [7, 8]) == "records 7 and 8"
    assert stamped([None, None], [7]) == "not summed, 10 bytes"  # one half was not verified
    assert images_condition({}) == "not stated"
    # the last digits of an embedded entry are those of the machine and its threads
    files = [{"name": "a.mrcs", "bytes": 5, "checksum": one}]
    assert images_condition({"entry": "DEMO", "image_files": files}) == "embedded, 5 bytes"


def test_the_newest_metric_comes_first():
    (board,) = make_boards([row(f"m{v}", 1.0, conditions={"metric version": v}) for v in "132"])
    titles = [section.title for section in board.sections]
    assert [title[:16] for title in titles] == [f"Metric version {v}" for v in "321"]


def test_tracks_and_entries_have_boards_of_their_own_in_the_order_of_the_benchmark():
    rows = [row("a", 1.0, entry="ZZZ"), row("b", 1.0, track=Track.AB_INITIO), row("c", 1.0)]
    boards = make_boards([*rows, *published_rows()])
    found = [(board.track, board.entry) for board in boards]
    assert found[0] == (Track.SUPERVISED, "10786")
    assert found[-3:] == [
        (Track.SUPERVISED, "DEMO"),
        (Track.SUPERVISED, "ZZZ"),
        (Track.AB_INITIO, "DEMO"),
    ]
    kinds = {board.entry: board.kind for board in boards}
    assert kinds["DEMO"].startswith("simulated")
    assert kinds["simulated_10648"].startswith("simulated")
    assert kinds["10648"].startswith("experimental")
    assert kinds["ZZZ"].startswith("not published")


def test_published_rows_stand_first_without_a_rank():
    published = next(r for r in published_rows() if r.entry == "10280")
    (board,) = make_boards([row("a", 40.0, entry="10280"), published])
    assert places(board) == [[("Image2Sphere", None)], [("a", 1)]]
    assert "not ranked with the published figures" in board.sections[1].reason


def test_every_figure_of_table_iii_has_its_place():
    rows = {found.entry: found for found in published_rows()}
    assert len(rows) == 10
    assert all(found.status is ScoreStatus.PUBLISHED for found in rows.values())
    one = rows["10409"].figures
    assert {name: figure.value for name, figure in one.items() if "delta" not in name} == {
        "mean_angular_error_deg": 45.3,
        "weighted_mean_angular_error_deg": 39.2,
        "pcc_halves": 0.960,
        "pcc_to_truth": 0.884,
        "resolution_halves_0143_angst": 3.5,
        "resolution_halves_05_angst": 4.0,
        "resolution_to_truth_0143_angst": 4.0,
        "resolution_to_truth_05_angst": 8.3,
        "truth_resolution_halves_0143_angst": 3.0,
        "truth_resolution_halves_05_angst": 3.3,
        "truth_pcc_halves": 0.988,
    }
    assert math.isnan(rows["simulated_10648"].value(RANKED_BY))  # NA in the paper
    assert rows["10166"].seconds_per_1000 == pytest.approx(22 * 60 / 238.631)
    assert math.isnan(rows["10399"].seconds_per_1000)


@pytest.mark.parametrize(
    ("metric", "decimals"),
    [
        ("mean_angular_error_deg", 1),
        ("weighted_mean_angular_error_deg", 1),
        ("delta_pcc", 3),
    ],
)
def test_the_means_of_table_i_are_over_eight_entries(metric, decimals):
    table = published_facts()["table_1"]
    values = [found.value(metric) for found in published_rows() if found.entry in table["entries"]]
    assert len(values) == table["n_entries"] == 8
    half_a_digit = 0.5 * 10.0**-decimals + 1e-9
    assert abs(statistics.fmean(values) - table[metric]["mean"]) <= 1.01 * half_a_digit
    assert abs(statistics.stdev(values) - table[metric]["std"]) <= 1.01 * half_a_digit
    for left_out in range(8):  # no seven of them have these means and deviations
        seven = values[:left_out] + values[left_out + 1 :]
        off = (
            abs(statistics.fmean(seven) - table[metric]["mean"]),
            abs(statistics.stdev(seven) - table[metric]["std"]),
        )
        assert max(off) > half_a_digit
