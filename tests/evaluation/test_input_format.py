"""What the evaluation says that it expects is what it reads."""

import numpy as np
import pytest

from cesped.cli.main import face, main
from cesped.data.conventions import read_predictions
from cesped.evaluation.input_format import example_predictions, expected_input_format


def test_the_example_is_read_as_it_is_explained(tmp_path):
    path = tmp_path / "example.star"
    path.write_text(example_predictions())
    ids, poses, has_confidence = read_predictions(path)
    assert list(ids) == ["000001@particles_0.mrcs", "000002@particles_0.mrcs"]
    assert has_confidence
    np.testing.assert_allclose(poses.confidence, [0.91, 0.08])
    np.testing.assert_allclose(poses.origins_angst, [[0.75, -1.5], [0, 2.2]])


def test_what_may_be_left_out_may_be_left_out(tmp_path):
    path = tmp_path / "bare.star"
    path.write_text(
        "data_\n\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n1@a.mrcs 1 2 3\n"
    )
    _, poses, has_confidence = read_predictions(path)
    assert not has_confidence
    np.testing.assert_array_equal(poses.origins_angst, [[0, 0]])


def test_it_can_be_printed_without_any_other_option(capsys):
    assert main(["evaluate", "--expected_input_format"]) == 0
    assert capsys.readouterr().out == expected_input_format()
    text = expected_input_format()
    for word in ("rlnImageName", "rlnParticleFigureOfMerit", "S2", "SO3xR2", example_predictions()):
        assert word in text


def test_the_papers_module_prints_it_too(capsys):
    assert face("cesped.evaluateEntry", "evaluate", ["--expected_input_format"]) == 0
    assert "rlnImageName" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["a,b", "0.5;0.7"])
def test_fractions_that_are_no_numbers_are_wrong_usage(words, capsys):
    options = ["--targetName", "T", "--half0PredsFname", "a.star", "--half1PredsFname", "b.star"]
    options += ["--predictionType", "SO3", "--kept_fractions", words]
    assert main(["evaluate", *options]) == 2
    assert "joined by commas" in " ".join(capsys.readouterr().err.split())
