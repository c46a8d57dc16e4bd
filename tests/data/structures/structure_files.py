"""Small structures written as PDB files, for tests of what curation removes."""

import itertools

HEADER = (
    "HEADER    TEST                                    01-JAN-10   1TST\n"
    "EXPDTA    ELECTRON MICROSCOPY\n"
    "REVDAT   2   05-MAY-15 1TST    1       REMARK\n"
    "REVDAT   1   01-FEB-10 1TST    0\n"
    "REMARK   2 RESOLUTION.    3.20 ANGSTROMS.\n"
)


class Writer:
    """Collects atoms, and writes them as a PDB file."""

    def __init__(self, header=HEADER):
        self.lines = [header]
        self.serial = itertools.count(1)

    def atom(
        self, name, residue, chain, number, xyz, *,
        element="C", occupancy=1.0, altloc=" ", het=False,
    ):  # fmt: skip
        """Add one atom."""
        padded = f" {name:<3}" if len(element) == 1 and len(name) < 4 else f"{name:<4}"
        x, y, z = xyz
        self.lines.append(
            f"{'HETATM' if het else 'ATOM  '}{next(self.serial):5d} {padded}{altloc}{residue:>3} "
            f"{chain}{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{10:6.2f}"
            f"          {element:>2}\n"
        )

    def protein(self, chain, length=25, origin=(0.0, 0.0, 0.0), residue="ALA", first=1, step=3.8):
        """Add a straight chain along x: N, CA, C and O of each residue."""
        x0, y0, z0 = origin
        for index in range(length):
            x = x0 + index * step
            number = first + index
            self.atom("N", residue, chain, number, (x - 1.2, y0, z0), element="N")
            self.atom("CA", residue, chain, number, (x, y0, z0))
            self.atom("C", residue, chain, number, (x + 1.2, y0 + 0.5, z0))
            self.atom("O", residue, chain, number, (x + 1.2, y0 + 1.7, z0), element="O")
        self.lines.append("TER\n")

    def save(self, path):
        """Write the file and return its path."""
        path.write_text("".join([*self.lines, "END\n"]))
        return path
