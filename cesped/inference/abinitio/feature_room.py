"""Where the features of all particles fit: in memory, or in a file that is mapped into it."""

import os
from pathlib import Path

import torch

from ...data.particle_images import SampleImages
from ...io.files import full_disk_named
from ...models.cryofastar.model import CryoFastAR

#: Features take no more than this share of the memory that is free.
_SHARE = 0.5


def bytes_of_features(model: CryoFastAR, images: SampleImages) -> int:
    """Return what the features of one particle take: 131,072 of `large` at 128 px, bfloat16."""
    tokens = (images.preprocessor.image_size // model.config.patch_px) ** 2
    return tokens * model.config.encoder_width * model.patches.weight.dtype.itemsize


def home_device(place: torch.device, wanted_bytes: int) -> torch.device:
    """Return the GPU if features fill no more than half of what is free there, else the CPU."""
    if place.type != "cuda":
        return place
    free, _ = torch.cuda.mem_get_info(place)
    return place if wanted_bytes < _SHARE * free else torch.device("cpu")


def available_bytes() -> int:
    """Return the memory that this machine could still give."""
    try:
        with open("/proc/meminfo", encoding="ascii") as facts:
            lines = dict(line.split(":", 1) for line in facts)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def fits_memory(wanted_bytes: int) -> bool:
    """Return whether features leave half of the free memory to all else."""
    return wanted_bytes <= _SHARE * available_bytes()


def mapped_features(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor of this shape whose content is in a file: memory holds what was just used.

    Parameters
    ----------
    path : of the file, which is made anew; remove it when the tensor is not needed any more
    shape, dtype : of the tensor; what it holds at first is not defined

    Raises
    ------
    DiskFullError
        If the file does not fit on the disk.
    """
    size = dtype.itemsize
    for length in shape:
        size *= length
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with full_disk_named(path), path.open("wb") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is found now, not later
            else:
                file.truncate(size)
        except OSError:
            path.unlink()
            raise
    flat = torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)
    return flat.view(dtype).reshape(shape)
