import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import IdMismatchError
from cesped.evaluation.matching import match_rows

FILES = {"truth_source": "truth.star", "predicted_source": "predicted.star"}


@given(st.permutations([f"{row:03d}@stack.mrcs" for row in range(12)]))
def test_any_row_order_gives_back_the_truth(ids):
    truth = sorted(ids)
    order = match_rows(truth, ids, **FILES)
    assert [ids[row] for row in order] == truth


def test_missing_doubled_and_foreign_ids_are_named_with_file_and_row():
    with pytest.raises(IdMismatchError) as caught:
        match_rows(["a", "b", "c"], ["a", "x", "a"], **FILES)
    message = str(caught.value)
    assert "2 particles missing from the predictions: 'b' (row 2 of truth.star)" in message
    assert "'c' (row 3 of truth.star)" in message
    assert "1 particle listed more than once: 'a' (rows 1, 3 of predicted.star)" in message
    assert "1 particle foreign to this half: 'x' (row 2 of predicted.star)" in message
    assert "rlnImageName" in message


def test_at_most_five_are_named_and_all_are_counted():
    truth = [f"p{row}" for row in range(40)]
    with pytest.raises(IdMismatchError) as caught:
        match_rows(truth, truth[:20], **FILES)
    message = str(caught.value)
    assert "20 particles missing" in message
    assert "'p24' (row 25 of truth.star)" in message
    assert "p25" not in message
    assert "and 15 more" in message


def test_an_id_that_the_entry_itself_doubles_is_an_error():
    with pytest.raises(IdMismatchError, match=r"listed more than once: 'a' \(rows 1, 2 of truth"):
        match_rows(["a", "a"], ["a"], **FILES)


def test_swapped_halves_are_recognised():
    with pytest.raises(IdMismatchError, match="other half: give the two files in the other order"):
        match_rows(["a", "b"], ["c", "d"], other_half_ids=["c", "d"], **FILES)


def test_a_file_of_both_halves_is_recognised():
    with pytest.raises(IdMismatchError, match=r"foreign.*Particles of both halves are in this one"):
        match_rows(["a", "b"], ["c", "b", "a", "d"], other_half_ids=["c", "d"], **FILES)


def test_row_numbers_are_whole_numbers_of_the_platform():
    assert match_rows(["b", "a"], np.array(["a", "b"], dtype=object), **FILES).dtype == np.int64


@pytest.mark.parametrize(
    "given",
    [["1@p.mrcs", "2@p.mrcs"], ["000002@Extract/job1/p.mrcs", "000001@Extract/job1/p.mrcs"]],
)
def test_names_that_differ_in_zeros_or_folders_are_told(given):
    with pytest.raises(
        IdMismatchError, match=r"same particles under other names: '[^']+' for '0000"
    ):
        match_rows(["000001@p.mrcs", "000002@p.mrcs"], given, **FILES)


def test_other_particles_of_a_stack_are_not_taken_for_the_same():
    with pytest.raises(IdMismatchError, match="Predict every particle"):
        match_rows(["1@p.mrcs", "2@p.mrcs"], ["1@p.mrcs", "3@p.mrcs"], **FILES)
    with pytest.raises(IdMismatchError, match="Predict every particle"):
        match_rows(["1@a/p.mrcs", "1@b/p.mrcs"], ["1@c/p.mrcs", "1@c/p.mrcs"], **FILES)
