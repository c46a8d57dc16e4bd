"""Find poses in entries with given weights, and set the figures out as the paper's Tables 1 and 2.

    python pose_tables.py OUT --weights W.safetensors [--image-size 128]
        ENTRY [ENTRY ...] [--benchmarkDir DIR] [--views 128] [--device auto]

For each entry: `cesped abinitio` on both halves together, then `cesped evaluate-abinitio` (paper,
appendix D: rotation error in the norm of Frobenius, the least over up to 5,000 reference views;
error of shifts in pixels; FSC of the aligned map with the map of the truth at 0.5 and 0.143). The
time is a clock's, over everything from star file to map and page, the start of the program apart.
OUT gets table.md, table.json and a folder for each entry; what is there is not done again.
"""

import argparse
import json
import time
from pathlib import Path

from cesped.cli.main import main as cesped
from cesped.data.store import default_benchmark_dir
from cesped.io.files import write_text_atomic
from cesped.io.star import read_star
from cesped.io.star_writer import write_star

#: What the paper reports of its network before refinement, by entry: rotation error, error of
#: shifts [px], resolution [A] at 0.5 (Table 1; Table 2 has none), time on an H20.
PAPER = {
    "SIM-5NRL": (0.0597, 0.5959, 9.33, "01:22"),
    "SIM-7SBR": (0.0416, 0.5469, 4.33, "01:21"),
    "SIM-7KZP": (0.0587, 0.7637, 6.64, "01:21"),
    "10049": (1.7292, 5.1064, None, "02:39"),
    "10076": (1.1521, 2.1989, None, "01:58"),
    "10180": (0.9564, 4.8698, None, "03:31"),
}
#: Column of the table, metric of evaluate-abinitio, whether inside the mask, digits.
FIGURES = (
    ("rotation error", "frobenius_error", False, 4),
    ("aligned", "frobenius_error_aligned", False, 4),
    ("shift error, px", "translation_error_px", False, 3),
    ("Å at FSC 0.5", "resolution_volume_aligned_05_angst", True, 2),
    ("Å at FSC 0.143", "resolution_volume_aligned_0143_angst", True, 2),
)


def joined_halves(folder, star):
    """Write one star file of both halves of an entry, and return the number of its particles."""
    parts = [read_star(folder / f"particles_{half}.star") for half in (0, 1)]
    particles = parts[0]["particles"]
    if not parts[0]["optics"].equals(parts[1]["optics"]):
        raise SystemExit(f"the halves of {folder} differ in their optics; join them by hand")
    joined = type(particles)(
        {name: [*particles[name], *parts[1]["particles"][name]] for name in particles}
    )
    write_star(star, {"optics": parts[0]["optics"], "particles": joined})
    return len(joined)


def figures_of(scores):
    """Return the figures of the table, from the folder of an evaluation; None where unknown."""
    rows = json.loads((scores / "metrics.json").read_text("utf-8"))["cesped"]["rows"]
    found = {}
    for name, metric, masked, _ in FIGURES:
        these = [
            row
            for row in rows
            if row["metric"] == metric
            and row["masked"] == masked
            and (row["poses"], row["half"]) == ("prediction", "all")
        ]
        found[name] = these[0]["value"] if these else None
    return found


def written_at(path):
    """Return when a file was last written [ns], or None where there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None


def row_of(entry, options):
    """Find and score the poses of an entry, and return its row."""
    out = options.out / entry
    folder = Path(options.benchmarkDir) / entry
    star, kept = out / "particles.star", out / "seconds.json"
    out.mkdir(parents=True, exist_ok=True)
    count = joined_halves(folder, star)
    words = ["abinitio", "--star", str(star), "--root", str(folder), "--weights",
             str(options.weights), "--out", str(out / "found"), "--views", str(options.views),
             "--device", options.device]  # fmt: skip
    if options.image_size:
        words += ["--image-size", str(options.image_size)]
    found = out / "found/abinitio.json"
    before = written_at(found)
    started = time.perf_counter()
    if cesped(words):
        raise SystemExit(f"no poses were found in {entry}")
    if written_at(found) != before or not kept.is_file():  # else it was all there
        write_text_atomic(kept, json.dumps(time.perf_counter() - started))
    seconds = json.loads(kept.read_text())
    if cesped(["evaluate-abinitio", entry, str(out / "found/poses.star"), "--outdir",
               str(out / "scores"), "--benchmarkDir", str(options.benchmarkDir)]):  # fmt: skip
        raise SystemExit(f"the poses of {entry} could not be scored")
    told = json.loads(found.read_text("utf-8"))
    return {
        "entry": entry,
        "particles": count,
        **figures_of(out / "scores"),
        "seconds": round(seconds, 1),
        "poses_follow": told["quarter_turns"]["poses_follow"],
        "confidence_is_informative": told["confidence"]["is_informative"],
    }


def table_of(rows):
    """Return the table as Markdown; below each entry what the paper reports of it."""
    names = [name for name, *_ in FIGURES]
    lines = ["| entry | particles | " + " | ".join(names) + " | mm:ss |",
             "|---|---:|" + "---:|" * (len(names) + 1)]  # fmt: skip
    for row in rows:
        cells = [
            "–" if row[name] is None else f"{row[name]:.{digits}f}"
            for name, _, _, digits in FIGURES
        ]
        minutes, seconds = divmod(round(row["seconds"]), 60)
        lines.append(
            f"| {row['entry']} | {row['particles']:,} | {' | '.join(cells)} | "
            f"{minutes:02d}:{seconds:02d} |"
        )
        if row["entry"] in PAPER:
            rotation, shift, resolution, clock = PAPER[row["entry"]]
            shown = "–" if resolution is None else f"{resolution:.2f}"
            lines.append(
                f"| *the paper, all its particles* | | {rotation:.4f} | – | {shift:.3f} | {shown} "
                f"| – | {clock} |"
            )
    return "\n".join(lines) + "\n"


def main(args=None):
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("entries", nargs="+", metavar="ENTRY")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--benchmarkDir", default=None, help="folder of the entries")
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--views", type=int, default=128)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(args)
    options.benchmarkDir = default_benchmark_dir(options.benchmarkDir)
    rows = [row_of(entry, options) for entry in options.entries]
    write_text_atomic(options.out / "table.json", json.dumps(rows, indent=1) + "\n")
    write_text_atomic(options.out / "table.md", table_of(rows))
    print(table_of(rows))
    return rows


if __name__ == "__main__":
    main()
