"""A made-up outcome of an evaluation, with maps on disk, for tests of what shows it."""

import numpy as np
import pandas as pd

from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.rotations import random_rotations
from cesped.io.mrc import write_volume
from cesped.physics.density import density_from_atoms
from cesped.physics.fsc import fsc_curve
from cesped.physics.phantom import chain_phantom

BOX = 32
VOXEL_ANGST = 4.0
HOSTILE_NAME = '<script>alert("x")</script>&'


def synthetic_result(folder, target="SYNTHETIC", particles=400, symmetry="C1"):
    """Return a result whose figures lie between a truth and a random floor; maps in `folder`."""
    generator = np.random.default_rng(7)
    maps = _maps(generator)
    paths = {
        name: write_volume(folder / f"{name}.mrc", volume, VOXEL_ANGST)
        for name, volume in maps.items()
    }
    curves = {
        "prediction_to_truth": fsc_curve(maps["truth"], maps["prediction"], VOXEL_ANGST),
        "truth_halves": fsc_curve(maps["truth"], maps["truth"], VOXEL_ANGST),
        "random_to_truth": fsc_curve(maps["truth"], maps["random"], VOXEL_ANGST),
    }
    errors = np.concatenate(
        [generator.gamma(3, 4, particles * 4 // 5), generator.uniform(0, 180, particles // 5)]
    )
    return EvaluationResult(
        target=target,
        prediction_type="SO3",
        symmetry=symmetry,
        has_mask=False,
        rows=_rows("prediction", target, errors),
        reference_rows=(
            *_rows("random", target, errors * 0 + 126.9),
            *_rows("truth", target, errors * 0),
        ),
        published={"meanAngularError": float(errors.mean()), "mapVsGT_correlaton_masked": np.nan},
        stamps={"package": "1.0", "hardware": {"cpus": 2}},
        notes=(f"a note on {target}",),
        fsc_curves=curves,
        particles=_particles(errors, generator),
        map_paths=paths,
    )


def _maps(generator):
    phantom = chain_phantom(60, 36.0, generator)
    truth = density_from_atoms(*phantom, BOX, VOXEL_ANGST, 2.5 * VOXEL_ANGST)
    noise = float(truth.std())
    return {
        "truth": truth + 0.1 * noise * generator.standard_normal(truth.shape),
        "prediction": truth + 0.5 * noise * generator.standard_normal(truth.shape),
        "random": np.roll(truth, 5, axis=1) * 0.3 + noise * generator.standard_normal(truth.shape),
    }


def _rows(poses, entry, errors):
    figures = (
        ("mean_angular_error_deg", errors.mean(), "deg", "min"),
        ("median_angular_error_deg", np.median(errors), "deg", "min"),
        ("share_under_10_deg", np.mean(errors < 10), "", "max"),
        ("pcc_to_truth", 0.91, "", "max"),
        ("resolution_to_truth_05_angst", 11.2, "angst", "min"),
        ("resolution_halves_05_angst", 9.1, "angst", "min"),
    )
    return tuple(
        MetricRow(poses, entry, "all", metric, False, float(value), unit, direction)
        for metric, value, unit, direction in figures
    )


def _particles(errors, generator):
    angles = rotation_to_euler(random_rotations(len(errors), generator))
    return pd.DataFrame(
        {
            "id": [f"{row:06d}@particles.mrcs" for row in range(1, len(errors) + 1)],
            "half": np.arange(len(errors)) % 2,
            "rot_deg": angles[:, 0],
            "tilt_deg": angles[:, 1],
            "angular_error_deg": errors,
            "direction_error_deg": errors * 0.8,
            "shift_error_angst": 0.0,
            "truth_confidence": 1.0,
            "predicted_confidence": 0.5,
        }
    )
