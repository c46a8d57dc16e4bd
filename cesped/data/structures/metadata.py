"""What a structure file says of itself: its release, its method and its resolution."""

from __future__ import annotations

import datetime
import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gemmi

_CIF_DATES = ("_pdbx_audit_revision_history.revision_date", "_database_PDB_rev.date")
_REVISION = re.compile(r"^REVDAT\s+\d+\s+(\d\d)-([A-Z]{3})-(\d\d)", re.MULTILINE)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIRST_YEAR = 1970  # of the PDB: what two digits of a year count from
_HEADER_BYTES = 400_000  # of a PDB file, in which its revisions stand


@dataclass(frozen=True)
class StructureFacts:
    """What a file states; None or empty for what it does not.

    Parameters
    ----------
    released : date of its first revision
    resolution_angst : as reported
    method : such as ELECTRON MICROSCOPY
    """

    released: datetime.date | None
    resolution_angst: float | None
    method: str


def facts_of(
    path: Path, structure: gemmi.Structure, block: gemmi.cif.Block | None
) -> StructureFacts:
    """Return what a file states.

    Parameters
    ----------
    path : the file, whose header is read if it is no mmCIF file
    structure : what gemmi read of it
    block : its mmCIF block; None for a PDB file
    """
    dates = _cif_dates(block) if block is not None else _pdb_dates(_header_of(path))
    info = structure.info
    return StructureFacts(
        released=min(dates, default=None),
        resolution_angst=structure.resolution if structure.resolution > 0 else None,
        method=dict(info).get("_exptl.method", ""),
    )


def _cif_dates(block: gemmi.cif.Block) -> list[datetime.date]:
    for tag in _CIF_DATES:
        found = []
        for value in block.find_values(tag):
            try:
                found.append(datetime.date.fromisoformat(value.strip("'\" ")))
            except ValueError:
                continue  # "?" or ".": not stated
        if found:
            return found
    return []


def _header_of(path: Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        return stream.read(_HEADER_BYTES).decode("ascii", errors="replace")


def _pdb_dates(header: str) -> list[datetime.date]:
    found = []
    for day, month, year in _REVISION.findall(header):
        if month in _MONTHS:
            century = 1900 if int(year) >= _FIRST_YEAR % 100 else 2000
            full = datetime.date(century + int(year), _MONTHS.index(month) + 1, int(day))
            found.append(full)
    return found
