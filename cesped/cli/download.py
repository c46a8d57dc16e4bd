"""`cesped download` and `verify`: published entries, fetched or copied by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command import BenchmarkDir, Command

if TYPE_CHECKING:
    from ..data.download.verification import Verification

Target = Annotated[str, typer.Argument(help="Name of the entry, as `cesped list` shows it.")]
OneHalf = Annotated[
    int | None,
    typer.Option("--halfset", "-p", min=0, max=1, help="Half 0 or 1 alone; both if left out."),
]


def download(
    target: Target,
    halfset: OneHalf = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a star or info file that is not the published one."),
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Fetch what is missing of a published entry.

    Interrupted at any moment, the same command goes on from there. Every file is checked against
    the MD5 of its record. Chunks of a stack (particles_0.mrcs.chunk_0, ...) that you copied into
    the entry's folder are used instead of the server, and removed as they are joined. With both
    halves, particles_merged.star is written too.

    Records are looked up at zenodo.org. CESPED_RECORDS_URL names a mirror of
    https://zenodo.org/api/records; HTTPS_PROXY and SSL_CERT_FILE count as usual.
    """
    from ..data.download.entry_fetch import fetch_half
    from ..data.download.entry_files import merged_path
    from ..data.merged_star import write_merged_star
    from ..data.opening import open_entry
    from ..data.registry import embedded_names
    from .progress_bar import make_progress

    progress = make_progress()
    wanted = (0, 1) if halfset is None else (halfset,)
    stars = []
    for half in wanted:
        if target in embedded_names():
            found = open_entry(target, half, benchmark_dir, progress)
        else:
            found = fetch_half(target, half, benchmark_dir, progress, force=force)
        print(f"Half {half} of entry {target} is complete: {found.star_path}")
        stars.append(found.star_path)
    if len(stars) == 2:
        merged = merged_path(stars[0].parent)
        if not _is_newer(merged, stars):
            write_merged_star(stars[0], stars[1], merged)
        print(f"Both halves in one file: {merged}")


def _is_newer(path: Path, than: list[Path]) -> bool:
    return path.is_file() and path.stat().st_mtime > max(p.stat().st_mtime for p in than)


def verify(
    target: Target,
    halfset: OneHalf = None,
    join: Annotated[
        bool,
        typer.Option("--join", help="Join chunks of a stack that lie there, and remove them."),
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Check the files of an entry that are here.

    Nothing is downloaded but the list of checksums, if it was not kept. What could not be checked
    is said. Without a network, star
    file, stack and both halves are still compared with each other. A published half whose every
    file is right is marked as complete: it then opens like a downloaded one.

    Exit code 1 if anything is missing or wrong.
    """
    from ..data.download.verification import Finding, verify_entry
    from ..data.store import EntryStore
    from .progress_bar import make_progress

    halves = (0, 1) if halfset is None else (halfset,)
    reports = []
    for report in verify_entry(
        EntryStore(benchmark_dir), target, halves, make_progress(), join=join
    ):
        reports.append(report)
        print(report.title)
        for finding, about in report.findings:
            print(f"  {finding.value:<12}{about}")
    print(_verdict(target, reports))
    if any(report.has(Finding.WRONG, Finding.MISSING) for report in reports):
        raise typer.Exit(1)


def _verdict(target: str, reports: "list[Verification]") -> str:
    from ..data.download.verification import Finding

    if any(report.has(Finding.WRONG) for report in reports):
        return f"{target}: something is WRONG; `cesped download {target}` fetches what it must"
    if any(report.has(Finding.MISSING) for report in reports):
        return f"{target}: not complete; `cesped download {target}` fetches what is missing"
    if all(report.is_right for report in reports):
        return f"{target}: everything was checked and is right"
    return f"{target}: nothing wrong was found, but not everything could be checked"


COMMANDS = (
    Command(
        download,
        "download",
        """
        cesped download TEST
        cesped download 10280 --halfset 0 --benchmarkDir /data/cesped
        """,
    ),
    Command(
        verify,
        "verify",
        """
        cesped verify 10280
        cesped verify 10280 --halfset 0 --join
        """,
    ),
)
