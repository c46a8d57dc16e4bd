"""Still pictures: drawn without a window system, the same bytes each time, for any data."""

import numpy as np
import pandas as pd
import pytest

from cesped.evaluation.breakdown import errors_by_defocus, errors_by_direction
from cesped.evaluation.calibration import errors_by_confidence, kept_curve
from cesped.physics.fsc import FscCurve
from cesped.report.breakdown_figures import confidence_figure, defocus_figure, direction_figure
from cesped.report.canvas import png_element, svg_element, write_png
from cesped.report.figures import (
    angular_error_figure,
    fsc_figure,
    particle_figure,
    slices_figure,
)

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def curve(resolution_angst=9.0):
    frequency = np.arange(17) / (32 * 3.0)
    correlation = 1 / (1 + np.exp((frequency - 1 / resolution_angst) * 120))
    return FscCurve(frequency, correlation, 3.0)


def figures():
    generator = np.random.default_rng(1)
    errors = generator.uniform(0, 180, 300)
    volume = generator.normal(size=(16, 16, 16)).astype(np.float32)
    images = generator.normal(size=(11, 12, 12)).astype(np.float32)
    particles = pd.DataFrame(
        {
            "half": np.arange(300) % 2,
            "rot_deg": errors * 2 - 180,
            "tilt_deg": errors,
            "angular_error_deg": errors,
            "defocus_angst": generator.uniform(5e3, 2e4, 300),
            "predicted_confidence": generator.random(300),
        }
    )
    curves = kept_curve(particles), kept_curve(particles, oracle=True)
    confidence = errors_by_confidence(particles), *curves, {}
    return {
        "fsc": lambda: fsc_figure({"a": curve(), "b": curve(20.0)}),
        "errors": lambda: angular_error_figure(errors, generator.uniform(0, 180, 500)),
        "perfect": lambda: angular_error_figure(np.zeros(20), errors),
        "sphere": lambda: direction_figure(errors_by_direction(particles)),
        "one particle": lambda: direction_figure(errors_by_direction(particles.iloc[:1])),
        "defocus": lambda: defocus_figure(errors_by_defocus(particles)),
        "confidence": lambda: confidence_figure(*confidence),
        "kept": lambda: confidence_figure(*confidence[:3], {0.5: 7.0, 0.25: 8.0, 1.0: 6.5}),
        "slices": lambda: slices_figure({"truth": volume, "prediction": volume}, 3.0),
        "flat slices": lambda: slices_figure({"nothing": volume * 0}, 3.0),
        "particles": lambda: particle_figure({"raw": images}, [f"{i}@a.mrcs" for i in range(11)]),
    }


@pytest.mark.parametrize("name", sorted(figures()))
def test_every_figure_can_be_written_as_png(name, tmp_path):
    path = write_png(figures()[name](), tmp_path / "figure.png")
    assert path.read_bytes().startswith(PNG_MAGIC)


def test_the_same_data_give_the_same_bytes():
    first, second = (svg_element(fsc_figure({"a": curve()}), "curve") for _ in range(2))
    assert first == second


def test_the_description_cannot_leave_its_attribute():
    element = png_element(fsc_figure({"a": curve()}), '"><script>alert(1)</script>')
    assert "<script>" not in element
    assert element.count('"') == 6


def test_the_users_own_matplotlib_style_is_left_alone():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    fsc_figure({"a": curve()})
    assert matplotlib.rcParams["font.size"] == before
