"""The picture of a distribution over rotations: what is drawn where, and what is refused."""

import numpy as np
import pytest
import torch

from cesped.errors import GeometryError, OptionError, SymmetryError
from cesped.geometry.euler import euler_to_rotation
from cesped.report.so3_figure import plot_so3

#: Two rotations: one on the front at a quarter turn, one towards the back.
ROTATIONS = euler_to_rotation([[30.0, 60.0, 90.0], [-150.0, 120.0, 270.0]])


class TwoPeaks:
    """A distribution of two images with two rotations each."""

    def __len__(self):
        return 2

    def top_k(self, k):
        rotations = torch.from_numpy(ROTATIONS).float().expand(2, -1, -1, -1)[:, :k]
        return rotations, torch.tensor([[0.6, 0.3], [0.9, 0.05]])[:, :k]


def test_points_lie_at_their_directions_and_are_as_large_as_probable():
    figure = plot_so3(TwoPeaks())
    axes, wheel = figure.axes
    (points,) = axes.collections
    assert axes.name == "mollweide"
    assert wheel.name == "polar"
    places = np.degrees(points.get_offsets())
    # the less probable is drawn first; both are moved a little towards their in-plane angle
    np.testing.assert_allclose(places, [[-150, -30 - 1.5], [30, 30 + 1.5]], atol=0.01)
    np.testing.assert_allclose(points.get_array(), [270, 90], atol=0.01)
    sizes = points.get_sizes()
    assert sizes[1] / sizes[0] == pytest.approx(2.0, rel=0.01)
    assert axes.get_title(loc="left") == "2 most probable rotations: 90 %, the first 60.0 %"


@pytest.mark.parametrize(("symmetry", "rings"), [("C1", 1), ("D2", 4)])
def test_the_truth_and_its_equals_are_ringed(symmetry, rings):
    figure = plot_so3(TwoPeaks(), row=1, truth=ROTATIONS[0], symmetry=symmetry)
    marks = figure.axes[0].collections[1:]
    assert len(marks) == 2 * rings  # a dark ring under a coloured one
    np.testing.assert_allclose(np.degrees(marks[1].get_offsets()[0]), [30, 30], atol=1e-4)
    # psi is 90 degrees: a quarter of the way around the colours
    np.testing.assert_allclose(marks[1].get_edgecolors()[0][:3], [0.5, 1, 0], atol=0.03)
    widths = [mark.get_linewidths()[0] for mark in marks[1::2]]
    assert widths == sorted(widths, reverse=True)


def test_a_png_is_written(tmp_path):
    plot_so3(TwoPeaks(), truth=ROTATIONS[0], path=tmp_path / "pose.png")
    assert (tmp_path / "pose.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(OptionError, match="image 2 of a batch of 2"):
        plot_so3(TwoPeaks(), row=2)
    with pytest.raises(OptionError, match="PNG"):
        plot_so3(TwoPeaks(), path=tmp_path / "pose.jpg")
    with pytest.raises(GeometryError, match="shape"):
        plot_so3(TwoPeaks(), truth=ROTATIONS)
    with pytest.raises(GeometryError, match="the true pose"):
        plot_so3(TwoPeaks(), truth=2 * ROTATIONS[0])
    with pytest.raises(SymmetryError):
        plot_so3(TwoPeaks(), truth=ROTATIONS[0], symmetry="Q1")


def test_a_models_distribution_can_be_drawn():
    from cesped.models.registry import build_model

    torch.manual_seed(0)
    options = {"encoder": "compact", "widths": [4, 4, 4], "l_max": 3, "sphere_features": 4}
    options |= {"so3_features": 2, "projector_order": 1, "filter_order": 1, "grid_order": 1}
    model = build_model("image2sphere", "D2", **options).eval()
    distribution = model.distribution(torch.randn(2, 1, 16, 16))
    figure = plot_so3(distribution, row=1, truth=np.eye(3), symmetry="D2", points=50)
    assert len(figure.axes[0].collections[0].get_offsets()) == 50
