"""`cesped abinitio`: particles without poses in, poses and a map out."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Command, MemoryGb
from .score_options import BackendChoice, Mpirun, RelionBinDir, RelionContainer


def _refuse_words(words: list[str] | None) -> list[str] | None:
    if words:
        from ..errors import OptionError

        raise OptionError(
            "cesped abinitio finds poses, and takes options only (--star --root --weights --out); "
            f"to score poses that were found, use: cesped evaluate-abinitio {' '.join(words)}"
        )
    return words


def abinitio(
    star: Annotated[
        Path,
        typer.Option("--star", "-i", metavar="STAR", help="Particles; poses are not needed."),
    ],
    weights: Annotated[
        Path,
        typer.Option(
            "--weights",
            "-w",
            metavar="FILE",
            help="CryoFastAR weights: .safetensors, or a file its authors released.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            "-r",
            metavar="DIR",
            help="Folder that image names start from; the star file's own if left out.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PX",
            min=4,
            help="Show the network images resized to this, best the size it was trained on.",
        ),
    ] = None,
    views: Annotated[
        int, typer.Option("--views", min=3, help="Images looked at together, reference included.")
    ] = 128,
    candidates: Annotated[
        int, typer.Option("--candidates", min=1, help="Particles tried as the reference.")
    ] = 64,
    ransac: Annotated[
        bool, typer.Option("--ransac", help="Leave out pixels that contradict the others.")
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MRC", help="Also compare the half maps inside this mask."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="Of the network and of --backend torch: cpu, cuda, cuda:1; auto: a GPU if any.",
        ),
    ] = "auto",
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bfloat16/--float32", help="Width of the network's numbers; bfloat16 on a GPU."
        ),
    ] = None,
    resumable: Annotated[
        bool,
        typer.Option(
            "--resumable/--not-resumable",
            help="Keep encoded images in DIR/encodings until all is done, to go on after a kill.",
        ),
    ] = True,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", min=1, help="Processor cores; else all.")
    ] = None,
    backend: BackendChoice = None,
    relion_bin_dir: RelionBinDir = None,
    mpirun: Mpirun = None,
    container: RelionContainer = None,
    memory_gb: MemoryGb = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="", hidden=True, is_eager=True, callback=_refuse_words),
    ] = None,
) -> None:
    """Find poses without a reference, and make a map.

    A CryoFastAR network sees all particles in groups, and says of each pixel of each image where
    it lies in the volume; poses and a map follow, in the frame of the most telling particle and
    perhaps of the other hand. CTFs are not needed for the poses; they are used for the map.

    Writes poses.star, map.mrc, the half maps, fsc_halves.csv, abinitio.json and report.html.
    Poses are tested by turning some images: weights that know nothing are told apart, and the
    report says so. The same command goes on where a killed one stopped.

    `cesped evaluate-abinitio` compares such poses with known ones.
    """
    from ..workflows.abinitio import AbinitioOptions, find_poses
    from ..workflows.abinitio_products import REPORT_NAME
    from ..workflows.scoring import ScoringOptions, choose_backend, make_engine
    from .progress_bar import make_progress

    del words  # refused
    engine = make_engine(
        ScoringOptions(
            backend=choose_backend(backend, relion_bin_dir, mpirun, container),
            threads=threads,
            relion_bin_dir=relion_bin_dir,
            mpirun=mpirun,
            container=container,
            device=None if device == "auto" else device,
            memory_gb=memory_gb,
        )
    )
    options = AbinitioOptions(
        image_size=image_size,
        views=views,
        candidates=candidates,
        ransac=ransac,
        seed=seed,
        device=device,
        bfloat16=bfloat16,
        threads=threads,
        mask=mask,
        resumable=resumable,
    )
    found = find_poses(
        star, root, weights, out, engine, options, progress=make_progress(), tell=print
    )
    _print_figures(found)
    print(f"Report: {(out / REPORT_NAME).resolve()}")


def _print_figures(found: dict[str, Any]) -> None:
    where = "inside the mask" if found["resolution_inside_mask"] else "no mask"
    if not found["quarter_turns"]["poses_follow"]:
        where += ", of poses that mean nothing"
    for level, size_angst in found["resolution_angst"].items():
        shown = "   –    " if size_angst is None else f"{size_angst:8.3f}"
        print(f"half maps agree to, FSC {level:<5}: {shown} Å  ({where})")
    turns, confidence = found["quarter_turns"], found["confidence"]
    print(f"turned images, median error  : {turns['median_error_deg']:8.3f} degrees")
    informative = "" if confidence["is_informative"] else ", uninformative"
    print(f"mean confidence              : {confidence['mean']:8.3f}{informative}")
    print(f"reference                    : {found['reference']['name']}")
    pixel_size = found.get("pixel_size")  # results of earlier versions have none
    if pixel_size and pixel_size["warning"]:
        print(f"cesped abinitio: warning: {pixel_size['warning']}", file=sys.stderr)


COMMANDS = (
    Command(
        abinitio,
        "abinitio",
        """
        cesped abinitio --star run_data.star --root project/ --weights w.safetensors --out found/
        cesped abinitio -i particles.star -w real.pth -o found/ --image-size 128 --device cuda
        cesped evaluate-abinitio MYENTRY found/poses.star --outdir scores/
        """,
    ),
)
