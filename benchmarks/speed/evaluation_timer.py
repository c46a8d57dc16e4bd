"""Run the published program's evaluation, in the python that has it.

    python benchmarks/speed/evaluation_timer.py ENTRY BENCHMARK_DIR STAR0 STAR1 OUTDIR N_PROCESSES

Started by evaluation.py with the peer's python. Its last step fails with numpy 2, which does not
let float32 into JSON: `json.dump` is given a converter here, its files are left as they are. A mask
that lies in OUTDIR is not downloaded. RELION's programs are looked for where PATH has
`relion_reconstruct`.
"""

import functools
import json
import shutil
import sys
from pathlib import Path

from fsc_timer import declare_torchvision


def main() -> None:
    target, benchmark_dir, star0, star1, outdir, n_processes = sys.argv[1:]
    declare_torchvision()
    import cesped.evaluateEntry as peer

    peer.json.dump = functools.partial(json.dump, default=float)
    found = shutil.which("relion_reconstruct")
    peer.evaluate(
        target,
        star0,
        star1,
        "SO3",
        benchmarkDir=benchmark_dir,
        relionBinDir=str(Path(str(found)).parent),
        mpirun="mpirun --allow-run-as-root --oversubscribe",
        relionSingularity=None,
        n_cpus=int(n_processes),
        outdir=outdir,
    )


if __name__ == "__main__":
    main()
