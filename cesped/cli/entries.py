"""`cesped list`, `add` and `show`: the entries of the benchmark, and those of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import CtfCorrection
from .command import BenchmarkDir, Command, Halfset


def list_entries(benchmark_dir: BenchmarkDir = None) -> None:
    """List the entries, those here and those to be fetched.

    Of what is here: particles, box, pixel size, symmetry, mask, size on the disk, and whether it
    is complete. A download that was interrupted is shown with how far it came; an entry is "not
    verified" when its files were copied by hand and not yet checked (`cesped verify`). A model is
    scored on an entry when both of its halves are there.
    """
    from ..data.store import EntryStore
    from .entry_rows import local_rows, remote_rows

    store = EntryStore(benchmark_dir)
    here = local_rows(store)
    print(f"Entries in {store.benchmark_dir}:")
    if not here:
        print("  none yet; `cesped demo` makes one, `cesped add` adds your own")
    else:
        print(
            f"  {'entry':<18}{'half':>4}{'particles':>11}{'box':>6}{'Å/px':>8}  "
            f"{'symmetry':<9}{'mask':<5}{'size':>10}  state"
        )
    for row in here:
        print(f"  {row}")
    print()
    print("Published entries, `cesped download NAME` fetches one:")
    print(
        f"  {'entry':<18}{'particles':>9}{'box':>5}{'Å/px':>6}  {'symmetry':<9}{'stacks':>10}"
        "  imaged"
    )
    for row in remote_rows():
        print(f"  {row}")


def add(
    star: Annotated[Path, typer.Argument(help="Star file of particles with known poses.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the entry.")],
    halfset: Halfset,
    symmetry: Annotated[
        str, typer.Option("--symmetry", "-s", help="Point group as RELION names it: C1, D2, O, ...")
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            "-r",
            metavar="DIR",
            help="Folder that the star file's image names start from, such as the RELION "
            "project; the star file's own folder if left out.",
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="MRC", help="Mask for comparing maps.")
    ] = None,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy the images instead of pointing to them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the half if it exists.")] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Make a half of an entry out of your own particles.

    Call it twice, with --halfset 0 and --halfset 1 and a star file for each: two halves that
    share no particle, with poses you trust. Every image is checked before anything is written.
    """
    from ..data.store import EntryStore
    from .progress_bar import make_progress

    half = EntryStore(benchmark_dir).add(
        star,
        root,
        name,
        halfset,
        symmetry,
        mask,
        copy_images=copy_images,
        force=force,
        progress=make_progress(),
    )
    print(f"Added half {half.halfset} of entry {half.target}, symmetry {half.symmetry}:")
    print(f"  {half.star_path}")


def show(
    target: Annotated[str, typer.Argument(help="Name of the entry.")],
    halfset: Halfset = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PNG", help="Picture to write; else TARGET_HALF.png."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", help="Number of particles.")] = 8,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Resize the prepared images to this box.")
    ] = None,
    crop: Annotated[
        float, typer.Option("--crop", help="Share of the box cut off before resizing.")
    ] = 0.25,
    ctf_correction: Annotated[
        CtfCorrection, typer.Option("--ctf-correction", help="What is done about the CTF.")
    ] = CtfCorrection.PHASE_FLIP,
    augment: Annotated[
        str | None,
        typer.Option(
            "--augment", metavar="RECIPE", help="Draw them augmented too: paper, published or YAML."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what the recipe draws.")] = 0,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Draw some particles of an entry into a PNG picture.

    Each is shown raw, and as a model gets it: corrected for the CTF, normalised by its
    background, cropped and resized; with --augment also changed by an augmentation recipe, as in
    training. Contrast is stretched in each picture by itself.
    """
    from ..data.conventions import read_particle_table
    from ..data.opening import open_entry
    from ..data.preprocessing import PreprocessingOptions
    from ..workflows.gallery import show_particles
    from .progress_bar import make_progress

    half = open_entry(target, halfset, benchmark_dir, make_progress())
    options = PreprocessingOptions(
        image_size=image_size, ctf_correction=ctf_correction, crop_fraction=crop
    )
    written = show_particles(
        read_particle_table(half.star_path, half.root_dir),
        out or Path(f"{half.target}_{half.halfset}.png"),
        options,
        count=count,
        augmentation=augment,
        seed=seed,
    )
    print(f"Wrote {written}")


COMMANDS = (
    Command(
        list_entries,
        "list",
        """
        cesped list
        cesped list --benchmarkDir /data/cesped
        """,
    ),
    Command(
        add,
        "add",
        """
        cesped add half0.star --name mine --halfset 0 --symmetry C1 --root relion_project/
        cesped add half1.star --name mine --halfset 1 --symmetry C1 --root relion_project/
        """,
    ),
    Command(
        show,
        "show",
        """
        cesped show DEMO --halfset 0
        cesped show mine --halfset 1 --count 16 --image-size 128 --out mine.png
        cesped show DEMO --augment paper
        """,
    ),
)
