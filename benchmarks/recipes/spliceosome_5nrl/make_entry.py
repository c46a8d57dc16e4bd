"""Make the entry SIM-5NRL: a simulated spliceosome with the acquisition of a real data set.

The atoms of PDB 5NRL, projected with poses, shifts and CTFs that were refined for EMPIAR-10180
(the same complex). The images are simulated: every figure made from them must say so.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cesped.cli.progress_bar import make_progress
from cesped.data.simulation.stack import simulate_stack
from cesped.data.store import EntryStore
from cesped.geometry.poses import Poses
from cesped.io.mrc import write_volume
from cesped.physics.ctf import CtfParameters
from cesped.physics.density import density_from_atoms
from cesped.physics.masks import mask_from_density

TARGET = "SIM-5NRL"
BOX = 128
PIXEL_SIZE_ANGST = 4.0
RESOLUTION_ANGST = 10.0
SNR = 0.1
SEED = 5
ELECTRONS = {"H": 1, "C": 6, "N": 7, "O": 8, "NA": 11, "MG": 12, "P": 15, "S": 16, "ZN": 30}
OTHER_ELECTRONS = 20  # the few ions of other elements


def relion_rotations(rotvec):
    """Return RELION-convention rotations `(P, 3, 3)` of cryoDRGN rotation vectors `(P, 3)`.

    cryoDRGN turns row vectors of image coordinates, `x_volume = x_image @ M`; this package
    columns, `x_volume = R @ x_image`. Hence R = M transposed; README.md has the proof.
    """
    return np.swapaxes(Rotation.from_rotvec(rotvec).as_matrix(), -1, -2)


def load_acquisition(path, reach_angst):
    """Return poses and CTFs of the particles whose molecule stays inside the simulated image.

    Parameters
    ----------
    path : npz with `rotvec`, `shift_box_fraction` and `ctf` (box, angstrom/px, defocus U and V,
        astigmatism angle, kV, Cs, amplitude contrast, phase shift)
    reach_angst : largest distance of the molecule from the centre, less the image's half
    """
    with np.load(path) as data:
        rotvec, shift, ctf = (data[key] for key in ("rotvec", "shift_box_fraction", "ctf"))
    width_angst = (ctf[:, 0] * ctf[:, 1])[:, None].astype(np.float64)
    origins_angst = shift.astype(np.float64) * width_angst
    # The particles were extracted off-centre by one constant offset; the scatter is the refinement.
    origins_angst -= np.median(origins_angst, axis=0)
    inside = np.flatnonzero(np.linalg.norm(origins_angst, axis=1) <= reach_angst)
    poses = Poses(relion_rotations(rotvec[inside]), origins_angst[inside], np.ones(len(inside)))
    _, _, u, v, angle, kv, cs, contrast, phase = ctf[inside].T.astype(np.float64)
    return poses, CtfParameters(u, v, angle, kv, cs, contrast, phase), len(inside) / len(shift)


def load_density(path):
    """Return the density of the atoms about their centre, and their largest radius [angstrom]."""
    with np.load(path, allow_pickle=False) as data:
        positions = data["coords"].astype(np.float64)
        elements = [str(element).upper() for element in data["elements"]]
    weights = np.array([ELECTRONS.get(element, OTHER_ELECTRONS) for element in elements], float)
    positions -= np.average(positions, axis=0, weights=weights)
    density = density_from_atoms(positions, weights, BOX, PIXEL_SIZE_ANGST, RESOLUTION_ANGST)
    return density, float(np.linalg.norm(positions, axis=1).max())


def make_entry(atoms, poses_and_ctf, benchmark_dir, n_particles, seed=SEED, progress=None):
    """Write both halves of SIM-5NRL and return its folder."""
    progress = progress or make_progress()
    density, radius_angst = load_density(atoms)
    reach_angst = BOX * PIXEL_SIZE_ANGST / 2 - radius_angst
    poses, ctf, share = load_acquisition(poses_and_ctf, reach_angst)
    print(f"{share:.1%} of {poses_and_ctf} keep the molecule inside the image")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(poses), 2 * n_particles, replace=False)
    store = EntryStore(benchmark_dir)
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder) / "mask.mrc"
        write_volume(mask, mask_from_density(density), PIXEL_SIZE_ANGST)
        for halfset in (0, 1):
            rows = chosen[halfset * n_particles : (halfset + 1) * n_particles]
            star = Path(folder) / f"half{halfset}.star"
            simulate_stack(
                star,
                density,
                PIXEL_SIZE_ANGST,
                poses.select(rows),
                ctf.select(rows),
                snr=SNR,
                generator=rng,
                random_subset=halfset + 1,
                progress=progress,
            )
            store.add(
                star,
                folder,
                TARGET,
                halfset,
                "C1",
                mask=mask,
                copy_images=True,
                force=True,
                progress=progress,
            )
    write_volume(store.entry_dir(TARGET) / "truth.mrc", density, PIXEL_SIZE_ANGST)
    return store.entry_dir(TARGET)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", required=True, help="npz of PDB 5NRL: coords, elements")
    parser.add_argument("--poses", required=True, help="npz of EMPIAR-10180's poses and CTFs")
    parser.add_argument("--benchmarkDir", default=None, help="folder of entries")
    parser.add_argument("--particles", type=int, default=1000, help="in each half")
    options = parser.parse_args(args)
    folder = make_entry(options.atoms, options.poses, options.benchmarkDir, options.particles)
    print(f"made {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
