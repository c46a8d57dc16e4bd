"""What the embedded entries DEMO and DEMO-D2 are made from; all else follows from it."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

#: Raise it when `demo_entry` makes other images from the same constants.
_SIMULATION_VERSION = 3


@dataclass(frozen=True)
class DemoSpecification:
    """All that determines an embedded entry.

    Parameters
    ----------
    name : of the entry
    symmetry : point group of the phantom
    seed : of the phantom, the poses, the optics and the noise
    n_particles_per_half : particles in each half
    box, pixel_size_angst : of images and map
    n_atoms : pseudo-atoms of the chain, all subunits together
    radius_angst : of the phantom
    resolution_angst : of the density
    snr : signal over noise variance, see `cesped.data.simulation.stack`
    shift_sigma_px : deviation of the origins along each axis
    min_defocus_angst, max_defocus_angst : mean defocus is uniform between
    max_astigmatism_angst : difference of the two defoci is uniform from 0 to this
    """

    name: str
    symmetry: str
    seed: int = 20240604
    n_particles_per_half: int = 3000
    box: int = 64
    pixel_size_angst: float = 3.0
    n_atoms: int = 1200
    radius_angst: float = 62.0
    resolution_angst: float = 8.0
    snr: float = 1.0
    shift_sigma_px: float = 1.5
    min_defocus_angst: float = 6000.0
    max_defocus_angst: float = 15000.0
    max_astigmatism_angst: float = 600.0
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1

    @property
    def fingerprint(self) -> str:
        """Name of what these constants make, to tell an entry of other constants."""
        text = json.dumps([_SIMULATION_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


DEMO_SPECIFICATIONS = {
    "DEMO": DemoSpecification(name="DEMO", symmetry="C1"),
    "DEMO-D2": DemoSpecification(name="DEMO-D2", symmetry="D2"),
}
