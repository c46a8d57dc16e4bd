"""`cesped preprocess`: images prepared once, for fast reading and for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..vocabulary import CtfCorrection, Normalization, PixelType
from .command import BenchmarkDir, Command, names_a_file
from .download import OneHalf

if TYPE_CHECKING:
    from ..data.prepared.entries import PreparationJob
    from ..data.prepared.files import PreparedFiles
    from ..data.preprocessing import PreprocessingOptions

OutDir = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the prepared images.")
]


def preprocess(
    source: Annotated[
        str, typer.Argument(metavar="ENTRY|STAR", help="Name of an entry, or a star file.")
    ],
    out: OutDir,
    halfset: OneHalf = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Box of the result [px]; that of the stack if left out."),
    ] = None,
    crop: Annotated[
        float, typer.Option("--crop", help="Share of the box cut off before resizing.")
    ] = 0.25,
    ctf_correction: Annotated[
        CtfCorrection, typer.Option("--ctf-correction", help="What is done about the CTF.")
    ] = CtfCorrection.PHASE_FLIP,
    normalization: Annotated[
        Normalization, typer.Option("--normalization", help="How grey values are normalised.")
    ] = Normalization.NOISE_STATS,
    dtype: Annotated[
        PixelType,
        typer.Option("--dtype", help="float16 takes half the room and rounds to 11 bits."),
    ] = PixelType.FLOAT32,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", "-r", metavar="DIR", help="Of a star file: folder its image names start from."
        ),
    ] = None,
    symmetry: Annotated[
        str | None, typer.Option("--symmetry", help="Of a star file: its point group.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether the prepared images are whole and current."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what was prepared otherwise, or is foreign.")
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Prepare all images once, and keep the result.

    Images are corrected for the CTF, normalised, cropped and resized. DIR gets particles_0.mrcs and
    particles_0.star (and the same for half 1), which any program can read, and
    particles_0.prepared.json, which says what was done. In Python they are
    cesped.data.prepared.dataset.PreparedDataset("DIR/particles_0.star"), with the samples that
    ParticlesDataset would give, many times as fast. DIR is also an entry, which commands find with
    --benchmarkDir set to the folder above it.

    Killed at any moment, the same command goes on from there. Prepared images know the star file
    and the stacks they were made from: if one of them changes, they are refused from then on, and
    --force makes them anew.
    """
    from ..data.prepared.entries import PreparationJob
    from ..data.preprocessing import PreprocessingOptions

    if names_a_file(source):
        if halfset is not None:
            raise typer.BadParameter("a star file has no halves; leave --halfset out")
        jobs = [PreparationJob.of_star(source, root, out, symmetry)]
    else:
        if root is not None or symmetry is not None:
            raise typer.BadParameter("--root and --symmetry are for star files; an entry has them")
        jobs = jobs_of_entry(source, halfset, out, benchmark_dir)
    options = PreprocessingOptions(image_size, normalization, ctf_correction, crop)
    run(jobs, options, dtype, check=check, force=force)


def run(
    jobs: "list[PreparationJob]",
    options: "PreprocessingOptions",
    dtype: PixelType,
    *,
    check: bool = False,
    force: bool = False,
) -> None:
    """Prepare or check sets, and say what is there."""
    from ..data.prepared.entries import check_prepared, prepare, remarks_for_other_programs
    from .progress_bar import make_progress

    progress = make_progress()
    for job in jobs:
        if check:
            files = check_prepared(job, options, dtype, progress)
            print(f"{files.name} in {files.folder} is whole and up to date.")
        else:
            files = prepare(job, options, dtype, force, progress)
            _print_what_is_there(files)
    if not check:
        for remark in remarks_for_other_programs(files):
            print(remark)


def jobs_of_entry(
    target: str, halfset: int | None, out: Path, benchmark_dir: Path | None
) -> "list[PreparationJob]":
    """Return what to prepare of an entry: one half, or both if `halfset` is None."""
    from ..data.opening import open_entry
    from ..data.prepared.entries import PreparationJob
    from .progress_bar import make_progress

    progress = make_progress()
    halves = [0, 1] if halfset is None else [halfset]
    return [
        PreparationJob.of_half(open_entry(target, half, benchmark_dir, progress), out)
        for half in halves
    ]


def _print_what_is_there(files: "PreparedFiles") -> None:
    from ..data.prepared.card import read_card

    card = read_card(files)
    size = card.image_size
    print(f"Prepared {card.count:,} images of {size} x {size} px, {card.stored_as}:")
    print(f"  {files.star}")
    print(f"  {files.images}")


COMMANDS = (
    Command(
        preprocess,
        "preprocess",
        """
        cesped preprocess DEMO --out prepared/DEMO
        cesped preprocess 10280 --halfset 0 --out fast/10280 --image-size 128 --dtype float16
        cesped preprocess run_data.star --root relion_project/ --symmetry D2 --out prepared
        cesped preprocess DEMO --out prepared/DEMO --check
        """,
    ),
)
