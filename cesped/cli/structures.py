"""`cesped structures`: choosing and cleaning structures that images are simulated from."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from .command import Command, CommandGroup

_MOST_REASONS = 8


def curate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of mmCIF and PDB files, packed or not.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="For what is kept; else DIR_curated."),
    ] = None,
    released_before: Annotated[
        str, typer.Option("--released-before", metavar="DATE", help="Year-month-day.")
    ] = "2021-09-30",
    resolution: Annotated[
        float, typer.Option("--resolution", help="Largest reported resolution [Å].")
    ] = 9.0,
    allow_unstated: Annotated[
        bool,
        typer.Option("--allow-unstated", help="Keep files that state no release or resolution."),
    ] = False,
    assembly: Annotated[
        str,
        typer.Option("--assembly", metavar="first|none|NAME", help="Biological assembly to build."),
    ] = "first",
    max_chains: Annotated[
        int, typer.Option("--max-chains", help="Larger assemblies are cut around an interface.")
    ] = 20,
    min_residues: Annotated[
        int, typer.Option("--min-residues", help="A shorter protein chain is a peptide.")
    ] = 20,
    keep_peptides: Annotated[
        bool, typer.Option("--keep-peptides", help="Do not remove peptides.")
    ] = False,
    keep_nucleic_acids: Annotated[
        bool, typer.Option("--keep-nucleic-acids", help="Do not remove nucleic acids.")
    ] = False,
    keep_ligands: Annotated[
        bool, typer.Option("--keep-ligands", help="Do not remove ligands.")
    ] = False,
    components: Annotated[
        Path | None,
        typer.Option(
            "--components",
            metavar="CIF",
            help="Chemical Component Dictionary, for residues beyond the standard ones.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the interfaces that are drawn.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes.")] = 1,
) -> None:
    """Choose and clean structures, as the CryoFastAR paper did.

    A structure is left out if it was released too late or is too coarse. Of the others hydrogens,
    waters, crystallisation aids, all but one of alternative locations, atoms that their residue
    does not have, unknown, broken and clashing chains, ligands, peptides and nucleic acids are
    removed, in the biological assembly, cut to 20 chains. What is kept is written as mmCIF, and
    curation.csv says of each file what was removed and why it was not kept.

    A file that cannot be read is a row of the table, and ends nothing. Killed at any moment, the
    same command goes on from there.
    """
    from ..data.structures.curation import CurationOptions
    from ..data.structures.folder import curate_folder
    from ..vocabulary import Curated
    from .progress_bar import make_progress

    try:
        before = date.fromisoformat(released_before)
    except ValueError:
        raise typer.BadParameter(
            f"--released-before is {released_before!r}; give a date such as 2021-09-30"
        ) from None
    options = CurationOptions(
        released_before=before,
        worst_resolution_angst=resolution,
        takes_unstated=allow_unstated,
        assembly=assembly,
        most_chains=max_chains,
        least_residues=min_residues,
        keeps_peptides=keep_peptides,
        keeps_nucleic_acids=keep_nucleic_acids,
        keeps_ligands=keep_ligands,
        seed=seed,
    )
    beside = folder.absolute().with_name(f"{folder.absolute().name}_curated")
    summary = curate_folder(
        folder, out or beside, options, dictionary=components, jobs=jobs, progress=make_progress()
    )
    counts = ", ".join(f"{summary.counts[kind]:,} {kind}" for kind in Curated)
    print(f"{sum(summary.counts.values()):,} structures: {counts}")
    for reason, count in summary.reasons[:_MOST_REASONS]:
        print(f"  {count:>9,}  {reason}")
    print(f"Wrote {summary.table}")


COMMANDS = (
    CommandGroup(
        "structures",
        "Choose and clean structures to simulate images from.",
        """
        cesped structures curate pdb_mirror/
        """,
        (
            Command(
                curate,
                "curate",
                """
                cesped structures curate pdb_mirror/ --out curated/ --jobs 16
                cesped structures curate mine/ --out curated/ --allow-unstated --keep-ligands
                """,
            ),
        ),
    ),
)
