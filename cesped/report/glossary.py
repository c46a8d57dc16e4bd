"""What each figure of a score means, in words for readers who know no cryo-EM."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A figure of the score.

    Attributes
    ----------
    label : short name for tables.
    unit : "°", "Å", "%" or nothing.
    meaning : one or two sentences.
    decimals : digits shown after the point.
    scale : factor from the stored value to the shown one (100 for a share shown in %).
    """

    label: str
    unit: str
    meaning: str
    decimals: int = 3
    scale: float = 1.0

    def show(self, value: float, decimals: int | None = None) -> str:
        """Return `value` as text with its unit; a dash if there is no such value."""
        if value != value:  # NaN: the figure does not exist here
            return "–"
        text = f"{value * self.scale:.{self.decimals if decimals is None else decimals}f}"
        return text + (self.unit if self.unit in ("°", "") else f" {self.unit}")


#: Figures about single particles, in the order of the table.
POSE_TERMS: dict[str, Term] = {
    "mean_angular_error_deg": Term(
        "mean angular error (MAnE)",
        "°",
        "By how many degrees a predicted orientation must be turned to reach the known one, "
        "averaged over the particles. Turns that the particle's symmetry makes invisible are free.",
        2,
    ),
    "weighted_mean_angular_error_deg": Term(
        "weighted mean (wMAnE)",
        "°",
        "The same mean, where particles whose known pose is more certain count more.",
        2,
    ),
    "median_angular_error_deg": Term(
        "median angular error",
        "°",
        "Half of the particles have a smaller error. A few far-off particles do not move it.",
        2,
    ),
    "share_under_5_deg": Term(
        "placed within 5°", "%", "Share of the particles with an error under 5 degrees.", 1, 100
    ),
    "share_under_10_deg": Term(
        "placed within 10°", "%", "Share of the particles with an error under 10 degrees.", 1, 100
    ),
    "mean_direction_error_deg": Term(
        "mean error of the viewing direction",
        "°",
        "The error of the side from which the particle is seen, whatever its turn in the picture.",
        2,
    ),
    "shift_rmse_angst": Term(
        "shift error (RMSE)",
        "Å",
        "By how much the predicted centre of the particle misses the known one.",
        2,
    ),
}

#: More about single particles: the spread of the errors, and their parts.
MORE_POSE_TERMS: dict[str, Term] = {
    "angular_error_quantile_25_deg": Term(
        "error of the best quarter", "°", "A quarter of the particles has a smaller error.", 2
    ),
    "angular_error_quantile_75_deg": Term(
        "error of three quarters", "°", "Three quarters of the particles have a smaller error.", 2
    ),
    "angular_error_quantile_90_deg": Term(
        "error of 90 %", "°", "Nine of ten particles have a smaller error.", 2
    ),
    "angular_error_quantile_95_deg": Term(
        "error of 95 %", "°", "Nineteen of twenty particles have a smaller error.", 2
    ),
    "median_direction_error_deg": Term(
        "median error of the viewing direction",
        "°",
        "Half of the particles are seen from a side that is nearer to the predicted one.",
        2,
    ),
    "direction_share_under_5_deg": Term(
        "direction within 5°", "%", "Share whose viewing direction is off by less.", 1, 100
    ),
    "direction_share_under_10_deg": Term(
        "direction within 10°", "%", "Share whose viewing direction is off by less.", 1, 100
    ),
    "mean_inplane_error_deg": Term(
        "mean in-plane error",
        "°",
        "The part of the error that turns the particle in its picture, the side being right.",
        2,
    ),
    "median_inplane_error_deg": Term(
        "median in-plane error", "°", "The same, for the particle in the middle.", 2
    ),
    "median_shift_error_angst": Term(
        "median shift error", "Å", "Half of the particles are centred better.", 2
    ),
    "confidence_rank_correlation": Term(
        "confidence and error, by rank",
        "",
        "Whether more confident poses are better ones: 1 always, 0 no more often than by chance.",
        3,
    ),
    "confidence_gain": Term(
        "gain by confidence",
        "%",
        "What is gained by keeping the confident particles, of what keeping the truly best ones "
        "would gain. 0 %: confidence says nothing.",
        1,
        100,
    ),
}

#: Figures of the ab initio track, in the order of the table.
ABINITIO_TERMS: dict[str, Term] = {
    "frobenius_error": Term(
        "rotation error (F-norm), as submitted",
        "",
        "CryoFastAR's figure: orientations as one view sees the others, for the best of up to "
        "5,000 views; 0 is perfect. It knows neither the other hand nor symmetry.",
        4,
    ),
    "frobenius_error_aligned": Term(
        "rotation error (F-norm), aligned",
        "",
        "The same distance after alignment, symmetry allowed for.",
        4,
    ),
    "translation_error_px": Term(
        "shift error, as submitted",
        "px",
        "Mean distance of the predicted centre from the known one.",
        3,
    ),
    "translation_error_aligned_px": Term(
        "shift error, aligned",
        "px",
        "The same after the whole map was moved back to where the known one is.",
        3,
    ),
    "pcc_volume_aligned": Term(
        "correlation of aligned maps",
        "",
        "The predicted map was turned and moved onto the known one as a whole.",
        4,
    ),
    "resolution_volume_aligned_05_angst": Term(
        "resolution of aligned maps at 0.5", "Å", "CryoFastAR's figure for simulated data.", 2
    ),
    "resolution_volume_aligned_0143_angst": Term(
        "resolution of aligned maps at 0.143", "Å", "CryoFastAR's figure for real data.", 2
    ),
}


