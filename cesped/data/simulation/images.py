"""Simulated images, chunk by chunk: any chunk can be made alone, by any thread, to the same bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cesped.data.simulation.plan import NOISE_STREAM, SimulatedHalf, SimulationPlan
from cesped.physics.batch_projection import BatchProjector
from cesped.physics.noise import noise_sigma, signal_variance, white_noise
from cesped.physics.noise_spectrum import colour_noise
from cesped.physics.threads import torch_threads

#: Images made together; part of what the result is, to the bit.
CHUNK = 256
_BATCH = 32
#: Images of each half whose mean variance stands for the power of the signal.
_IMAGES_FOR_POWER = 256


class CleanImages(Protocol):
    """Noise-free images of one half: projected, moved, and modulated by their CTF."""

    def images(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, N, N)` float32 of some particles; any thread may call."""


class NativeImages:
    """The images that this package projects: see `cesped.physics.projection.Projector`.

    Parameters
    ----------
    projector : of the map
    half : poses and optics
    """

    def __init__(self, projector: BatchProjector, half: SimulatedHalf) -> None:
        self._projector = projector
        self._half = half

    def images(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, N, N)` of some particles."""
        poses, ctf = self._half
        return self._projector.project(
            poses.rotations[rows], poses.origins_angst[rows], ctf.select(rows)
        )


@dataclass(frozen=True)
class NoiseRecipe:
    """The noise of all images of a simulation.

    Parameters
    ----------
    sigma : deviation of a pixel; 0 for none
    amplitudes : `(N, N // 2 + 1)` of `NoiseSpectrum.amplitudes`; None for white noise
    """

    sigma: float
    amplitudes: torch.Tensor | None = None


def noise_for(plan: SimulationPlan, halves: Sequence[CleanImages], counts: Sequence[int]) -> float:
    """Return the deviation of noise that gives the plan's SNR, one for all halves.

    Raises
    ------
    OptionError
        If the images hold no signal.
    """
    if plan.snr is None:
        return 0.0
    variances = []
    with torch_threads(1):  # as the images are made
        for clean, count in zip(halves, counts, strict=True):
            chosen = np.linspace(0, count - 1, min(count, _IMAGES_FOR_POWER)).astype(np.int64)
            variances.append(signal_variance(clean.images(chosen)))
    return noise_sigma(float(torch.cat(variances).mean()), plan.snr)


def make_chunk(
    plan: SimulationPlan,
    halfset: int,
    chunk: int,
    count: int,
    clean: CleanImages,
    noise: NoiseRecipe,
) -> NDArray[np.float32]:
    """Return the images of one chunk of a half of `count` particles."""
    rows = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, count))
    images = clean.images(rows)
    if noise.sigma > 0:
        generator = plan.generator(NOISE_STREAM, halfset, chunk)
        for start in range(0, len(images), _BATCH):  # few at a time: the values stay in the cache
            part = images[start : start + _BATCH]
            values = white_noise(tuple(part.shape), noise.sigma, generator)
            if noise.amplitudes is not None:
                values = colour_noise(values, noise.amplitudes)
            part += values
    return np.asarray(images.numpy(), dtype=np.float32)


def chunks_in_order(
    plan: SimulationPlan,
    halfset: int,
    first_chunk: int,
    count: int,
    clean: CleanImages,
    noise: NoiseRecipe,
    threads: int,
) -> Iterator[NDArray[np.float32]]:
    """Yield the images of the chunks from `first_chunk` on, made by some threads ahead of time."""
    n_chunks = -(-count // CHUNK)
    waiting: deque[Future[NDArray[np.float32]]] = deque()
    # Each chunk is the work of one thread: torch's own would only stand in each other's way, and
    # the last bit of an FFT depends on their number. Each thread has to be told by itself.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    with torch_threads(1), pool:
        try:
            for chunk in range(first_chunk, n_chunks):
                if len(waiting) > threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(make_chunk, plan, halfset, chunk, count, clean, noise))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def volume_bytes(volume: ArrayLike) -> bytes:
    """Return the voxels of a map as bytes, to be named by a checksum."""
    return np.ascontiguousarray(volume, dtype="<f4").tobytes()
