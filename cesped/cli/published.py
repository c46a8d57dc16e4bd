"""The commands of `python -m cesped.particlesDataset`, with their published names and flags."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import CtfCorrection, PixelType
from .command import BenchmarkDir, Command, Halfset, new_app
from .download import OneHalf, download
from .entries import add, list_entries, show
from .preprocess import jobs_of_entry, run

# --t and --o stand on the published page, whose parser took any beginning of a name
TargetName = Annotated[str, typer.Option("--targetName", "--t", "-t", help="Name of the entry.")]


def add_entry(
    star: Annotated[Path, typer.Option("--starFname", help="Star file with known poses.")],
    root: Annotated[
        Path, typer.Option("--particlesRootDir", help="Folder that image names start from.")
    ],
    name: Annotated[str, typer.Option("--newTargetName", help="Name of the new entry.")],
    halfset: Halfset,
    symmetry: Annotated[str, typer.Option("--symmetry", help="Point group: C1, D2, O, ...")],
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Make a half of an entry out of your own particles (`cesped add` has more options)."""
    add(star, name, halfset, symmetry, root=root, benchmark_dir=benchmark_dir)


def download_entry(
    target: TargetName, halfset: OneHalf = None, benchmark_dir: BenchmarkDir = None
) -> None:
    """Fetch a published entry, and go on where an earlier call stopped (see `cesped download`)."""
    download(target, halfset, benchmark_dir=benchmark_dir)


def preprocess_entry(
    target: TargetName,
    halfset: Halfset,
    out: Annotated[
        Path, typer.Option("--outDir", "--o", "-o", help="Folder for the prepared images.")
    ],
    image_size: Annotated[
        int | None, typer.Option("--image_size", "-s", help="Box of the prepared images [px].")
    ] = None,
    ctf_correction: Annotated[
        CtfCorrection, typer.Option("--ctf_correction", "-f", help="What is done about the CTF.")
    ] = CtfCorrection.NONE,
    crop: Annotated[
        float,
        typer.Option("--image_size_factor_for_crop", "-c", help="Share of the box cut off."),
    ] = 0.2,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Write prepared images of a half as particles_0.mrcs and .star, replacing what was prepared.

    Images are normalised. `cesped preprocess` has more options.
    """
    from ..data.preprocessing import PreprocessingOptions

    options = PreprocessingOptions(
        image_size=image_size, ctf_correction=ctf_correction, crop_fraction=crop
    )
    jobs = jobs_of_entry(target, halfset, out, benchmark_dir)
    run(jobs, options, PixelType.FLOAT32, force=True)


def visualize(
    target: TargetName,
    halfset: Halfset = 0,
    image_size: Annotated[
        int, typer.Option("--image_size", "-s", help="Box of the prepared images [px].")
    ] = 256,
    crop: Annotated[
        float,
        typer.Option("--image_size_factor_for_crop", "-c", help="Share of the box cut off."),
    ] = 0.15,
    phase_flip: Annotated[
        bool, typer.Option("--phase_flippling", "-f", help="Flip the phases that the CTF turned.")
    ] = False,
    channels: Annotated[
        list[int] | None,
        typer.Option("--channels_to_show", "-i", help="Channels; images have one, number 0."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG to write.")] = None,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Draw some particles into a PNG file (no window is opened; `cesped show` has more options)."""
    if any(channels or ()):
        raise typer.BadParameter("images have one channel, number 0")
    show(
        target,
        halfset,
        out,
        image_size=image_size,
        crop=crop,
        ctf_correction=CtfCorrection.PHASE_FLIP if phase_flip else CtfCorrection.NONE,
        benchmark_dir=benchmark_dir,
    )


app = new_app(
    no_args_is_help=True,
    help="Entries of the benchmark, under the published command names.",
    epilog="The Python class of the same name is cesped.ParticlesDataset.",
)
for _command in (
    Command(list_entries, "list_entries", "python -m cesped.particlesDataset list_entries"),
    Command(
        download_entry,
        "download_entry",
        """
        python -m cesped.particlesDataset download_entry -t TEST
        python -m cesped.particlesDataset download_entry -t 10280 -p 0 -b /data/cesped
        """,
    ),
    Command(
        add_entry,
        "add_entry",
        """
        python -m cesped.particlesDataset add_entry --newTargetName mine -p 0 --symmetry C1
            --starFname half0.star --particlesRootDir relion_project/
        """,
    ),
    Command(
        preprocess_entry,
        "preprocess_entry",
        """
        python -m cesped.particlesDataset preprocess_entry -t DEMO -p 0 -o prepared
        python -m cesped.particlesDataset preprocess_entry -t 10280 -p 1 -o prepared -s 128
            -f phase_flip -c 0.25
        """,
    ),
    Command(
        visualize,
        "visualize",
        "python -m cesped.particlesDataset visualize -t DEMO -p 0",
    ),
):
    _command.add_to(app)
