"""Find poses again and again, killed at different steps on the disk; a program of its own.

A forked child is killed with SIGKILL just before its n-th renaming of a file; then another one runs
to the end. The page, which takes longest, is replaced by what it would show.

Usage: python killed_abinitio.py FOLDER [RENAMING ...], which prints JSON. See `killed_campaign`.
"""

import json
import re
import sys
from pathlib import Path

from killed_campaign import files, in_child

PARTICLES, CHUNK = 80, 16
#: The label is renamed first, then five chunks, the star file, the maps, and so on.
KILLED_BEFORE = (3, 5, 9)


def kill_before(folder, renaming):
    """Kill this process before a renaming below `folder`, counted from 1."""
    from killed_at_steps import watch

    watch(folder, renaming, steps=("os.rename",))


def write_findings(path, found):
    shown = (found.poses, found.confidence, found.curves, found.pictures, found.facts)
    Path(path).write_text(repr(shown))


def main(folder, kills):
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from fake_entry import write_fake_entry

    from cesped.inference.abinitio import kept_features
    from cesped.models.cryofastar.model import CryoFastAR
    from cesped.reconstruction.native import NativeReconstructor
    from cesped.report import abinitio_page
    from cesped.workflows.abinitio import AbinitioOptions, find_poses

    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    torch.manual_seed(0)
    model = CryoFastAR("tiny").eval()
    for head in (model.reference_head, model.target_head):
        torch.nn.init.normal_(head.points.weight, std=0.3)
    model.save(folder / "w.safetensors")
    entry = write_fake_entry(folder, n_particles=PARTICLES)
    kept_features.CHUNK = CHUNK
    abinitio_page.write_abinitio_page = write_findings

    def run(out, killed_before=None):
        said = []
        if killed_before is not None:
            kill_before(out, killed_before)
        find_poses(
            entry.star(0), entry.folder, folder / "w.safetensors", out, NativeReconstructor(),
            AbinitioOptions(threads=1, device="cpu", candidates=4, views=16), tell=said.append,
        )  # fmt: skip
        reused = re.findall(r"^(\d+) particles had been encoded", "\n".join(said), re.MULTILINE)
        return int(reused[0]) if reused else 0

    def digests(out):
        return {name: digest for name, (digest, _) in files(out).items()}

    whole = folder / "whole"
    run(whole)  # compiles for the children
    stories = []
    for number in kills:
        out = folder / f"killed_{number}"
        if in_child(lambda out=out, number=number: run(out, number)) is not None:
            sys.exit(f"the run ended before its renaming {number}")
        left = sorted(digests(out))
        reused = in_child(lambda out=out: run(out))
        stories.append({"number": number, "left": left, "reused": reused, "again": digests(out)})
    json.dump({"whole": digests(whole), "kills": stories}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or KILLED_BEFORE)
