"""Put known faults into the particles of an entry and print what `cesped doctor` says of each.

The rows of the table are faults, the columns what was found; particles are drawn anew by seed.
"""

import argparse
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.data.opening import open_entry
from cesped.data.simulation.stack import simulated_tables
from cesped.evaluation.diagnosis.examination import ExaminationOptions, examine
from cesped.geometry.poses import Poses
from cesped.io.stack import StackWriter
from cesped.io.star_writer import write_star
from cesped.physics.ctf import ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.vocabulary import Health

MIRROR_POSE = np.diag([-1.0, 1.0, -1.0])


def euler(rotations):
    return Rotation.from_matrix(rotations).as_euler("ZYZ")


def from_euler(angles):
    return Rotation.from_euler("ZYZ", angles).as_matrix()


def flipped(images, axis):
    """Mirror about the origin pixel n // 2."""
    mirrored = np.flip(images, axis)
    return np.roll(mirrored, 1, axis) if images.shape[axis] % 2 == 0 else mirrored


def transferred(images, table, change):
    """Multiply the transforms by a function of the CTF."""
    ctf = change(ctf_half_plane(table.ctf, images.shape[-1], table.pixel_size_angst))
    half_planes = images_to_half_plane(torch.from_numpy(np.ascontiguousarray(images)))
    return half_plane_to_images(half_planes * ctf).numpy()


def shuffled(images, rotations, origins, rng):
    order = rng.permutation(len(images))
    return images, rotations[order], origins[order]


def half_random(images, rotations, origins, rng):
    """Give every second particle a random orientation: not a misreading, and no reading helps."""
    drawn = Rotation.random(len(rotations), random_state=rng).as_matrix()
    is_random = np.arange(len(rotations)) % 2 == 0
    return images, np.where(is_random[:, None, None], drawn, rotations), origins


#: Each takes images, rotations, origins [px] and a generator, and returns the first three.
FAULTS = {
    "none": lambda i, r, o, rng: (i, r, o),
    "transposed": lambda i, r, o, rng: (i, r.transpose(0, 2, 1), o),
    "images left to right": lambda i, r, o, rng: (flipped(i, 2), r, o),
    "images upside down": lambda i, r, o, rng: (flipped(i, 1), r, o),
    "images transposed": lambda i, r, o, rng: (i.transpose(0, 2, 1), r, o),
    "images turned by 90": lambda i, r, o, rng: (flipped(i.transpose(0, 2, 1), 2), r, o),
    "poses mirrored": lambda i, r, o, rng: (i, r @ MIRROR_POSE, o),
    "psi negated": lambda i, r, o, rng: (i, from_euler(euler(r) * [1, 1, -1]), o),
    "radians": lambda i, r, o, rng: (i, from_euler(np.radians(euler(r))), o),
    "contrast inverted": lambda i, r, o, rng: (-i, r, o),
    "shifts negated": lambda i, r, o, rng: (i, r, -o),
    "shifts exchanged": lambda i, r, o, rng: (i, r, o[:, ::-1]),
    "shifts in pixels": "px",
    "shifts missing": lambda i, r, o, rng: (i, r, 0 * o),
    "rows off by one": lambda i, r, o, rng: (np.roll(i, 1, 0), r, o),
    "orientations random": lambda i, r, o, rng: (
        i,
        Rotation.random(len(i), random_state=rng).as_matrix(),
        o,
    ),
    "poses shuffled": shuffled,
    "half of the orientations random": half_random,
    "pixel size x 1.2": 1.2,
    "pixel size x 0.9": 0.9,
    "pixel size x 1.05": 1.05,
    "phases flipped": torch.sign,
    "multiplied by CTF": lambda ctf: ctf,
    "astigmatism transposed": "astigmatism",
    "transposed, contrast": lambda i, r, o, rng: (-i, r.transpose(0, 2, 1), o),
    "transposed, shifts negated": lambda i, r, o, rng: (i, r.transpose(0, 2, 1), -o),
    "psi negated, shifts exchanged": lambda i, r, o, rng: (
        i,
        from_euler(euler(r) * [1, 1, -1]),
        o[:, ::-1],
    ),
    "frame (no fault)": lambda i, r, o, rng: (
        i,
        Rotation.random(random_state=1).as_matrix() @ r,
        o,
    ),
}
OF_CTF = ("phases flipped", "multiplied by CTF")


def write_faulty(table, fault, folder, rng, noise):
    """Write the particles of `table` with one fault, and return the table read from them."""
    images = ImageSource(table).read(np.arange(len(table)))
    images = (images - images.mean()) / images.std()
    images = images + noise * rng.standard_normal(images.shape, dtype=np.float32)
    size, ctf = table.sampling_rate, table.ctf
    rotations, origins = table.poses.rotations, table.poses.origins_angst / size
    change = FAULTS[fault]
    if isinstance(change, float):
        size = size * change
    elif change == "px":
        origins = origins / size
    elif change == "astigmatism":
        ctf = replace(ctf, defocus_angle_deg=90 - ctf.defocus_angle_deg)
    elif fault in OF_CTF:
        images = transferred(images, table, change)
    else:
        images, rotations, origins = change(images, rotations, origins, rng)
    box = images.shape[-1]
    with StackWriter(folder / "p.mrcs", len(images), box, size) as stack:
        stack.append(images)
    poses = Poses(rotations, origins * size, np.ones(len(images)))
    write_star(folder / "p.star", simulated_tables("p.mrcs", box, size, poses, ctf))
    return read_particle_table(folder / "p.star")


def said(diagnosis):
    """Return the faults that were found, in a few words."""
    if diagnosis.health is not Health.FAULT:
        return diagnosis.health.value
    statements = {
        found.statement.partition(":")[0].partition(",")[0].rstrip(".")
        if "fit if" not in found.statement
        else found.statement.rstrip(".").partition("fit if ")[2]
        for found in diagnosis.findings
        if found.health is Health.FAULT
    }
    return "; ".join(sorted(statements))


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="SIM-5NRL")
    parser.add_argument("--benchmarkDir", default=None)
    parser.add_argument("--particles", type=int, default=300)
    parser.add_argument("--noise", type=float, default=0.0, help="added, over the images' own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--faults", nargs="*", default=list(FAULTS))
    options = parser.parse_args(args)
    half = open_entry(options.target, 0, options.benchmarkDir)
    table = read_particle_table(half.star_path, half.root_dir)
    print("| fault | said (times of all) | least z |\n|---|---|---|", flush=True)
    for fault in options.faults:
        answers, surest = Counter(), []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            rows = np.sort(rng.choice(len(table), options.particles, replace=False))
            with tempfile.TemporaryDirectory() as folder:
                faulty = write_faulty(table.select(rows), fault, Path(folder), rng, options.noise)
                settings = ExaminationOptions(options.particles, seed=seed)
                found = examine(faulty, half.symmetry, fault, settings)
            answers[said(found)] += 1
            wrong = [item.z for item in found.findings if item.health is Health.FAULT]
            surest.append(max(wrong or [found.findings[0].z]))
        told = "; ".join(f"{words} ({count}/{options.seeds})" for words, count in answers.items())
        print(f"| {fault} | {told} | {min(surest):.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
