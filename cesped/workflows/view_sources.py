"""What stages of a training on views draw from: opens maps, structures, shards and particles."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingFileError, OptionError
from ..progress import Progress
from ..vocabulary import ViewOrigin
from .view_files import map_of_file, map_of_structure, plain_images, rows_of_half, shards_stamp

if TYPE_CHECKING:
    from ..data.simulation.optics import OpticsRanges
    from ..data.table import ParticleTable
    from ..physics.ctf import CtfParameters
    from ..training.views.map_window import HostMaps, Volume
    from ..training.views.particles import ParticleViews
    from ..training.views.recipe import ViewsRecipe
    from ..training.views.sections import ViewDataset, ViewStage
    from ..training.views.sets import ViewSource
    from ..training.views.team import Team


@dataclass(frozen=True)
class ViewInputs:
    """What views are drawn from.

    Attributes
    ----------
    maps : MRC files, of the box that the recipe states.
    structures : files of atoms; a map that fits the box is made of each, after the maps.
    symmetry : point group of all maps and structures.
    target, halfset : entry and half of stages on particles, beside those of the recipe.
    benchmark_dir : folder of the entries.
    shards : folder of shards.
    """

    maps: tuple[Path, ...] = ()
    structures: tuple[Path, ...] = ()
    symmetry: str = "C1"
    target: str | None = None
    halfset: int | None = None
    benchmark_dir: Path | None = None
    shards: Path | None = None

    def datasets(self, recipe: "ViewsRecipe") -> "tuple[ViewDataset, ...]":
        """Return the particles of the recipe, and those of `target`."""
        from ..training.views.sections import ViewDataset

        if self.target is None or self.halfset is None:
            return recipe.particles
        return (*recipe.particles, ViewDataset(target=self.target, halfset=self.halfset))


@dataclass
class ViewSources:
    """Opens inputs when a stage first wants them.

    Attributes
    ----------
    recipe, inputs : what is asked for.
    team : the processes; sources are on this one's device.
    progress : told of files that are read.
    """

    recipe: "ViewsRecipe"
    inputs: ViewInputs
    team: "Team"
    progress: Progress
    _maps: "HostMaps | None" = None
    _particles: "ViewSource | None" = None
    _tables: "dict[int, ParticleTable]" = field(default_factory=dict)

    def stamps(self) -> dict[str, Any]:
        """Return names and checksums of all that is drawn from."""
        from ..data.checksums import file_stamp

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
        if self._wants(ViewOrigin.SHARDS) and self.inputs.shards is not None:
            stamps["shards"] = shards_stamp(self.inputs.shards)
        if self._wants(ViewOrigin.PARTICLES):
            datasets = self.inputs.datasets(self.recipe)
            own = [self._dataset_stamp(place, each) for place, each in enumerate(datasets)]
            if self.inputs.target is not None:
                stamps["entry"] = own.pop()
            if own:
                stamps["datasets"] = own
        return stamps

    def _wants(self, origin: ViewOrigin) -> bool:
        return any(stage.origin is origin for stage in self.recipe.stages)

    def _dataset_stamp(self, place: int, dataset: "ViewDataset") -> dict[str, Any]:
        from ..data.checksums import file_stamp, images_stamp

        table = self._table(place, dataset)
        name = {"target": dataset.target} if dataset.target else {"star": dataset.star}
        return {
            **name,
            "halfset": dataset.halfset,
            "particles": file_stamp(table.source),
            "count": len(table),
            "images": images_stamp(table.stacks),
        }

    def of_stage(self, stage: "ViewStage") -> "ViewSource":
        """Return what a stage draws from."""
        if stage.origin is ViewOrigin.PARTICLES:
            return self._particle_views()
        if stage.origin is ViewOrigin.SHARDS:
            return self._shard_views(stage)
        from ..geometry.symmetry import point_group
        from ..training.views.map_window import MapWindow
        from ..training.views.simulated import ReferenceBall, SimulatedViews

        data, maps = self.recipe.data, self._all_maps()
        window = MapWindow(
            stage.maps or len(maps),
            maps,
            data.image_size,
            self.team.device,
            data.map_memory_gib,
            data.sets_per_map,
            self.recipe.trainer.seed,
        )
        first_deg, last_deg = stage.reference_within_deg
        grown = round(stage.reference_share * stage.steps * stage.batch)
        return SimulatedViews(
            window,
            stage.snr,
            stage.max_shift_px,
            self._optics(stage),
            point_group(self.inputs.symmetry),
            ReferenceBall(first_deg, last_deg, grown) if min(first_deg, last_deg) < 180 else None,
        )

    def _shard_views(self, stage: "ViewStage") -> "ViewSource":
        from ..data.shards.plan import shards_in
        from ..training.views.streamed import ShardViews, StreamOptions

        if self.inputs.shards is None:
            raise OptionError("a stage draws from shards; give --shards")
        data = self.recipe.data
        if data.shard_lanes % self.team.size:
            raise OptionError(
                f"data.shard_lanes is {data.shard_lanes}; {self.team.size} processes cannot share "
                "them out evenly: use a multiple"
            )
        options = StreamOptions(
            data.shard_lanes,
            data.shard_buffer,
            data.sets_per_structure,
            data.num_data_workers,
            self.recipe.trainer.seed,
        )
        return ShardViews(
            shards_in(self.inputs.shards),
            stage.batch,
            data.image_size,
            options,
            stage.snr,
            stage.max_shift_px,
            self._optics(stage),
            self.team.device,
        )

    def _optics(self, stage: "ViewStage") -> "OpticsRanges | CtfParameters | None":
        from ..data.simulation.optics import OpticsRanges, read_acquisition

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

    def _all_maps(self) -> "HostMaps":
        """Return all maps; the first ones are read now, so that faults are told at once."""
        if self._maps is None:
            from ..training.views.map_window import HostMaps

            box = self.recipe.data.image_size
            reach = max(stage.max_shift_px for stage in self.recipe.stages)
            readers: list[Callable[[], Volume]] = [
                partial(map_of_file, path, box) for path in self.inputs.maps
            ]
            readers += [
                partial(map_of_structure, path, box, reach) for path in self.inputs.structures
            ]
            self._maps = HostMaps(readers, box, self.recipe.data.max_memory_gib)
            kept = range(min(len(readers), self._maps.most))
            with self.progress.task("Reading maps", len(kept)) as advance:
                for index in kept:
                    self._maps(index)
                    advance(1)
        return self._maps

    def _particle_views(self) -> "ViewSource":
        if self._particles is None:
            from ..training.views.mixture import MixedViews

            datasets = self.inputs.datasets(self.recipe)
            views = [self._views_of(place, dataset) for place, dataset in enumerate(datasets)]
            weights = [dataset.weight for dataset in datasets]
            self._particles = views[0] if len(views) == 1 else MixedViews(views, weights)
        return self._particles

    def _views_of(self, place: int, dataset: "ViewDataset") -> "ParticleViews":
        from ..geometry.symmetry import point_group
        from ..training.prepared import PreparedParticles
        from ..training.views.particles import ParticleViews

        data = self.recipe.data
        particles = PreparedParticles(
            self._table(place, dataset), plain_images(data.image_size), data.max_memory_gib,
            data.cache_dir,
        )  # fmt: skip
        particles.load(self.progress, f"Preparing images of {dataset.name}")
        symmetry = dataset.symmetry
        if dataset.target is not None:
            symmetry = self._entry(dataset).symmetry
        return ParticleViews(
            particles,
            point_group(symmetry),
            data.held_out_share,
            self.recipe.trainer.seed,
            self.team.device,
        )

    def _entry(self, dataset: "ViewDataset") -> Any:
        from ..data.opening import open_entry

        if dataset.target is None or dataset.halfset is None:
            raise OptionError("particles were not named; give --target and --halfset")
        return open_entry(dataset.target, dataset.halfset, self.inputs.benchmark_dir, self.progress)

    def _table(self, place: int, dataset: "ViewDataset") -> "ParticleTable":
        """Return the particles of a dataset that may be learned from."""
        if place in self._tables:
            return self._tables[place]
        import numpy as np

        from ..data.conventions import read_particle_table

        if dataset.star is not None:
            table = rows_of_half(read_particle_table(dataset.star, dataset.root), dataset)
        else:
            entry = self._entry(dataset)
            table = read_particle_table(entry.star_path, entry.root_dir)
        most = dataset.max_particles
        if most is not None and most < len(table):
            generator = np.random.default_rng(self.recipe.trainer.seed)
            table = table.select(np.sort(generator.permutation(len(table))[:most]))
        self._tables[place] = table
        return table
