"""`cesped simulate`: an entry of images made from a map or a structure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..vocabulary import NoiseKind, Scattering, Simulator
from .command import BenchmarkDir, Command
from .simulation_options import UNIFORM, Orientations, PreferredViews

if TYPE_CHECKING:
    from ..data.simulation.entry import SimulatedMap
    from ..data.simulation.optics import OpticsRanges

Range = tuple[float, float]

_BOX = 128
_WHAT = "give what to project: either --map or --structure"


def simulate(
    name: Annotated[
        str, typer.Option("--name", "-n", help="Name of the entry; begin it with SIM-.")
    ],
    map_path: Annotated[
        Path | None, typer.Option("--map", "-m", metavar="MRC", help="Map to project.")
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(
            "--structure", metavar="FILE", help="Atoms to make a map of: mmCIF, PDB or npz."
        ),
    ] = None,
    particles: Annotated[
        int | None,
        typer.Option("--particles", "-k", help="Number in each half; all of --poses if left out."),
    ] = None,
    symmetry: Annotated[
        str, typer.Option("--symmetry", "-s", help="Point group that the map has.")
    ] = "C1",
    poses: Orientations = UNIFORM,
    view: PreferredViews = None,
    max_shift: Annotated[
        float | None,
        typer.Option("--max-shift", metavar="PX", help="Shifts uniform along x and y up to this."),
    ] = None,
    shift_sigma: Annotated[
        float | None,
        typer.Option("--shift-sigma", metavar="PX", help="Shifts normal with this deviation."),
    ] = None,
    ctf: Annotated[
        Path | None,
        typer.Option(
            "--ctf", metavar="FILE", help="Draw CTFs from this .star, .cs, .csv or .npz file."
        ),
    ] = None,
    no_ctf: Annotated[
        bool, typer.Option("--no-ctf", help="Images of the density itself: CTF 1 everywhere.")
    ] = False,
    defocus: Annotated[
        Range | None, typer.Option("--defocus", metavar="LO HI", help="Mean defocus [Å].")
    ] = None,
    astigmatism: Annotated[
        Range | None,
        typer.Option("--astigmatism", metavar="LO HI", help="Difference of the two defoci [Å]."),
    ] = None,
    phase_shift: Annotated[
        Range | None,
        typer.Option("--phase-shift", metavar="LO HI", help="Of a phase plate [degrees]."),
    ] = None,
    b_factor: Annotated[
        Range | None,
        typer.Option("--b-factor", metavar="LO HI", help="Damping of the signal [Å²]."),
    ] = None,
    voltage: Annotated[
        float | None, typer.Option("--voltage", help="[kV], 300 if left out.")
    ] = None,
    spherical_aberration: Annotated[
        float | None, typer.Option("--cs", help="Spherical aberration [mm], 2.7 if left out.")
    ] = None,
    amplitude_contrast: Annotated[
        float | None, typer.Option("--amplitude-contrast", help="0.1 if left out.")
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option("--snr", help="Variance of signal over noise; no noise if left out."),
    ] = None,
    noise: Annotated[
        str,
        typer.Option(
            "--noise",
            metavar="white|coloured|CSV",
            help="Spectrum of the noise, or a file of frequency [1/Å] and power.",
        ),
    ] = NoiseKind.WHITE.value,
    scale_spread: Annotated[
        float,
        typer.Option("--scale-spread", help="Deviation of the logarithm of particles' contrast."),
    ] = 0.0,
    box: Annotated[
        int | None, typer.Option("--box", help="Of --structure: image size [px], else 128.")
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", help="[Å/px]; chosen to fit the structure if left out."),
    ] = None,
    resolution: Annotated[
        float | None,
        typer.Option("--resolution", help="Of --structure's map [Å]; 2.5 pixels if left out."),
    ] = None,
    scattering: Annotated[
        Scattering | None,
        typer.Option("--scattering", help="What --structure's atoms are; electron if left out."),
    ] = None,
    assembly: Annotated[
        str | None,
        typer.Option("--assembly", help="Of --structure: name of the biological assembly."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MRC", help="Mask of --map, for comparing maps."),
    ] = None,
    simulator: Annotated[
        Simulator, typer.Option("--simulator", help="Program that projects.")
    ] = Simulator.NATIVE,
    seed: Annotated[int, typer.Option("--seed", help="Of all that is drawn.")] = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", help="Processor cores; all if left out.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another simulated entry of that name.")
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Simulate an entry out of a map or a structure.

    The entry has exact poses, the true map (truth.mrc) and a mask, and is scored as any other.
    Poses, shifts, CTFs and noise follow from the options and the seed alone, whatever the number
    of threads. Killed at any moment, the same command goes on from there; run again when it is
    done, it says so and does nothing.
    """
    from ..data.simulation.plan import SimulationPlan
    from ..data.simulation.poses import PreferredView
    from ..workflows.simulation import simulate as simulate_entry
    from ..workflows.simulation import structure_to_simulate
    from .progress_bar import make_progress

    if (map_path is None) == (structure is None):
        raise typer.BadParameter(_WHAT)
    if structure is not None and mask is not None:
        raise typer.BadParameter("--mask goes with --map; a structure's mask is made with it")
    optics = _optics(
        defocus, astigmatism, phase_shift, b_factor,
        voltage, spherical_aberration, amplitude_contrast,
    )  # fmt: skip
    plan = SimulationPlan(
        n_particles=particles,
        symmetry=symmetry,
        poses_path=None if poses == UNIFORM else Path(poses),
        views=tuple(PreferredView.parse(text) for text in view or ()),
        max_shift_px=max_shift,
        shift_sigma_px=shift_sigma,
        optics=optics,
        optics_path=ctf,
        has_ctf=not no_ctf,
        snr=snr,
        noise=NoiseKind.parse(noise) if noise in set(NoiseKind) else Path(noise),
        scale_spread=scale_spread,
        seed=seed,
        simulator=simulator,
    )
    if structure is None:
        of_structure = {
            "--box": box, "--resolution": resolution, "--scattering": scattering,
            "--assembly": assembly,
        }  # fmt: skip
        source = _map_source(map_path, mask, pixel_size, of_structure)
    else:
        source = structure_to_simulate(
            structure,
            box or _BOX,
            pixel_size_angst=pixel_size,
            resolution_angst=resolution,
            scattering=scattering or Scattering.ELECTRON,
            assembly=assembly,
            largest_shift_px=max_shift or 3 * (shift_sigma or 0.0),
        )
    made = simulate_entry(
        plan,
        source,
        name,
        benchmark_dir,
        threads=threads,
        replace=force,
        progress=make_progress(),
    )
    verb = "is there already" if made.was_there else "was simulated"
    side, noise_level = source.volume.shape[0], "no noise" if snr is None else f"SNR {snr:g}"
    print(
        f"Entry {name} {verb}: {made.counts[0]:,} + {made.counts[1]:,} images of {side} x {side} px"
    )
    print(f"at {source.pixel_size_angst:g} Å/px, point group {plan.symmetry}, {noise_level}:")
    print(f"  {made.folder}")


