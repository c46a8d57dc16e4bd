"""`cesped evaluate-abinitio` and `align`: poses and maps of a frame of their own, in another's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..vocabulary import PredictionType
from .command import BenchmarkDir, Command, Device, MemoryGb
from .score_options import (
    BackendChoice,
    Cpus,
    IgnoreSymmetry,
    MapCache,
    MapGroups,
    MaskFile,
    Mpirun,
    RelionBinDir,
    RelionContainer,
    UseGtMask,
    UsePredConfidence,
)

if TYPE_CHECKING:
    from ..workflows.alignment import AlignedMap


def evaluate_abinitio(
    target: Annotated[str, typer.Argument(metavar="ENTRY", help="Name of the entry.")],
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="STAR...",
            help="Predicted poses: one file of all particles, or one of half 0 and one of half 1.",
        ),
    ],
    prediction_type: Annotated[
        PredictionType,
        typer.Option(
            "--predictionType",
            help="SO3xR2, or SO3 if no shifts were predicted: then the known ones are used.",
        ),
    ] = PredictionType.SO3XR2,
    outdir: Annotated[
        Path,
        typer.Option(
            "--outdir", metavar="DIR", help="Folder for score, aligned poses, maps and report."
        ),
    ] = Path("abinitio"),
    use_pred_confidence: UsePredConfidence = True,
    use_gt_mask: UseGtMask = True,
    mask: MaskFile = None,
    ignore_symmetry: IgnoreSymmetry = False,
    n_cpus: Cpus = 2,
    backend: BackendChoice = None,
    relion_bin_dir: RelionBinDir = None,
    mpirun: Mpirun = None,
    container: RelionContainer = None,
    device: Device = None,
    memory_gb: MemoryGb = None,
    map_groups: MapGroups = 0,
    map_cache: MapCache = None,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Score poses that were found without a reference.

    Such poses are in a frame of their own, perhaps of the other hand, and their map may lie off the
    origin. One rotation, hand and offset are found for all of them (for each file, if there are
    two) and undone; what is wrong relative to each other stays wrong. Then they are scored like
    any others, and by the figures of CryoFastAR. Poses of chance are told apart: the score says
    so if no frame was found.

    Results of CryoSPARC, cryoDRGN and cryoSPIN become star files by `cesped convert`; particles
    are matched by their names (rlnImageName). Writes metrics.json, maps, report.html, and the
    aligned poses as aligned_0.star and aligned_1.star.
    """
    from ..workflows.alignment import score_abinitio
    from ..workflows.scoring import REPORT_NAME, ScoringOptions, choose_backend
    from .progress_bar import make_progress
    from .score_table import print_score

    options = ScoringOptions(
        prediction_type=prediction_type,
        use_pred_confidence=use_pred_confidence,
        use_mask=use_gt_mask,
        mask=mask,
        ignore_symmetry=ignore_symmetry,
        backend=choose_backend(backend, relion_bin_dir, mpirun, container),
        threads=n_cpus,
        relion_bin_dir=relion_bin_dir,
        mpirun=mpirun,
        container=container,
        device=device,
        memory_gb=memory_gb,
        map_groups=map_groups,
        map_cache=map_cache,
    )
    result = score_abinitio(
        target,
        predictions,
        outdir,
        options,
        benchmark_dir=benchmark_dir,
        progress=make_progress(),
    )
    print_score(result)
    print(f"Report: {(outdir / REPORT_NAME).resolve()}")


def align(
    fixed: Annotated[Path, typer.Argument(metavar="A", help="The map that stays.")],
    moving: Annotated[Path, typer.Argument(metavar="B", help="The map that is moved onto A.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MRC", help="Map to write: B, moved.")
    ],
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MRC", help="Mask around the particle of A."),
    ] = None,
    same_hand: Annotated[
        bool, typer.Option("--same-hand", help="Do not try the mirror image of B.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", help="Processor cores; all if left out.")
    ] = None,
) -> None:
    """Align a map to another one.

    B is turned and moved, and mirrored if that fits better, until it agrees best with A. No start
    is needed: all rotations and shifts are searched. Both maps must have one box and pixel size.

    Prints the transform, x_A = R x_B + shift about the centre of the box, with R as RELION's
    angles (rot, tilt, psi); and how well the maps agree before and after. Of a symmetric map, any
    of the equivalent rotations may come out.
    """
    from ..workflows.alignment import align_map
    from .progress_bar import make_progress

    found = align_map(
        fixed,
        moving,
        out,
        mask=mask,
        both_hands=not same_hand,
        threads=threads,
        progress=make_progress(),
    )
    _print_transform(found)
    where = "inside the mask" if mask else "no mask"
    for level, (before, after) in found.resolutions_angst().items():
        print(
            f"resolution at FSC {level:<5}: {before:8.3f} Å before, {after:8.3f} Å after  ({where})"
        )
    print(
        f"Pearson correlation    : {found.before.pcc:8.4f}   before, {found.after.pcc:8.4f} after"
    )
    print(f"Wrote {found.path}")


def _print_transform(found: "AlignedMap") -> None:
    from ..geometry.euler import rotation_to_euler

    alignment = found.alignment
    hand = "mirrored: x_A = -R x_B + shift" if alignment.is_mirrored else "the same"
    if alignment.other_evidence is not None:
        hand += f" (the other is e^{alignment.evidence - alignment.other_evidence:.0f} less likely)"
    rot, tilt, psi = rotation_to_euler(alignment.rotation)
    print(f"hand                   : {hand}")
    error_deg = alignment.rotation_error_deg
    print(
        f"R (rot, tilt, psi)     : {rot:8.3f} {tilt:8.3f} {psi:8.3f} degrees  (± {error_deg:.2g})"
    )
    x, y, z = alignment.shift_px
    error_px = alignment.shift_error_px
    print(f"shift (x, y, z)        : {x:8.3f} {y:8.3f} {z:8.3f} px  (± {error_px:.2g})")
    x, y, z = alignment.shift_px * found.voxel_angst
    print(f"                         {x:8.3f} {y:8.3f} {z:8.3f} Å")


COMMANDS = (
    Command(
        evaluate_abinitio,
        "evaluate-abinitio",
        """
        cesped convert J42_particles.cs predictions.star
        cesped evaluate-abinitio 10280 predictions.star --outdir scores/
        cesped evaluate-abinitio 10280 half0.star half1.star --predictionType SO3
        """,
    ),
    Command(
        align,
        "align",
        """
        cesped align truth.mrc abinitio.mrc --out aligned.mrc
        cesped align truth.mrc abinitio.mrc --mask mask.mrc --same-hand --out aligned.mrc
        """,
    ),
)
