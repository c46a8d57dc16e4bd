"""Score two star files of predictions and write the page that shows it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import SILENT, Progress
from ..vocabulary import Backend, PredictionType
from .steps import is_made, run_once

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult
    from ..reconstruction.protocol import Reconstructor
    from ..report.artists import Artist

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class ScoringOptions:
    """How predictions are scored; the names of the published program in brackets.

    Attributes
    ----------
    prediction_type : which part of the poses was predicted (predictionType).
    use_pred_confidence : weight particles by their predicted confidence (usePredConfidence).
    use_mask : compare maps inside the mask of the entry or of `mask` (use_gt_mask).
    mask : mask file that replaces the entry's (maskFname).
    ignore_symmetry : score and reconstruct without the entry's symmetry (ignore_symmetry).
    backend : program that reconstructs.
    threads : processor cores to use (n_cpus).
    relion_bin_dir, mpirun, container : where RELION is; see `make_reconstructor`.
    device, memory_gb : where torch computes, and how much memory it may use there.
    kept_shares : shares of the most confident particles whose maps are scored as well.
    fixed_view_map : score the map of one fixed view as well.
    map_groups : groups of particles for the intervals of figures of maps; 0 for none.
    seed : of random poses, of intervals, and of those groups.
    map_cache : folder where the maps of the true poses and of the references are kept for later
        evaluations; see `cesped.reconstruction.map_cache`.
    """

    prediction_type: PredictionType = PredictionType.SO3
    use_pred_confidence: bool = True
    use_mask: bool = True
    mask: Path | None = None
    ignore_symmetry: bool = False
    backend: Backend = Backend.NATIVE
    threads: int | None = None
    relion_bin_dir: str | None = None
    mpirun: str | None = None
    container: str | None = None
    device: str | None = None
    memory_gb: float | None = None
    kept_shares: tuple[float, ...] = ()
    fixed_view_map: bool = False
    map_groups: int = 0
    seed: int = 0
    map_cache: Path | None = None


def choose_backend(backend: Backend | str | None, *relion_options: str | None) -> Backend:
    """Return `backend`; if it is left open, RELION when one of its options is given, else native.

    The published program had RELION only: a command line that says where RELION is means it.

    Raises
    ------
    OptionError
        If there is no such backend.
    """
    if backend is not None:
        return Backend.parse(backend)
    return Backend.RELION if any(relion_options) else Backend.NATIVE


def make_engine(options: ScoringOptions, *, sharded: bool = False) -> "Reconstructor":
    """Return what makes the maps, with its cache if one was asked for.

    Parameters
    ----------
    options : backend, and where it is.
    sharded : share the particles among the processes that `torchrun` started, if it did.

    Raises
    ------
    OptionError
        If there is no such backend or device.
    """
    from ..reconstruction.backends import make_reconstructor
    from ..reconstruction.map_cache import CachedReconstructor

    engine = make_reconstructor(
        options.backend,
        bin_dir=options.relion_bin_dir,
        mpirun=options.mpirun,
        n_processes=options.threads or 1,
        container=options.container,
        device=options.device,
        memory_gb=options.memory_gb,
        sharded=sharded,
    )
    return engine if options.map_cache is None else CachedReconstructor(engine, options.map_cache)


def score_predictions(
    target: str,
    predictions: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    outdir: str | os.PathLike[str],
    options: ScoringOptions | None = None,
    *,
    benchmark_dir: str | os.PathLike[str] | None = None,
    reuse: bool = False,
    facts: Mapping[str, object] | None = None,
    progress: Progress = SILENT,
) -> "EvaluationResult":
    """Evaluate an entry and write `metrics.json`, the maps and `report.html` into `outdir`.

    Processes that `torchrun` started share the particles; the first of them writes.

    Parameters
    ----------
    target : name of the entry.
    predictions : star files with the predicted poses of half 0 and of half 1.
    outdir : folder for everything that is written.
    options : how to score; the defaults when None.
    benchmark_dir : folder of the entries; see `cesped.data.store.default_benchmark_dir`.
    reuse : keep the score that is there if it was made from the very same things.
    facts : what else the report shall state, such as the recipe of the predictions.

    Raises
    ------
    EntryNotFoundError, StarFileError, MetadataError, IdMismatchError
        If entry or predictions are missing, unreadable or not of the same particles.
    ProgramNotFoundError, ProgramError
        If RELION was chosen and is missing, or fails.
    """
    from ..report.artists import artist_beside

    chosen = options or ScoringOptions()
    folder = Path(outdir)
    is_there = reuse and (folder / REPORT_NAME).exists()
    with artist_beside(1 if is_there else chosen.threads) as artist:  # loads while this one does
        return _score(
            target, predictions, folder, chosen, benchmark_dir, reuse, facts, artist, progress
        )


def _score(
    target: str,
    predictions: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    folder: Path,
    chosen: ScoringOptions,
    benchmark_dir: str | os.PathLike[str] | None,
    reuse: bool,
    facts: Mapping[str, object] | None,
    artist: "Artist | None",
    progress: Progress,
) -> "EvaluationResult":
    """Do what `score_predictions` does, with somebody to draw."""
    from ..evaluation.outputs import read_result
    from ..io.files import check_writable
    from ..reconstruction.sharding import join_shards

    report = folder / REPORT_NAME  # written last
    scored: list[EvaluationResult] = []
    shards = join_shards()

    with shards.together():
        made_from = None
        with shards.together():  # all know that it went well before they wait for the decision
            if shards.rank == 0:
                check_writable(report)
                made_from = (
                    _made_from(target, predictions, chosen, benchmark_dir) if reuse else None
                )
        if shards.told(is_made(report, made_from)):
            return read_result(folder)
        own_folder = folder if shards.rank == 0 else None

        def evaluate() -> None:
            scored.append(
                _evaluate_and_report(
                    target, predictions, own_folder, chosen, benchmark_dir, facts, artist, progress
                )
            )

        if shards.rank == 0:
            run_once(report, made_from, evaluate)
        else:
            evaluate()
    return scored[0]


def _evaluate_and_report(
    target: str,
    predictions: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    folder: Path | None,
    options: ScoringOptions,
    benchmark_dir: str | os.PathLike[str] | None,
    facts: Mapping[str, object] | None,
    artist: "Artist | None",
    progress: Progress,
) -> "EvaluationResult":
    from ..evaluation.entry import evaluate_entry
    from ..report.html import write_report

    result = evaluate_entry(
        target,
        *predictions,
        options.prediction_type,
        use_pred_confidence=options.use_pred_confidence,
        benchmark_dir=benchmark_dir,
        mask=options.mask,
        use_mask=options.use_mask,
        reconstructor=make_engine(options, sharded=True),
        outdir=folder,
        ignore_symmetry=options.ignore_symmetry,
        threads=options.threads,
        kept_shares=options.kept_shares,
        fixed_view_map=options.fixed_view_map,
        map_groups=options.map_groups,
        seed=options.seed,
        progress=progress,
    )
    if folder is None:
        return result
    (folder / REPORT_NAME).unlink(missing_ok=True)  # it may tell of the score before this one
    with progress.task("Writing the report", 1) as advance:
        write_report(result, folder / REPORT_NAME, facts, artist)
        advance(1)
    return result


def _made_from(
    target: str,
    predictions: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    options: ScoringOptions,
    benchmark_dir: str | os.PathLike[str] | None,
) -> dict[str, object]:
    from ..evaluation.inputs import choose_mask, locate_halves, read_halves
    from ..evaluation.stamps import package_version, sha256_of_file

    halves = locate_halves(target, benchmark_dir)
    mask = choose_mask(halves, options.mask)
    stacks = {stack.resolve() for table in read_halves(halves) for stack in table.stacks}
    return {
        "target": target,
        "entry": [sha256_of_file(half.star_path) for half in halves],
        # summing up the images themselves would take as long as a score
        "images": sorted(
            (str(stack), status.st_size, status.st_mtime_ns)
            for stack in stacks
            for status in (stack.stat(),)
        ),
        "symmetry": [half.symmetry for half in halves],
        "mask": sha256_of_file(mask) if mask else None,
        "predictions": [sha256_of_file(path) for path in predictions],
        # a cache, cores and memory change no figure
        "options": repr(replace(options, map_cache=None, threads=None, memory_gb=None)),
        "version": package_version(),
    }