def _map_source(
    map_path: Path | None,
    mask: Path | None,
    pixel_size: float | None,
    of_structure: Mapping[str, object],
) -> "SimulatedMap":
    from ..workflows.simulation import map_to_simulate

    if map_path is None:
        raise typer.BadParameter(_WHAT)
    given = [name for name, value in of_structure.items() if value is not None]
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: for --structure only; a map is as it is")
    return map_to_simulate(map_path, mask, pixel_size)


def _optics(
    defocus: Range | None,
    astigmatism: Range | None,
    phase_shift: Range | None,
    b_factor: Range | None,
    voltage: float | None,
    spherical_aberration: float | None,
    amplitude_contrast: float | None,
) -> "OpticsRanges | None":
    """Return the ranges that were given, the others as they are by default; None if none was."""
    from ..data.simulation.optics import OpticsRanges

    given = {
        "defocus_angst": defocus,
        "astigmatism_angst": astigmatism,
        "phase_shift_deg": phase_shift,
        "b_factor_angst2": b_factor,
        "voltage_kv": voltage,
        "spherical_aberration_mm": spherical_aberration,
        "amplitude_contrast": amplitude_contrast,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return OpticsRanges(**chosen) if chosen else None  # type: ignore[arg-type]


COMMANDS = (
    Command(
        simulate,
        "simulate",
        """
        cesped simulate --name SIM-mine --map map.mrc --particles 5000 --snr 0.1 --max-shift 10
        cesped simulate --name SIM-5nrl --structure 5nrl.cif.gz --particles 25000 --snr 0.1
        cesped simulate --name SIM-real --map map.mrc --poses run_data.star --snr 0.05
        cesped simulate --name SIM-side --map map.mrc --particles 1000 --view 0,90,15,0.7
        """,
    ),
)
