"""Where errors are made: by viewing direction, by defocus, and by resolution.

All functions take what a result holds (`EvaluationResult.particles`, `.fsc_curves`), so they work
on results that were read back from files.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.errors import MetadataError, OptionError
from cesped.geometry.healpix import pixel_angles_deg, pixel_count, pixels_of_angles
from cesped.physics.fsc import FscCurve

#: Particles that a pixel of the sphere should hold on average, so that its mean says something.
PARTICLES_PER_PIXEL = 8
FINEST_SPHERE_ORDER = 4
ERROR = "angular_error_deg"


def sphere_order(n_particles: int) -> int:
    """Return the HEALPix order whose pixels hold enough of `n_particles` on average, 0 to 4."""
    order = 0
    while order < FINEST_SPHERE_ORDER and n_particles > PARTICLES_PER_PIXEL * 12 * 4 ** (order + 1):
        order += 1
    return order


def errors_by_direction(particles: pd.DataFrame, order: int | None = None) -> pd.DataFrame:
    """Return the spread of errors in each pixel of the sphere of true viewing directions.

    Parameters
    ----------
    particles : with columns rot_deg, tilt_deg, angular_error_deg
    order : HEALPix order of the pixels; by the number of particles when None

    Returns
    -------
    One row per pixel, in nested order: rot_deg and tilt_deg of its centre, `particles` in it, and
    the columns of `error_spread`, NaN where there are none.
    """
    _require(particles, "rot_deg", "tilt_deg", ERROR)
    chosen = sphere_order(len(particles)) if order is None else order
    pixel = pixels_of_angles(chosen, particles["rot_deg"], particles["tilt_deg"])
    table = error_spread(particles[ERROR].to_numpy(np.float64), pixel, pixel_count(chosen))
    centres = pixel_angles_deg(chosen)
    table.insert(0, "rot_deg", centres[:, 0])
    table.insert(1, "tilt_deg", centres[:, 1])
    return table


def errors_by_defocus(particles: pd.DataFrame, n_bins: int = 8) -> pd.DataFrame | None:
    """Return the spread of errors in bins of defocus that hold equally many particles.

    Parameters
    ----------
    particles : with columns defocus_angst, angular_error_deg
    n_bins : how many; fewer where many particles share one defocus

    Returns
    -------
    One row per bin: low_angst and high_angst, the smallest and the largest defocus in it, and the
    columns of `error_spread`. None if fewer than two defoci are known.

    Raises
    ------
    OptionError
        If fewer than two bins are asked for.
    """
    if n_bins < 2:
        raise OptionError(f"{n_bins} bins of defocus: use at least 2")
    if "defocus_angst" not in particles:
        return None  # written before defocus was kept
    _require(particles, ERROR)
    defocus = particles["defocus_angst"].to_numpy(np.float64)
    known = np.isfinite(defocus)
    defocus = defocus[known]
    if not len(defocus) or np.ptp(defocus) == 0:
        return None
    edges = np.unique(np.quantile(defocus, np.linspace(0, 1, n_bins + 1)))
    number = np.clip(np.searchsorted(edges, defocus, side="right") - 1, 0, len(edges) - 2)
    errors = particles[ERROR].to_numpy(np.float64)[known]
    table = error_spread(errors, number, len(edges) - 1)
    grouped = pd.Series(defocus).groupby(number)
    table.insert(0, "low_angst", grouped.min().reindex(table.index))
    table.insert(1, "high_angst", grouped.max().reindex(table.index))
    return table[table["particles"] > 0].reset_index(drop=True)


def error_spread(
    errors_deg: NDArray[np.float64], group: NDArray[np.int64], n_groups: int
) -> pd.DataFrame:
    """Return one row per group: how many errors, their mean, quartiles, and how many are small.

    Parameters
    ----------
    errors_deg : `(P,)` [degrees]
    group : `(P,)` which group each belongs to, 0 to `n_groups` - 1

    Returns
    -------
    Columns particles, mean_deg, quantile_25_deg, median_deg, quantile_75_deg and
    share_under_10_deg; NaN where a group is empty.
    """
    grouped = pd.Series(errors_deg).groupby(group)
    table = pd.DataFrame(
        {
            "particles": grouped.size(),
            "mean_deg": grouped.mean(),
            "quantile_25_deg": grouped.quantile(0.25),
            "median_deg": grouped.median(),
            "quantile_75_deg": grouped.quantile(0.75),
            "share_under_10_deg": pd.Series(errors_deg < 10).groupby(group).mean(),
        }
    ).reindex(range(n_groups))
    table["particles"] = table["particles"].fillna(0).astype(int)
    return table


def agreement_by_resolution(
    curves: Mapping[str, FscCurve], *, masked: bool, n_bands: int = 8
) -> pd.DataFrame | None:
    """Return how much of the truth's agreement the prediction reaches in bands of resolution.

    Each prediction is compared with the truth of the other half, so that no noise is shared: a
    band in which both columns are equal has lost nothing.

    Parameters
    ----------
    curves : of a result
    masked : whether to use the masked curves
    n_bands : bands of equal width in frequency, from shell 1 to Nyquist

    Returns
    -------
    One row per band: coarse_angst and fine_angst, its limits; `truth`, the mean over its shells of
    FSC(GT_0, GT_1) under the prediction's weights; `prediction`, of FSC(V_i, GT_1-i); and `lost`,
    their difference. None if the result has no such curves.
    """
    suffix = "_masked" if masked else ""
    truth = curves.get(f"truth_same_weights_crossed{suffix}")
    found = curves.get(f"prediction_crossed{suffix}")
    if truth is None or found is None:
        return None
    shells = np.array_split(np.arange(1, len(found.correlation)), n_bands)
    rows = []
    for band in (shell for shell in shells if len(shell)):
        best = float(np.mean(truth.correlation[band]))
        reached = float(np.mean(found.correlation[band]))
        coarse, fine = found.frequency_per_angst[[band[0], band[-1]]]
        rows.append((1 / coarse, 1 / fine, best, reached, best - reached))
    return pd.DataFrame(rows, columns=["coarse_angst", "fine_angst", "truth", "prediction", "lost"])


def _require(particles: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in particles]
    if missing:
        raise MetadataError(
            f"the table of particles has no {', '.join(missing)}; give EvaluationResult.particles, "
            "or particles.csv of an evaluation"
        )
