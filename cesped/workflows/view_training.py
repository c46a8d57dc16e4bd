"""Train CryoFastAR on sets of views: opens maps, structures and entries, and hands them on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, GeometryError, OptionError
from ..progress import SILENT, Progress
from ..vocabulary import CtfCorrection, Normalization, ViewOrigin

if TYPE_CHECKING:
    import torch

    from ..data.entry_checks import EntryHalf
    from ..data.simulation_optics import OpticsRanges
    from ..physics.ctf import CtfParameters
    from ..physics.torch_projection import TorchProjector
    from ..training.views.learning import ViewTraining
    from ..training.views.particles import ParticleViews
    from ..training.views.recipe import ViewsRecipe, ViewStage
    from ..training.views.sets import ViewSource


@dataclass(frozen=True)
class ViewInputs:
    """What views are drawn from.

    Attributes
    ----------
    maps : MRC files, of the box that the recipe states.
    structures : files of atoms; a map that fits the box is made of each, after the maps.
    symmetry : point group of all maps and structures.
    target, halfset : entry and half of stages on particles.
    benchmark_dir : folder of the entries.
    """

    maps: tuple[Path, ...] = ()
    structures: tuple[Path, ...] = ()
    symmetry: str = "C1"
    target: str | None = None
    halfset: int | None = None
    benchmark_dir: Path | None = None


def train_on_views(
    outdir: str | os.PathLike[str],
    recipe: "ViewsRecipe",
    inputs: ViewInputs,
    *,
    device: str = "auto",
    start_from: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: Progress = SILENT,
) -> "ViewTraining":
    """Train through all stages of a recipe into `outdir`; one that was stopped goes on.

    Parameters
    ----------
    outdir : for `weights.safetensors`, `log.csv`, `provenance.json` and the unfinished state.
    recipe : see `cesped.training.views.recipe`.
    inputs : what is drawn from.
    device : auto, cpu, cuda, cuda:1.
    start_from : weights to begin with.
    resume : False to begin anew in a folder that holds a training.

    Raises
    ------
    OptionError
        If a stage has nothing to draw from, or there is no such device.
    GeometryError
        If a map has another box than the recipe's images.
    CheckpointError
        If `outdir` holds another training, or `start_from` learned from the other half.
    MissingFileError, MrcFileError, StructureFileError, EntryNotFoundError
        If an input is not there or cannot be read.
    """
    from ..inference.predict import chosen_device
    from ..io.files import check_writable
    from ..training.views.learning import train_views
    from ..training.views.run_folder import LOG_NAME

    place = chosen_device(device)
    check_writable(Path(outdir) / LOG_NAME)
    _check_stages(recipe, inputs)
    sources = _Sources(recipe, inputs, place, progress)
    if start_from is not None and inputs.target is not None:
        _check_unseen(start_from, inputs.target, inputs.halfset)
    return train_views(
        outdir,
        recipe,
        sources.of_stage,
        inputs=sources.stamps(),
        device=place,
        start_from=start_from,
        resume=resume,
        progress=progress,
    )


def _check_stages(recipe: "ViewsRecipe", inputs: ViewInputs) -> None:
    count = len(inputs.maps) + len(inputs.structures)
    for number, stage in enumerate(recipe.stages, start=1):
        if stage.origin is ViewOrigin.PARTICLES:
            if inputs.target is None or inputs.halfset is None:
                raise OptionError(
                    f"stage {number} of the recipe learns from particles; give --target and "
                    "--halfset"
                )
        elif count < (stage.maps or 1):
            raise OptionError(
                f"stage {number} of the recipe draws from {stage.maps or 'some'} maps, {count} "
                "were given; give more with --map or --structure, or set "
                f"--stages.{number}.maps"
            )


def _check_unseen(start_from: str | os.PathLike[str], target: str, halfset: int | None) -> None:
    """Refuse weights that learned, now or before, from the other half of the same entry."""
    from ..models.cryofastar.weights import facts_of_weights

    facts: Mapping[str, Any] | None = facts_of_weights(start_from)
    while facts:
        entry = facts.get("inputs", {}).get("entry")
        if entry and entry.get("target") == target and entry.get("halfset") != halfset:
            raise CheckpointError(
                f"{start_from} learned from half {entry['halfset']} of {target}; halves must not "
                "meet: begin with other weights"
            )
        facts = facts.get("began_with")


@dataclass
class _Sources:
    """Opens inputs when a stage first wants them."""

    recipe: "ViewsRecipe"
    inputs: ViewInputs
    device: "torch.device"
    progress: Progress
    _projectors: "list[TorchProjector]" = field(default_factory=list)
    _particles: "ParticleViews | None" = None

    @property
    def _entry(self) -> "EntryHalf":
        from ..data.opening import open_entry

        target, halfset = self.inputs.target, self.inputs.halfset
        if target is None or halfset is None:
            raise OptionError("particles were not named; give --target and --halfset")
        return open_entry(target, halfset, self.inputs.benchmark_dir, self.progress)

    @property
    def _wants_particles(self) -> bool:
        return any(stage.origin is ViewOrigin.PARTICLES for stage in self.recipe.stages)

    def stamps(self) -> dict[str, Any]:
        """Return names and checksums of all that is drawn from."""
        from ..data.checksums import file_stamp, images_stamp
        from ..data.conventions import read_particle_table
        from ..errors import MissingFileError

        tables = {stage.ctf_table for stage in self.recipe.stages if stage.ctf_table is not None}
        files = [*self.inputs.maps, *self.inputs.structures, *map(Path, sorted(tables))]
        for file in files:
            if not file.is_file():
                raise MissingFileError(f"{file} does not exist; give a file that views are made of")
        stamps: dict[str, Any] = {
            "maps": [file_stamp(path) for path in self.inputs.maps],
            "structures": [file_stamp(path) for path in self.inputs.structures],
            "ctf_tables": [file_stamp(path) for path in sorted(tables)],
            "symmetry": self.inputs.symmetry,
        }
        if self._wants_particles:
            entry = self._entry
            table = read_particle_table(entry.star_path, entry.root_dir)
            stamps["entry"] = {
                "target": self.inputs.target,
                "halfset": self.inputs.halfset,
                "particles": file_stamp(entry.star_path),
                "images": images_stamp(table.stacks),
            }
        return stamps

    def of_stage(self, stage: "ViewStage") -> "ViewSource":
        """Return what a stage draws from."""
        from ..geometry.symmetry import point_group
        from ..training.views.simulated import SimulatedViews

        if stage.origin is ViewOrigin.PARTICLES:
            return self._particle_views()
        projectors = self._all_projectors()
        return SimulatedViews(
            projectors[: stage.maps],
            stage.snr,
            stage.max_shift_px,
            self._optics(stage),
            point_group(self.inputs.symmetry),
        )

    def _optics(self, stage: "ViewStage") -> "OpticsRanges | CtfParameters | None":
        from ..data.simulation_optics import OpticsRanges, read_acquisition

        if stage.ctf_table is not None:
            return read_acquisition(stage.ctf_table).require_ctf()
        if stage.defocus_angst is None:
            return None
        data = self.recipe.data
        return OpticsRanges(
            stage.defocus_angst,
            stage.astigmatism_angst,
            stage.phase_shift_deg,
            stage.b_factor_angst2,
            data.voltage_kv,
            data.spherical_aberration_mm,
            data.amplitude_contrast,
        )

    def _all_projectors(self) -> "list[TorchProjector]":
        if self._projectors:
            return self._projectors
        from ..data.simulation_maps import map_of_atoms
        from ..io.atoms import read_atoms
        from ..io.mrc import read_volume
        from ..physics.torch_projection import TorchProjector

        box = self.recipe.data.image_size
        count = len(self.inputs.maps) + len(self.inputs.structures)
        with self.progress.task("Reading maps", count) as advance:
            for path in self.inputs.maps:
                volume, pixel_size = read_volume(path)
                if volume.shape != (box, box, box):
                    shape = " x ".join(map(str, volume.shape))
                    raise GeometryError(
                        f"{path} has {shape} voxels, and the recipe's images {box} px; set "
                        f"--data.image_size, or resample the map, as with relion_image_handler "
                        f"--i {path} --o NEW --new_box {box}"
                    )
                self._projectors.append(TorchProjector(volume, pixel_size, self.device))
                advance(1)
            reach = max(stage.max_shift_px for stage in self.recipe.stages)
            for path in self.inputs.structures:
                volume, pixel_size, _ = map_of_atoms(
                    read_atoms(path), path, box, largest_shift_px=reach
                )
                self._projectors.append(TorchProjector(volume, pixel_size, self.device))
                advance(1)
        return self._projectors

    def _particle_views(self) -> "ParticleViews":
        if self._particles is not None:
            return self._particles
        from ..data.conventions import read_particle_table
        from ..data.preprocessing import PreprocessingOptions
        from ..geometry.symmetry import point_group
        from ..training.prepared import PreparedParticles
        from ..training.views.particles import ParticleViews

        entry = self._entry
        particles = PreparedParticles(
            read_particle_table(entry.star_path, entry.root_dir),
            PreprocessingOptions(
                image_size=self.recipe.data.image_size,
                normalization=Normalization.NONE,
                ctf_correction=CtfCorrection.NONE,
                crop_fraction=0.0,
            ),
        )
        particles.load(self.progress)
        self._particles = ParticleViews(
            particles,
            point_group(entry.symmetry),
            self.recipe.data.held_out_share,
            self.recipe.trainer.seed,
            self.device,
        )
        return self._particles
