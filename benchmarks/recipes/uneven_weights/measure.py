"""Measure how far the native engine and RELION agree when few particles carry all the weight.

Particles of half 0 of an entry, at their true poses, with weights `10^(-decades u)`, `u` uniform.
Printed for each number of particles and decades: the effective number of particles
`(sum w)^2 / sum w^2`, the correlation of the two maps less 1, by how much a figure of an evaluation
(`PCC` with the map of all weights 1) differs between the two, and how far RELION's own map moves
when its weights are changed by 1e-7 of themselves: whether its answer is well defined at all.
"""

import argparse
import itertools

import numpy as np

from cesped.evaluation.inputs import locate_halves, read_halves
from cesped.evaluation.volumes import compare_maps
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.sampling import effective_number
from cesped.vocabulary import Backend


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="DEMO")
    parser.add_argument("--particles", type=int, nargs="+", default=[100, 300, 600, 2000])
    parser.add_argument("--decades", type=float, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--draws", type=int, default=3)
    asked = parser.parse_args()
    halves = locate_halves(asked.target, None)
    whole = read_halves(halves)[0]
    options = ReconstructionOptions(symmetry=halves[0].symmetry, threads=1)
    engines = [make_reconstructor(backend) for backend in (Backend.NATIVE, Backend.RELION)]
    print(
        "particles decades effective  1 - PCC(native, RELION)  difference of PCC(GT, V)  "
        "1 - PCC(RELION, RELION moved)"
    )
    for count, decades in itertools.product(asked.particles, asked.decades):
        found = []
        for seed in range(asked.draws):
            generator = np.random.default_rng(seed)
            table = whole.select(np.sort(generator.permutation(len(whole))[:count]))
            weights = 10.0 ** (-decades * generator.uniform(size=count))
            poses = table.require_poses()
            sets = [PoseSet(poses), PoseSet(poses, weights)]
            maps = [engine.reconstruct(table, sets, options) for engine in engines]
            apart = 1 - compare_maps(maps[0][1], maps[1][1], table.sampling_rate).pcc
            figures = [
                compare_maps(truth, volume, table.sampling_rate).pcc for truth, volume in maps
            ]
            nudged = PoseSet(poses, weights * (1 + 1e-7 * generator.standard_normal(count)))
            again = engines[1].reconstruct(table, [nudged], options)[0]
            moved = 1 - compare_maps(maps[1][1], again, table.sampling_rate).pcc
            found.append((effective_number(weights), apart, abs(figures[0] - figures[1]), moved))
        effective, apart, difference, moved = np.max(found, axis=0)
        effective = np.mean([row[0] for row in found])
        print(
            f"{count:9} {decades:7g} {effective:9.0f}  {apart:23.1e}  {difference:24.1e}  "
            f"{moved:29.1e}"
        )


if __name__ == "__main__":
    main()
