"""Draw what `two_views.py` measured on held-out sets: draw_curve.py OUT.png CURVE.json [...]."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def main(args=None):
    """Draw every curve against the relative poses seen."""
    out, *files = sys.argv[1:] if args is None else args
    figure, axis = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
    for file in files:
        rows = json.loads(Path(file).read_text("utf-8"))["curve"]
        name = Path(file).stem
        seen = [row["targets"] / 1000 for row in rows]
        for views, style in ((2, "-"), (8, "--")):
            errors = [row[f"rotation_error_{views}_views"] for row in rows]
            axis.plot(seen, errors, style, marker=".", label=f"{name}, {views} views")
        widened = [x for x, row in zip(seen, rows, strict=True) if row["within_deg"] >= 180]
        if widened and rows[0]["within_deg"] < 180:
            axis.axvline(widened[0], color="0.7", linewidth=0.8)
    axis.axhline(rows[-1]["best_constant_2_views"], color="0.4", linestyle=":",
                 label="best constant rotation")  # fmt: skip
    axis.set(xlabel="relative poses seen [thousands]", ylabel="rotation error (Frobenius)",
             ylim=(0, None), title="Held-out poses of 5NRL (simulated), 32 px")  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
