"""Sets of views out of shards: images of many structures, read as streams while the network learns.

A set is of one structure. Images of shards are clean as a rule; shifts, CTF and noise are then
added on the device, exactly as to projections of maps. What shards have already is not added again.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.shards.lanes import ShardLane
from ...data.shards.making import CTF_FIELDS
from ...data.simulation.optics import OpticsRanges
from ...errors import GeometryError, MetadataError, OptionError
from ...io.shards import Block, read_block, read_shard_from
from ...physics.ctf import CtfParameters
from .corruption import Corruption, drawn_corruption, shifted_with_ctf, with_noise
from .sets import VALIDATION, ViewBatch, generator_of

_AMPLITUDE = CTF_FIELDS.index("amplitude_contrast")


@dataclass(frozen=True)
class StreamOptions:
    """How shards are read; see `cesped.training.views.sections.ViewsData`."""

    lanes: int = 8
    buffer: int = 8
    uses: int = 1
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True)
class _Chosen:
    """Images of one set as they were read, and what is to be done to them."""

    images: NDArray[Any]
    scale: float
    rotations: NDArray[np.float32]
    origins_angst: NDArray[np.float32]
    pixel_size_angst: float
    has_noise: bool
    corruption: Corruption


class ShardViews:
    """Draws sets of views of structures in shards, one after the other; see `ViewSource`.

    One shard, the same in all stages, validates and is never learned from.

    Parameters
    ----------
    paths : of shards, the same list in every process
    batch : sets in a step; set number n is of place n % batch in it
    box : of the images [px]
    options : how to read
    snr, max_shift_px, optics : as `SimulatedViews`
    device : of the batches

    Raises
    ------
    OptionError
        If there are too few shards, or lanes do not divide the batch.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        batch: int,
        box: int,
        options: StreamOptions,
        snr: tuple[float, float] | None = None,
        max_shift_px: float = 0.0,
        optics: OpticsRanges | CtfParameters | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(paths) < 2:
            raise OptionError(
                f"{len(paths)} shard is not enough: one validates, the others are learned from; "
                "make shards of fewer structures"
            )
        if batch % options.lanes:
            raise OptionError(
                f"a batch of {batch} sets does not come apart into data.shard_lanes "
                f"{options.lanes}; change one of them"
            )
        held_out = int(np.random.default_rng(options.seed).integers(len(paths)))
        self._held_out = paths[held_out]
        self._paths = [path for index, path in enumerate(paths) if index != held_out]
        self._batch, self._box, self._options = batch, box, options
        self._snr, self._max_shift_px, self._optics = snr, max_shift_px, optics
        self._device = torch.device(device)
        self._lanes: dict[int, ShardLane] = {}
        self._states: dict[int, dict[str, Any]] = {}
        self._ahead: tuple[tuple[int, ...], list[Future[Any]]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._held_out_starts: list[int] | None = None

    # -- the stream ------------------------------------------------------------------------------

    def state(self) -> dict[int, dict[str, Any]]:
        """Return where the lanes of this process are, as far as sets were drawn."""
        return dict(self._states)

    def restore(self, state: dict[int, dict[str, Any]]) -> None:
        """Go on from `state`; lanes of other processes are passed over when they are not used."""
        self._states, self._lanes, self._ahead = dict(state), {}, None

    def expect(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> None:
        """Begin to read the sets of these numbers, which are drawn next."""
        self._ahead = (tuple(numbers), self._jobs(numbers, views, stream))

    def _jobs(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> list[Future[Any]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._options.workers, "shards")
        return [
            self._pool.submit(self._of_lane, lane, own, views, stream)
            for lane, own in self._by_lane(numbers).items()
        ]

    def draw(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers; see `ViewSource`. Those that train come in order.

        Raises
        ------
        MissingFileError, ShardError
            If a shard is gone, was cut, or is damaged; the message names it.
        GeometryError, OptionError, MetadataError
            If images have another size, carry already what is to be added, or are too few.
        """
        if stream[-1] == VALIDATION:
            return self._to_device([self._held_out_set(n, views, stream) for n in numbers])
        if self._ahead is not None and self._ahead[0] == tuple(numbers):
            jobs, self._ahead = self._ahead[1], None
        else:
            self._drop_ahead()
            jobs = self._jobs(numbers, views, stream)
        found: dict[int, _Chosen] = {}
        for job in jobs:
            lane, chosen, state = job.result()
            found |= chosen
            self._states[lane] = state
        return self._to_device([found[number] for number in numbers])

    def close(self) -> None:
        """Stop to read ahead."""
        self._drop_ahead()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _drop_ahead(self) -> None:
        """Forget what was read for nothing: the lanes go back to where they were."""
        if self._ahead is not None:
            for job in self._ahead[1]:
                if not job.cancel():
                    job.exception()  # waits
            self._ahead, self._lanes = None, {}

    def _by_lane(self, numbers: list[int]) -> dict[int, list[int]]:
        lanes: dict[int, list[int]] = {}
        for number in numbers:
            place = number % self._batch
            lanes.setdefault(place * self._options.lanes // self._batch, []).append(number)
        return lanes

    def _of_lane(
        self, lane: int, numbers: list[int], views: int, stream: tuple[int, ...]
    ) -> tuple[int, dict[int, _Chosen], dict[str, Any]]:
        """Return sets of one lane, in order, and its state after them."""
        each = self._batch // self._options.lanes
        found = {}
        for number in numbers:
            wanted = number // self._batch * each + number % each
            reader = self._reader(lane, stream, wanted)
            drawn = reader.draw()
            found[number] = self._chosen(drawn.block, drawn.path, views, drawn.generator)
        return lane, found, self._lanes[lane].state

    def _reader(self, lane: int, stream: tuple[int, ...], wanted: int) -> ShardLane:
        """Return the lane, at a place; from its state or its beginning if it is not there."""
        reader = self._lanes.get(lane)
        if reader is None or reader.count > wanted:
            state = self._states.get(lane)
            if state is not None and state["count"] > wanted:
                state = None
            reader = ShardLane(
                self._paths,
                lane,
                self._options.lanes,
                stream,
                self._options.buffer,
                self._options.uses,
                state,
            )
            self._lanes[lane] = reader
        while reader.count < wanted:
            reader.draw()
        return reader

    def _held_out_set(self, number: int, views: int, stream: tuple[int, ...]) -> _Chosen:
        if self._held_out_starts is None:
            placed = read_shard_from(self._held_out)
            self._held_out_starts = [each.start for each in placed if each.block.arrays]
        starts = self._held_out_starts
        if not starts:
            raise MetadataError(f"no structure has images in {self._held_out}; make others")
        block = read_block(self._held_out, starts[number % len(starts)])
        return self._chosen(block, self._held_out, views, generator_of(stream, number))

    # -- a set -----------------------------------------------------------------------------------

    def _chosen(
        self, block: Block, path: Path, views: int, generator: np.random.Generator
    ) -> _Chosen:
        images = block.arrays["images"]
        where = f"{block.name} in {path}"
        if len(images) < views:
            raise MetadataError(
                f"{where} has {len(images)} images, too few for sets of {views} views; use fewer "
                "views, or make more images"
            )
        if images.shape[-1] != self._box:
            raise GeometryError(
                f"{where} has images of {images.shape[-1]} px, and the recipe of {self._box}; set "
                "data.image_size, or make other shards"
            )
        optics = self._optics
        has_ctf = not (block.arrays["ctf"][:, _AMPLITUDE] == 1).all()
        has_noise = bool(block.facts.get("sigma"))
        for already, wanted, what in (
            (has_ctf, optics is not None, "a CTF"),
            (has_noise, self._snr is not None, "noise"),
        ):
            if already and wanted:
                raise OptionError(
                    f"{where} has {what} already; leave {what} out of the stage, or make clean "
                    "shards"
                )
        corruption = drawn_corruption(views, self._max_shift_px, optics, self._snr, generator)
        rows = generator.choice(len(images), views, replace=False)
        return _Chosen(
            images[rows],
            float(block.facts["scale"]),
            block.arrays["rotations"][rows],
            block.arrays["origins_angst"][rows],
            float(block.facts["pixel_size_angst"]),
            has_noise,
            corruption,
        )

    def _to_device(self, sets: list[_Chosen]) -> ViewBatch:
        clean = torch.stack([self._shown(chosen) for chosen in sets])
        noisy = clean
        if self._snr is not None:
            noisy = with_noise(clean, [chosen.corruption for chosen in sets])
        shifts = [
            -chosen.origins_angst / chosen.pixel_size_angst - chosen.corruption.origins_px
            for chosen in sets
        ]
        return ViewBatch(
            noisy[:, :, None],
            self._tensor(np.stack([chosen.rotations for chosen in sets])),
            self._tensor(np.stack(shifts)),
            None if any(chosen.has_noise for chosen in sets) else clean[:, :, None],
            pixel_sizes_angst=tuple(chosen.pixel_size_angst for chosen in sets),
        )

    def _shown(self, chosen: _Chosen) -> Tensor:
        images = torch.from_numpy(chosen.images).to(self._device).float() * chosen.scale
        return shifted_with_ctf(images, chosen.corruption, chosen.pixel_size_angst)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)
