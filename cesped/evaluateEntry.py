"""Score the predictions of an entry: `python -m cesped.evaluateEntry`, or `evaluate` in Python."""

import os
import sys
import tempfile
from typing import Literal


def evaluate(
    targetName: str,
    half0PredsFname: str | os.PathLike[str],
    half1PredsFname: str | os.PathLike[str],
    predictionType: Literal["S2", "SO3", "SO3xR2"],
    usePredConfidence: bool = True,
    benchmarkDir: str | os.PathLike[str] | None = None,
    relionBinDir: str | None = None,
    mpirun: str | None = None,
    relionSingularity: str | None = None,
    rm_prev_reconstructions: bool = True,
    ignore_symmetry: bool = False,
    use_gt_mask: bool = True,
    n_cpus: int = 2,
    outdir: str | os.PathLike[str] | None = None,
    *,
    maskFname: str | os.PathLike[str] | None = None,
    backend: Literal["native", "torch", "relion"] | None = None,
) -> dict[str, float]:
    """Return the published figures of an entry whose two halves were predicted.

    Parameters
    ----------
    targetName : name of the entry.
    half0PredsFname, half1PredsFname : star files with the predicted poses of half 0 and half 1.
    predictionType : what was predicted: viewing directions, orientations, or both with shifts.
    usePredConfidence : weight particles by their predicted confidence when reconstructing.
    benchmarkDir : folder of the entries; else CESPED_BENCHMARK_DIR, else your data folder.
    relionBinDir, mpirun, relionSingularity : where RELION is; giving one chooses RELION.
    rm_prev_reconstructions : compute all again; else a score in `outdir` that was made from the
        very same files is kept.
    ignore_symmetry : score and reconstruct without the entry's symmetry.
    use_gt_mask : compare maps inside the mask, where the entry has one.
    n_cpus : processor cores to use.
    outdir : folder for `metrics.json`, maps and report; nothing is kept when None.
    maskFname : mask to use instead of the entry's.
    backend : program that reconstructs; native unless RELION was chosen.

    Returns
    -------
    The published keys (`docs/metrics.md`); NaN where a key needs a mask and there is none.

    Raises
    ------
    CespedError
        One of its kinds; see `cesped.workflows.scoring.score_predictions`.
    """
    from pathlib import Path

    from .vocabulary import PredictionType
    from .workflows.scoring import ScoringOptions, choose_backend, score_predictions

    options = ScoringOptions(
        prediction_type=PredictionType.parse(predictionType),
        use_pred_confidence=usePredConfidence,
        use_mask=use_gt_mask,
        mask=None if maskFname is None else Path(maskFname),
        ignore_symmetry=ignore_symmetry,
        backend=choose_backend(backend, relionBinDir, mpirun, relionSingularity),
        threads=n_cpus,
        relion_bin_dir=relionBinDir,
        mpirun=mpirun,
        container=relionSingularity,
    )
    with tempfile.TemporaryDirectory(prefix="cesped-") as not_kept:
        result = score_predictions(
            targetName,
            (half0PredsFname, half1PredsFname),
            not_kept if outdir is None else outdir,
            options,
            benchmark_dir=benchmarkDir,
            reuse=not rm_prev_reconstructions,
        )
    return dict(result.published)


if __name__ == "__main__":
    from .cli.main import face

    sys.exit(face("cesped.evaluateEntry", "evaluate"))