def _map_terms(name: str) -> dict[str, Term]:
    return {
        f"pcc_{name}": Term(
            "correlation", "", "Pearson correlation of the two maps; 1 is identical.", 4
        ),
        f"resolution_{name}_0143_angst": Term(
            "resolution at FSC 0.143", "Å", "Detail size where the agreement falls under 0.143.", 2
        ),
        f"resolution_{name}_05_angst": Term(
            "resolution at FSC 0.5", "Å", "Detail size where the agreement falls under one half.", 2
        ),
    }


def _difference_terms(suffix: str) -> dict[str, Term]:
    return {
        f"delta_pcc{suffix}": Term("ΔPCC", "", "Correlation that is lost.", 4),
        f"mean_delta_fsc{suffix}": Term(
            "mean ΔFSC", "", "FSC that is lost, averaged over the shells.", 4
        ),
        f"delta_resolution{suffix}_0143_angst": Term(
            "ΔFSCR at 0.143", "Å", "Detail that is lost, at FSC 0.143.", 2
        ),
        f"delta_resolution{suffix}_05_angst": Term(
            "ΔFSCR at 0.5", "Å", "Detail that is lost, at FSC 0.5.", 2
        ),
    }


#: What is compared with what, for readers who want the short score.
MAIN_MAP_GROUPS: dict[str, dict[str, Term]] = {
    "The map from predicted poses against the map from known poses": _map_terms("to_truth"),
    "The map of one half against the map of the other, which share no particle": _map_terms(
        "halves"
    ),
}
#: The rest of the map figures.
OTHER_MAP_GROUPS: dict[str, dict[str, Term]] = {
    "One half from predicted poses against the other half from known poses: no shared noise": (
        _map_terms("crossed")
    ),
    "What the poses cost: the two truth halves, less prediction against truth": (
        _difference_terms("")
    ),
    "What the poses cost, no shared noise: truth under the same weights, less prediction, each "
    "against the other half's truth": _difference_terms("_crossed"),
}
#: All figures about the reconstructed maps.
MAP_TERMS: dict[str, Term] = {
    metric: term
    for groups in (MAIN_MAP_GROUPS, OTHER_MAP_GROUPS)
    for terms in groups.values()
    for metric, term in terms.items()
}

#: The keys of the published program's `metrics.json`, spelled as there.
PUBLISHED_TERMS: dict[str, Term] = {
    "meanAngularError": Term("meanAngularError", "°", "Mean angular error (MAnE).", 3),
    "wMeanAngularError": Term(
        "wMeanAngularError", "°", "MAnE weighted by the confidence of the known poses.", 3
    ),
    "shiftsRMSE": Term("shiftsRMSE", "Å", "Root mean square error of the shifts.", 3),
    "GT_correlation": Term("GT_correlation", "", "Correlation of the two truth half maps.", 4),
    "GT_resolution0143": Term(
        "GT_resolution0143", "Å", "Resolution of the truth half maps at 0.143.", 2
    ),
    "GT_resolution05": Term("GT_resolution05", "Å", "Resolution of the truth half maps at 0.5.", 2),
    "half2half_resolution": Term(
        "half2half_resolution", "Å", "Resolution of the predicted half maps at 0.143.", 2
    ),
    "half2half_resolution05": Term(
        "half2half_resolution05", "Å", "Resolution of the predicted half maps at 0.5.", 2
    ),
    "half2half_correlation": Term(
        "half2half_correlation", "", "Correlation of the predicted half maps.", 4
    ),
    "mapVsGT_correlaton_masked": Term(
        "mapVsGT_correlaton_masked", "", "Correlation of prediction and truth inside the mask.", 4
    ),
    "mapVsGT_correlaton_unmasked": Term(
        "mapVsGT_correlaton_unmasked", "", "Correlation of prediction and truth, whole box.", 4
    ),
    "mapVsGT_resolution": Term(
        "mapVsGT_resolution", "Å", "Resolution of prediction against truth at 0.143.", 2
    ),
    "mapVsGT_resolution05": Term(
        "mapVsGT_resolution05", "Å", "Resolution of prediction against truth at 0.5.", 2
    ),
    "mapVsGT_correlaton_diff_masked": Term(
        "mapVsGT_correlaton_diff_masked", "", "ΔPCC, both inside the mask.", 4
    ),
    "mapVsGT_correlaton_diff": Term(
        "mapVsGT_correlaton_diff", "", "ΔPCC, both over the whole box.", 4
    ),
}

#: Words of the field that the page uses.
WORDS: dict[str, str] = {
    "particle": "One picture of one molecule, frozen in ice, seen from an unknown side and very "
    "noisy. A data set has 10⁴ to 10⁶ of them.",
    "pose": "How the molecule lies in the picture: three angles (orientation) and a shift. "
    "Known here from a classical refinement, or exactly where the pictures are simulated.",
    "half": "The particles are dealt into two halves. A model that learned on one half predicts "
    "the other one only, so that no particle is scored by a model that has seen it.",
    "map": "The three-dimensional density of the molecule, computed from all particles and their "
    "poses. Wrong poses blur it.",
    "FSC": "Fourier shell correlation: how well two maps agree, from coarse detail (left) to fine "
    "detail (right). 1 is perfect; noise gives 0.",
    "resolution": "The detail size [Å, 0.1 nm] at which the FSC falls under a threshold: 0.143 by "
    "custom between half maps, 0.5 against a reference. Smaller is better. Between halves it says "
    "how repeatable a map is, not how right: poses with the same fault agree as well.",
    "mask": "A soft-edged region that holds the molecule. Inside it the solvent's noise does not "
    "count, so figures with and without it must not be compared.",
}
