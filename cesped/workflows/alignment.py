"""Onto the truth: one map aligned to another, and poses in a frame of their own scored."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..io.files import check_writable
from ..progress import SILENT, Progress
from ..vocabulary import FSC_THRESHOLDS
from .maps import check_pixel_sizes, read_map
from .scoring import REPORT_NAME, ScoringOptions, make_engine
from .steps import run_once

if TYPE_CHECKING:
    from ..evaluation.abinitio.volume_alignment import VolumeAlignment
    from ..evaluation.results import EvaluationResult
    from ..evaluation.volumes import Agreement


@dataclass(frozen=True)
class AlignedMap:
    """A map that was aligned to another.

    Attributes
    ----------
    path : the written map.
    alignment : how it was moved.
    voxel_angst : voxel size of both maps [A].
    before, after : how well the maps agree.
    """

    path: Path
    alignment: "VolumeAlignment"
    voxel_angst: float
    before: "Agreement"
    after: "Agreement"

    def resolutions_angst(self) -> dict[float, tuple[float, float]]:
        """Return the common resolution before and after [A], at each of `FSC_THRESHOLDS`."""
        return {
            level: (self.before.resolution_angst(level), self.after.resolution_angst(level))
            for level in FSC_THRESHOLDS
        }


def align_map(
    fixed: str | os.PathLike[str],
    moving: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    mask: str | os.PathLike[str] | None = None,
    both_hands: bool = True,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> AlignedMap:
    """Turn, move and, if need be, mirror the map `moving` onto `fixed`, and write it to `out`.

    Parameters
    ----------
    fixed, moving : maps of one box and voxel size.
    out : map to write; none of the files that are read.
    mask : around the particle of `fixed`; used for the alignment and for the agreement.
    both_hands : also try the mirror image.
    threads : processor cores to use.

    Raises
    ------
    OptionError
        If `out` is one of the files that are read, or the box is too small.
    PixelSizeError
        If the voxel sizes differ.
    GeometryError
        If the boxes differ.
    ImageValueError
        If a map is constant, or holds NaN.
    """
    from ..evaluation.abinitio.volume_alignment import align_volumes
    from ..evaluation.volumes import compare_maps
    from ..io.mrc import write_volume

    inputs = {Path(path).resolve() for path in (fixed, moving, mask) if path is not None}
    if Path(out).resolve() in inputs:
        raise OptionError(f"{out} is read here and would be lost; write to another name")
    check_writable(out)
    volume_a, voxel_a = read_map(fixed)
    volume_b, voxel_b = read_map(moving, volume_a.shape, fixed)
    check_pixel_sizes(voxel_a, f"map {fixed}", voxel_b, f"map {moving}")
    around = None if mask is None else read_map(mask, volume_a.shape, fixed, is_mask=True)[0]
    alignment = align_volumes(
        volume_a,
        volume_b,
        mask=around,
        both_hands=both_hands,
        threads=threads,
        progress=progress,
    )
    with progress.task(f"Moving {Path(moving).name}", 1) as advance:
        moved = alignment.apply(volume_b, threads)
        advance(1)
    return AlignedMap(
        path=write_volume(out, moved, voxel_a),
        alignment=alignment,
        voxel_angst=voxel_a,
        before=compare_maps(volume_a, volume_b, voxel_a, around),
        after=compare_maps(volume_a, moved, voxel_a, around),
    )


def score_abinitio(
    target: str,
    predictions: Sequence[str | os.PathLike[str]],
    outdir: str | os.PathLike[str],
    options: ScoringOptions | None = None,
    *,
    benchmark_dir: str | os.PathLike[str] | None = None,
    facts: Mapping[str, object] | None = None,
    progress: Progress = SILENT,
) -> "EvaluationResult":
    """Score poses in a frame of their own; write the score, aligned poses and report to `outdir`.

    Parameters
    ----------
    target : name of the entry.
    predictions : star file of all particles, or two of half 0 and of half 1.
    outdir : folder for everything that is written.
    options : how to score; the prediction type is SO3 or SO3xR2.
    benchmark_dir : folder of the entries; see `cesped.data.store.default_benchmark_dir`.
    facts : what else the report shall state.

    Raises
    ------
    The errors of `cesped.evaluation.abinitio.entry.evaluate_abinitio`.
    """
    from ..evaluation.abinitio.entry import evaluate_abinitio
    from ..report.html import write_report

    chosen = options or ScoringOptions()
    report = Path(outdir) / REPORT_NAME
    check_writable(report)
    scored: list[EvaluationResult] = []

    def evaluate() -> None:
        result = evaluate_abinitio(
            target,
            predictions,
            chosen.prediction_type,
            use_pred_confidence=chosen.use_pred_confidence,
            benchmark_dir=benchmark_dir,
            mask=chosen.mask,
            use_mask=chosen.use_mask,
            reconstructor=make_engine(chosen),
            outdir=outdir,
            ignore_symmetry=chosen.ignore_symmetry,
            threads=chosen.threads,
            map_groups=chosen.map_groups,
            seed=chosen.seed,
            progress=progress,
        )
        report.unlink(missing_ok=True)  # it may tell of the score before this one
        with progress.task("Writing the report", 1) as advance:
            write_report(result, report, facts)
            advance(1)
        scored.append(result)

    run_once(report, None, evaluate)  # nor is a score of the other track kept in place of this
    return scored[0]
