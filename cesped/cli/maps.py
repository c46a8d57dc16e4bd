"""`cesped reconstruct`, `project` and `fsc`: maps out of particles, and back."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import Backend
from .command import Command, Device, MemoryGb

Star = Annotated[
    Path, typer.Option("--star", "-i", metavar="STAR", help="Star file of particles with poses.")
]


def reconstruct(
    star: Star,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MRC", help="Map to write.")],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            "-r",
            metavar="DIR",
            help="Folder that image names start from; the star file's own if left out.",
        ),
    ] = None,
    symmetry: Annotated[str, typer.Option("--symmetry", "-s", help="Point group.")] = "C1",
    backend: Annotated[
        Backend, typer.Option("--backend", help="Program that reconstructs.")
    ] = Backend.NATIVE,
    no_gridding: Annotated[
        bool,
        typer.Option("--no-gridding", help="Faster and rougher: no gridding iterations."),
    ] = False,
    no_ctf: Annotated[bool, typer.Option("--no-ctf", help="Do not correct for the CTF.")] = False,
    confidence_weights: Annotated[
        bool,
        typer.Option("--confidence-weights", help="Weight particles by their pose's confidence."),
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", help="Processor cores; all if left out.")
    ] = None,
    device: Device = None,
    memory_gb: MemoryGb = None,
) -> None:
    """Reconstruct a map from particles and their poses.

    The native engine needs nothing else and computes what `relion_reconstruct --ctf --pad 2`
    computes; --backend torch computes the same on a GPU, and --backend relion runs that program.
    """
    from ..reconstruction.backends import make_reconstructor
    from ..reconstruction.protocol import ReconstructionOptions
    from ..workflows.maps import reconstruct_map
    from .progress_bar import make_progress

    options = ReconstructionOptions(
        symmetry=symmetry, ctf=not no_ctf, gridding=not no_gridding, threads=threads
    )
    written = reconstruct_map(
        star,
        root,
        out,
        make_reconstructor(backend, n_processes=threads or 1, device=device, memory_gb=memory_gb),
        options,
        confidence_weights=confidence_weights,
        progress=make_progress(),
    )
    print(f"Wrote {written}")


def project(
    map_path: Annotated[Path, typer.Option("--map", "-m", metavar="MRC", help="Map to project.")],
    star: Star,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="MRCS", help="Stack to write; a star file is written beside it."
        ),
    ],
    no_ctf: Annotated[bool, typer.Option("--no-ctf", help="Leave the CTF out.")] = False,
) -> None:
    """Make the images that a map gives at given poses.

    Poses, shifts and CTFs are those of a star file; there is no noise in the images. The images
    that the star file names are not needed.
    """
    from ..workflows.maps import project_map
    from .progress_bar import make_progress

    written = project_map(map_path, star, out, apply_ctf=not no_ctf, progress=make_progress())
    print(f"Wrote {written} and {written.with_suffix('.star')}")


def fsc(
    first: Annotated[Path, typer.Argument(metavar="A", help="A map.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another map of the same box.")],
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MRC", help="Multiply both maps by this mask first."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="NAME", help="Writes NAME.csv and NAME.png.")
    ] = Path("fsc"),
) -> None:
    """Compare two maps by Fourier shell correlation.

    Prints their common resolution at 0.143 and 0.5, and writes the curve as a table (CSV) and
    as a picture (PNG).
    """
    from ..workflows.maps import compare_maps

    found = compare_maps(first, second, out, mask)
    where = "inside the mask" if mask else "no mask"
    for threshold, size_angst in found.resolutions_angst.items():
        print(f"resolution at FSC {threshold:<5}: {size_angst:8.3f} Å  ({where})")
    print(f"Pearson correlation    : {found.correlation:8.4f}")
    print(f"Wrote {found.csv} and {found.png}")


COMMANDS = (
    Command(
        reconstruct,
        "reconstruct",
        """
        cesped reconstruct --star run_data.star --root relion_project/ --symmetry D2 --out map.mrc
        cesped reconstruct --star predictions_0.star --out map.mrc --backend relion
        """,
    ),
    Command(
        project,
        "project",
        """
        cesped project --map map.mrc --star run_data.star --out projections.mrcs
        cesped project --map map.mrc --star run_data.star --out clean.mrcs --no-ctf
        """,
    ),
    Command(
        fsc,
        "fsc",
        """
        cesped fsc half0.mrc half1.mrc --mask mask.mrc
        cesped fsc demo/DEMO_truth.mrc demo/DEMO_prediction.mrc --out demo/fsc
        """,
    ),
)
