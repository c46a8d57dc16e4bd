"""Make one of the three simulated test sets of the CryoFastAR paper (its appendix B.1).

50,000 particles of 128 px, uniform orientations, CTF, shifts of up to 10 px along x and y, Gaussian
noise at SNR 0.1. The structure is a file given by the user.
"""

import argparse

from cesped.cli.main import main as cesped

#: Pixel size of each set [angstrom], by PDB entry.
PIXEL_SIZES_ANGST = {"5nrl": 4.00, "7sbr": 2.03, "7kzp": 2.54}
PARTICLES, BOX, SNR, MAX_SHIFT_PX = 50_000, 128, 0.1, 10


def command_of(name, structure, particles, benchmark_dir, ctf):
    """Return the words of `cesped` that make a set."""
    words = ["simulate", "--name", f"SIM-{name.upper()}", "--structure", structure]
    words += ["--pixel-size", str(PIXEL_SIZES_ANGST[name]), "--box", str(BOX)]
    words += ["--particles", str(particles // 2), "--snr", str(SNR)]
    words += ["--max-shift", str(MAX_SHIFT_PX)]
    if ctf is not None:
        words += ["--ctf", ctf]
    if benchmark_dir is not None:
        words += ["--benchmarkDir", benchmark_dir]
    return words


def main(args=None):
    """Print the command, and run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(PIXEL_SIZES_ANGST))
    parser.add_argument("structure", help="mmCIF, PDB or npz file of that PDB entry")
    parser.add_argument("--particles", type=int, default=PARTICLES, help="in both halves together")
    parser.add_argument("--ctf", default=None, help="star, .cs, CSV or npz file to draw CTFs from")
    parser.add_argument("--benchmarkDir", default=None, help="folder of entries")
    given = parser.parse_args(args)
    words = command_of(given.name, given.structure, given.particles, given.benchmarkDir, given.ctf)
    print("cesped", *words)
    return cesped(words)


if __name__ == "__main__":
    raise SystemExit(main())
