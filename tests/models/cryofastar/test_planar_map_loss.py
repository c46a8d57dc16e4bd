"""The loss of Eq. 11 and its optional terms against sums written out, and where it is least."""

import numpy as np
import pytest
import torch

from cesped.errors import GeometryError, OptionError
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.planar_maps import PlanarMaps
from cesped.vocabulary import MapConvention

PAPER, RELEASED = MapConvention.PAPER, MapConvention.RELEASED
SHAPE = (2, 3, 6, 6)


def some_maps(seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    confidence = 1 + torch.rand(shape, generator=generator, dtype=torch.float64)
    images = torch.randn(*shape[:2], 1, *shape[2:], generator=generator, dtype=torch.float64)
    return PlanarMaps(points, confidence, images)


@pytest.mark.parametrize("convention", [PAPER, RELEASED])
def test_it_is_the_sum_of_equation_11(convention):
    maps, truth = some_maps(0), some_maps(1)
    found = planar_map_loss(
        maps, truth.points, convention, alpha=0.7, grid_weight=2.0, image_weight=3.0,
        true_images=truth.images,
    )  # fmt: skip
    samples, views, rows, columns = SHAPE
    x, y, c = (part.numpy() for part in (maps.points, truth.points, maps.confidence))
    points = certainty = grid = 0.0
    for b, n, i, j in np.ndindex(*SHAPE):
        weight = c[b, n, j, i] if convention is RELEASED else c[b, n, i, j]
        points += weight * ((x[b, n, i, j] - y[b, n, i, j]) ** 2).sum() / np.prod(SHAPE)
        certainty -= np.log(weight) / np.prod(SHAPE)
    for b, n in np.ndindex(samples, views):
        error = x[b, n] - y[b, n]
        grid += np.abs(error[1:] - error[:-1]).sum() / (samples * views * (rows - 1) * columns)
        right = np.abs(error[:, 1:] - error[:, :-1]).sum()
        grid += right / (samples * views * rows * (columns - 1))
    image = ((maps.images - truth.images).numpy() ** 2).mean()
    for part, wanted in zip(
        found,
        (points + 0.7 * certainty + 2 * grid + 3 * image, points, certainty, grid, image),
        strict=True,
    ):
        assert float(part) == pytest.approx(wanted, rel=1e-12)


def test_terms_that_are_not_asked_for_are_nothing():
    maps, truth = some_maps(0), some_maps(1)
    found = planar_map_loss(maps._replace(images=None), truth.points)
    assert found.grid == found.image == 0
    torch.testing.assert_close(found.total, found.points + 0.3 * found.certainty)


def test_confidence_is_best_at_alpha_over_the_squared_error():
    """The minimum of C e^2 - alpha log C; where e^2 > alpha it is the least that C can be, 1."""
    truth = some_maps(1).points
    maps = PlanarMaps(truth + 0.1, torch.empty(SHAPE, dtype=torch.float64), None)
    totals = {
        c: planar_map_loss(
            maps._replace(confidence=torch.full(SHAPE, c, dtype=torch.float64)), truth, alpha=0.3
        ).total
        for c in (8.0, 9.5, 10.0, 10.5, 12.0)
    }
    assert min(totals, key=totals.get) == 10.0  # 0.3 / (3 * 0.01)


def test_half_precision_maps_are_compared_in_single():
    maps, truth = some_maps(0), some_maps(1)
    half = PlanarMaps(*(part.bfloat16() for part in maps))
    assert planar_map_loss(half, truth.points.float()).total.dtype == torch.float32


def test_what_does_not_belong_together_is_refused():
    maps = some_maps()
    with pytest.raises(GeometryError, match="differ in shape"):
        planar_map_loss(maps, maps.points[:, :2])
    with pytest.raises(OptionError, match="needs maps with images, and true images"):
        planar_map_loss(maps, maps.points, image_weight=1.0)
    oblong = some_maps(shape=(1, 2, 4, 6))
    with pytest.raises(GeometryError, match="4 x 6 px"):
        planar_map_loss(oblong, oblong.points, RELEASED)
