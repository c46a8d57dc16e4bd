"""How well two maps agree: Pearson's correlation, FSC and resolutions, masked or unmasked.

Paper, section II.C, equations 7 to 10. A figure is made of two maps and at most one mask;
masked and unmasked figures are never subtracted from one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cesped.errors import GeometryError
from cesped.physics.fsc import FscCurve, check_pixel_size, curve_of, resolution_angst
from cesped.physics.shell_products import MapSpectra, ShellProducts
from cesped.vocabulary import FSC_THRESHOLDS

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class MapPair:
    """The maps of the two halves of the particles, made from one kind of poses.

    Parameters
    ----------
    half0, half1 : `(N, N, N)` [z, y, x]
    """

    half0: Volume
    half1: Volume

    @property
    def full(self) -> Volume:
        """Return the mean of the two half maps, the final map of the paper's section II.E."""
        return np.asarray((self.half0 + self.half1) * np.float32(0.5))


@dataclass(frozen=True)
class Agreement:
    """How well two maps agree.

    Parameters
    ----------
    pcc : Pearson's correlation over all voxels (equation 7)
    curve : Fourier shell correlation (equation 8)
    """

    pcc: float
    curve: FscCurve

    def resolution_angst(self, threshold: float) -> float:
        """Return FSCR: where the curve first falls below `threshold` [angstrom]."""
        return resolution_angst(self.curve, threshold)

    def resolutions_angst(self) -> dict[float, float]:
        """Return FSCR [angstrom] at each threshold of the paper, 0.143 and 0.5."""
        return {threshold: self.resolution_angst(threshold) for threshold in FSC_THRESHOLDS}


def compare_maps(
    first: Volume, second: Volume, pixel_size_angst: float, mask: Volume | None = None
) -> Agreement:
    """Return the agreement of two maps, both multiplied by `mask` if there is one.

    Parameters
    ----------
    first, second : `(N, N, N)`
    pixel_size_angst : [angstrom per voxel]
    mask : `(N, N, N)` 0 to 1; the voxels outside it count as zeros in the correlation, as published

    Raises
    ------
    GeometryError
        If the maps or the mask are not cubes of one size.
    """
    check_pixel_size(pixel_size_angst)
    spectra = MapSpectra(2, len(first), mask)
    spectra.put(0, first)
    spectra.put(1, second)
    return agreement_of(spectra.products(), (1, 0), (0, 1), len(first), pixel_size_angst)


def agreement_of(
    products: ShellProducts,
    first: Sequence[float],
    second: Sequence[float],
    n: int,
    pixel_size_angst: float,
) -> Agreement:
    """Return the agreement of two of the maps, or sums of them, whose products are known.

    Parameters are those of `cesped.physics.fsc.curve_of`.
    """
    curve = curve_of(products, first, second, n, pixel_size_angst)
    return Agreement(products.pearson(first, second), curve)


def mean_agreement(agreements: list[Agreement]) -> Agreement:
    """Return the mean correlation and the mean curve of several comparisons.

    Raises
    ------
    GeometryError
        If there are none, or their curves do not share their frequencies.
    """
    if not agreements:
        raise GeometryError("no comparisons were given; average at least one")
    curves = [agreement.curve for agreement in agreements]
    if any(
        not np.array_equal(curve.frequency_per_angst, curves[0].frequency_per_angst)
        for curve in curves
    ):
        raise GeometryError("curves of different frequencies; compare maps of one box and voxel")
    mean_curve = FscCurve(
        curves[0].frequency_per_angst,
        np.mean([curve.correlation for curve in curves], axis=0),
        curves[0].pixel_size_angst,
    )
    return Agreement(float(np.mean([agreement.pcc for agreement in agreements])), mean_curve)


def delta_pcc(truth_halves: Agreement, to_truth: Agreement) -> float:
    """Return PCC(GT_0, GT_1) - PCC(GT, V), equation 9: 0 is as good as the truth, less is better.

    Parameters
    ----------
    truth_halves : the two half maps of the truth with each other
    to_truth : the predicted map with the map of the truth
    """
    return truth_halves.pcc - to_truth.pcc


def delta_resolution_angst(truth_halves: Agreement, to_truth: Agreement, threshold: float) -> float:
    """Return FSCR(GT, V) - FSCR(GT_0, GT_1) [angstrom], the loss of resolution.

    Notes
    -----
    Equation 10 for the resolution at a threshold, with the sign of the paper's Table I: positive
    where the predicted map is worse.
    """
    return to_truth.resolution_angst(threshold) - truth_halves.resolution_angst(threshold)


def mean_delta_fsc(truth_halves: Agreement, to_truth: Agreement) -> float:
    """Return the mean over the shells above 0 of FSC(GT_0, GT_1) - FSC(GT, V), equation 10."""
    difference = truth_halves.curve.correlation - to_truth.curve.correlation
    return float(np.mean(difference[1:]))
