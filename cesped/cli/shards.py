"""`cesped shards`: simulated images of many structures and maps, for training."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import PixelType
from .command import Command, CommandGroup
from .simulation_options import UNIFORM, Orientations, PreferredViews

_MOST_FAULTS = 20


def make(
    structures: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of structures, as curated, and maps.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the shards.")],
    images: Annotated[int, typer.Option("--images", "-k", help="Of each structure.")] = 100,
    box: Annotated[int, typer.Option("--box", help="Image size [px].")] = 128,
    per_shard: Annotated[int, typer.Option("--per-shard", help="Structures in a shard.")] = 100,
    dtype: Annotated[
        PixelType, typer.Option("--dtype", help="float16 takes half the room.")
    ] = PixelType.FLOAT16,
    poses: Orientations = UNIFORM,
    view: PreferredViews = None,
    max_shift: Annotated[
        float, typer.Option("--max-shift", metavar="PX", help="Shifts uniform up to this.")
    ] = 0.0,
    with_ctf: Annotated[
        bool, typer.Option("--with-ctf", help="Apply CTFs: of --poses, else drawn from ranges.")
    ] = False,
    ctf: Annotated[
        Path | None,
        typer.Option(
            "--ctf", metavar="FILE", help="Apply CTFs of a .star, .cs, .csv or .npz file."
        ),
    ] = None,
    snr: Annotated[
        float | None, typer.Option("--snr", help="Add white noise; none if left out.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of all that is drawn.")] = 0,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", metavar="I/N", help="Make every N-th shard; torchrun and SLURM arrays say it."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--plan", "--dry-run", help="Only say how much it is and how long it takes."),
    ] = False,
) -> None:
    """Project many structures and maps into shards.

    Each structure is projected in uniformly drawn orientations, at a pixel size that it fits; maps
    (.mrc, .map) are resampled to the box. As they stand images are clean and centred, for CTF,
    shifts and noise to be added in training; options add them here, and other distributions of
    orientations. Any number of processes make a part of the shards each, and each goes on where it
    was killed. The same images come out whatever the parts.
    """
    from ..data.shards.making import make_shards, seconds_per_structure
    from ..data.shards.plan import ShardPlan, parse_part, structures_in
    from ..data.simulation.plan import SimulationPlan
    from ..data.simulation.poses import PreferredView
    from .progress_bar import make_progress

    simulation = SimulationPlan(
        n_particles=images,
        poses_path=None if poses == UNIFORM else Path(poses),
        views=tuple(PreferredView.parse(text) for text in view or ()),
        # the file's shifts are of particles of another size: images are centred unless asked
        max_shift_px=max_shift or (None if poses == UNIFORM else 0.0),
        has_ctf=with_ctf or ctf is not None,
        optics_path=ctf,
        snr=snr,
        seed=seed,
    )
    plan = ShardPlan(structures, structures_in(structures), simulation, box, per_shard, dtype)
    number, parts = parse_part(part)
    count = len(plan.structures)
    maps = f" ({plan.n_maps:,} of them maps)" if plan.n_maps else ""
    print(
        f"{count:,} structures{maps} x {images} images of {box} x {box} px, {dtype}: "
        f"{plan.n_shards:,} shards, {plan.n_bytes / 2**30:.2f} GiB"
    )
    if dry_run:
        seconds = seconds_per_structure(plan)
        hours = count * seconds / 3600
        print(
            f"{seconds:.2f} s a structure on this machine: {hours:.2f} hours of one core, "
            f"{hours / parts:.2f} hours in {parts} part(s)"
        )
        return
    made = make_shards(plan, out, (number, parts), make_progress())
    for name, reason in made.failed:
        print(f"  no images of {name}: {reason}".encode("utf-8", "backslashreplace").decode())
    print(
        f"Part {number + 1} of {parts}: {made.n_shards:,} shards of {made.n_structures:,} "
        f"structures in {out}"
    )


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of shards.")],
) -> None:
    """Read all shards of a folder and check them.

    They are compared with their checksums and with each other.

    Every fault is told, not only the first: shards that are damaged, cut, unfinished, or missing
    before the last one that is there, and structures that are in two shards.
    """
    from ..data.shards.checking import check_folder
    from ..errors import ShardError
    from .progress_bar import make_progress

    found = check_folder(folder, make_progress())
    if found.faults:
        shown = found.faults[:_MOST_FAULTS]
        more = len(found.faults) - len(shown)
        lines = [*shown, *([f"and {more:,} more"] if more else [])]
        raise ShardError(f"{folder} has {len(found.faults):,} faults:\n  " + "\n  ".join(lines))
    print(f"{found.n_shards:,} shards of {found.n_structures:,} structures are whole.")
    if found.without_images:
        print(
            f"{len(found.without_images):,} of the structures have no images, the first of them "
            f"{found.without_images[0]}"
        )


COMMANDS = (
    CommandGroup(
        "shards",
        "Simulate images of many structures, for training.",
        """
        cesped shards make curated/ --out shards/ --plan
        cesped shards make curated/ --out shards/
        cesped shards check shards/
        """,
        (
            Command(
                make,
                "make",
                """
                cesped shards make curated/ --out shards/ --plan
                cesped shards make curated/ --out shards/ --part 3/16
                cesped shards make maps/ --out shards/ --view 0,90,15,0.6 --ctf run_data.star
                torchrun --nproc-per-node 16 -m cesped shards make curated/ --out shards/
                """,
            ),
            Command(check, "check", "cesped shards check shards/"),
        ),
    ),
)
