"""Poses of one half of an entry from the model of the other: `predict_half`."""

import os
from pathlib import Path

import numpy as np
import torch

from ..data.conventions import read_particle_table, write_particle_table
from ..data.opening import open_entry
from ..errors import OptionError
from ..geometry.poses import Poses
from ..geometry.rotations import nearest_rotations
from ..io.files import check_writable
from ..models.prediction import PosePrediction
from ..models.registry import PoseModel
from ..progress import SILENT, Progress
from ..training.checkpoint import check_may_predict, load_checkpoint
from ..training.prepared import PreparedParticles, preprocessing_from_dict

#: Images predicted at a time.
_BATCH = 128


def predict_half(
    checkpoint: str | os.PathLike[str],
    target: str,
    halfset: int,
    out_star: str | os.PathLike[str],
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Predict the poses of one half of an entry and write them as a star file.

    The file has the rows, ids and columns of the entry's own, with predicted angles, the
    confidence in rlnParticleFigureOfMerit, and predicted origins; a model that predicts none
    leaves origins of zero, so no true one can be taken for a prediction.

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

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read, was trained on this very half, or has another symmetry.
    EntryNotFoundError, StarFileError, MetadataError, MissingImageError, ImageValueError
        If the particles cannot be used.
    OptionError
        If `out_star` is no star file's name or the entry's own file, or the device is not there.
    """
    if Path(out_star).suffix != ".star":
        raise OptionError(
            f"{out_star} does not end in .star; predictions are written as star files"
        )
    check_writable(out_star)
    model, card = load_checkpoint(checkpoint)
    entry = open_entry(target, halfset, benchmark_dir, progress)
    if Path(out_star).resolve() == entry.star_path.resolve():
        raise OptionError(
            f"{out_star} holds the true poses of {entry.target}; write predictions elsewhere"
        )
    check_may_predict(card, checkpoint, entry.target, entry.halfset, entry.symmetry)
    table = read_particle_table(entry.star_path, entry.root_dir, require_poses=False)
    particles = PreparedParticles(
        table, preprocessing_from_dict(card.preprocessing), max_memory_gib=0, cache_dir=cache_dir
    )
    particles.load(progress)
    what = f"Predicting half {entry.halfset} of {entry.target}"
    prediction = predict_particles(model, particles, progress, what, device)
    poses, confidence = _to_poses(prediction)
    if table.poses is not None:  # the truth's own confidence stays with the truth
        poses = Poses(poses.rotations, poses.origins_angst, table.poses.confidence)
    write_particle_table(out_star, table.with_poses(poses), predicted_confidence=confidence)
    return Path(out_star)


def predict_particles(
    model: PoseModel,
    particles: PreparedParticles,
    progress: Progress = SILENT,
    what: str = "Predicting",
    device: str = "auto",
) -> PosePrediction:
    """Return the poses of all particles, on the CPU and in the order of their table."""
    place = _device(device)
    model = model.eval().to(place)
    parts: list[PosePrediction] = []
    with progress.task(what, len(particles)) as advance:
        for start in range(0, len(particles), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(particles)))
            with torch.no_grad():
                parts.append(model.predict(particles.read(rows).to(place)))
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


def _device(name: str) -> torch.device:
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
        return torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device {name!r} is none; use cpu, cuda or auto") from error
