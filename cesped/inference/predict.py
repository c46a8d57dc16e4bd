"""Poses of one half of an entry from a model that learned elsewhere: `predict_half`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.conventions import read_particle_table, write_particle_table
from ..data.opening import open_entry
from ..errors import OptionError
from ..geometry.poses import Poses
from ..geometry.rotations import nearest_rotations
from ..io.files import check_writable
from ..models.prediction import PosePrediction
from ..models.registry import PoseModel
from ..progress import SILENT, Progress
from ..training.checkpoint import load_checkpoint
from .cross_sample import check_symmetry, check_unseen, describe_sampling
from .sampling import SampledParticles
from .turns import predict_turned, set_turns

#: Images predicted at a time.
_BATCH = 128


class ImagesByRow(Protocol):
    """Where `predict_particles` takes images from."""

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, 1, n, n)` of rows."""


def predict_half(
    checkpoint: str | os.PathLike[str],
    target: str,
    halfset: int,
    out_star: str | os.PathLike[str],
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    turns: int | None = None,
    other_symmetry: bool = False,
    tell: Callable[[str], object] | None = None,
) -> Path:
    """Predict the poses of one half of an entry and write them as a star file.

    The file has the rows, ids and columns of the entry's own, with predicted angles, the
    confidence in rlnParticleFigureOfMerit, and predicted origins; a model that predicts none
    leaves origins of zero, so no true one can be taken for a prediction.

    The model may have learned on another entry: its images are brought to the pixel size and
    field of view of that one (see `plan_sampling`), and the symmetries must agree
    (see `check_symmetry`). The poses are then in the frame of that entry's map.

    Parameters
    ----------
    checkpoint : model that was trained on something else than this half
    target : name of the entry
    halfset : 0 or 1
    out_star : file to write, whole or not at all
    benchmark_dir : folder of entries
    progress : told of every image
    device : `cpu`, `cuda`, or `auto` for a GPU where there is one
    cache_dir : folder of prepared images, as recipes name it in `data.cache_dir`
    turns : in-plane turns that the answer is averaged over; None: as the model was trained
    other_symmetry : predict although the model's symmetry is not one the entry has
    tell : called with each sentence on what differs from the entry that the model learned on

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read, or was trained on this very half.
    SymmetryError, PixelSizeError
        If the model's symmetry or its pixel size does not fit the entry.
    EntryNotFoundError, StarFileError, MetadataError, MissingImageError, ImageValueError
        If the particles cannot be used.
    OptionError
        If `out_star` is no star file's name or the entry's own file, the device is not there, or
        `turns` is below 1.
    """
    if Path(out_star).suffix != ".star":
        raise OptionError(
            f"{out_star} does not end in .star; predictions are written as star files"
        )
    check_writable(out_star)
    model, card = load_checkpoint(checkpoint)
    to_turn = set_turns(model, turns)
    entry = open_entry(target, halfset, benchmark_dir, progress)
    if Path(out_star).resolve() == entry.star_path.resolve():
        raise OptionError(
            f"{out_star} holds the true poses of {entry.target}; write predictions elsewhere"
        )
    check_unseen(card, checkpoint, entry.target, entry.halfset)
    notes = check_symmetry(card, checkpoint, entry.target, entry.symmetry, other_symmetry)
    table = read_particle_table(entry.star_path, entry.root_dir, require_poses=False)
    particles = SampledParticles(table, card, cache_dir)
    notes += describe_sampling(card, entry.target, table, particles.plans)
    if tell is not None:
        for note in notes:
            tell(note)
    particles.load(progress)
    what = f"Predicting half {entry.halfset} of {entry.target}"
    prediction = predict_particles(model, particles, progress, what, device, turns=to_turn)
    poses, confidence = _to_poses(prediction)
    if table.poses is not None:  # the truth's own confidence stays with the truth
        poses = Poses(poses.rotations, poses.origins_angst, table.poses.confidence)
    write_particle_table(out_star, table.with_poses(poses), predicted_confidence=confidence)
    return Path(out_star)


def predict_particles(
    model: PoseModel,
    particles: ImagesByRow,
    progress: Progress = SILENT,
    what: str = "Predicting",
    device: str = "auto",
    *,
    turns: int = 1,
) -> PosePrediction:
    """Return the poses of all particles, on the CPU and in the order of their table."""
    place = chosen_device(device)
    model = model.eval().to(place)
    parts: list[PosePrediction] = []
    with progress.task(what, len(particles)) as advance:
        for start in range(0, len(particles), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(particles)))
            with torch.no_grad():
                parts.append(predict_turned(model, particles.read(rows).to(place), turns))
            advance(len(rows))
    shifts = [part.shifts_angst for part in parts if part.shifts_angst is not None]
    return PosePrediction(
        torch.cat([part.rotations for part in parts]).cpu(),
        torch.cat([part.confidence for part in parts]).cpu(),
        torch.cat(shifts).cpu() if shifts else None,
    )


def _to_poses(prediction: PosePrediction) -> tuple[Poses, np.ndarray]:
    confidence = prediction.confidence.double().numpy()
    count = len(prediction)
    if prediction.shifts_angst is None:
        origins = np.zeros((count, 2))
    else:
        origins = prediction.shifts_angst.double().numpy()
    rotations = nearest_rotations(prediction.rotations.double().numpy())
    return Poses(rotations, origins, confidence), confidence


def chosen_device(name: str) -> torch.device:
    """Return the device that `name` means.

    Raises
    ------
    OptionError
        If it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise OptionError(f"device {name!r}: torch sees no GPU here; use cpu or auto")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device {name!r} is none; use cpu, cuda or auto") from error
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise OptionError(f"device {name!r}: there are {count} GPUs here, counted from cuda:0")
    return device
