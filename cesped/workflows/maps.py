"""From particles to a map, from a map to particles, and from two maps to a resolution."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PixelSizeError
from ..progress import SILENT, Progress
from ..vocabulary import FSC_THRESHOLDS

if TYPE_CHECKING:
    from ..physics.fsc import FscCurve
    from ..reconstruction.protocol import ReconstructionOptions, Reconstructor

_BATCH = 256
#: Pixel sizes of two maps, or of map and star file, may differ by this share.
_PIXEL_SIZE_TOLERANCE = 1e-3


def reconstruct_map(
    star: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    reconstructor: "Reconstructor",
    options: "ReconstructionOptions",
    *,
    confidence_weights: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Reconstruct the particles of a star file at its poses into the map `out`.

    Parameters
    ----------
    star : star file with poses.
    root : folder that its image names start from; its own folder when None.
    out : map to write.
    reconstructor : see `cesped.reconstruction.protocol.make_reconstructor`.
    options : symmetry, CTF, gridding, padding, threads.
    confidence_weights : weight particles by the confidence of their poses.

    Raises
    ------
    MetadataError
        If weights are wanted and the star file has none.
    """
    from ..data.conventions import read_particle_table
    from ..errors import MetadataError
    from ..io.mrc import write_volume
    from ..reconstruction.protocol import PoseSet

    table = read_particle_table(star, root)
    poses = table.require_poses()
    if confidence_weights and not table.has_confidence:
        raise MetadataError(
            f"{star} states no confidence of its poses (column rlnMaxValueProbDistribution); "
            "leave --confidence-weights out"
        )
    weights = poses.confidence if confidence_weights else None
    (volume,) = reconstructor.reconstruct(table, [PoseSet(poses, weights)], options, progress)
    return write_volume(out, volume, table.sampling_rate)


def project_map(
    map_path: str | os.PathLike[str],
    star: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    apply_ctf: bool = True,
    progress: Progress = SILENT,
) -> Path:
    """Write the images of a map at the poses of a star file, and a star file that names them.

    Parameters
    ----------
    map_path : map, `(N, N, N)`.
    star : star file with poses, and with CTF unless `apply_ctf` is off; its images are not read.
    out : stack to write; the star file has the same name with suffix `.star`.
    apply_ctf : whether images carry the contrast transfer.

    Raises
    ------
    PixelSizeError
        If map and star file differ in pixel size.
    MetadataError
        If the star file has no poses, or no CTF where it is needed.
    """
    import torch

    from ..data.conventions import read_particle_table, write_as_read
    from ..io.mrc import read_volume
    from ..io.stack import StackWriter
    from ..physics.ctf import ctf_half_plane
    from ..physics.projection import Projector

    volume, voxel_angst = read_volume(map_path)
    table = read_particle_table(star, check_images=False)
    poses = table.require_poses()
    _check_pixel_sizes(voxel_angst, f"map {map_path}", table.sampling_rate, f"star file {star}")
    ctf = table.require_ctf() if apply_ctf else None
    projector = Projector(volume)
    stack = Path(out)
    with (
        StackWriter(stack, len(table), projector.box, voxel_angst) as writer,
        progress.task(f"projecting {Path(map_path).name}", len(table)) as advance,
    ):
        for start in range(0, len(table), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(table)))
            transfer = None
            if ctf is not None:
                transfer = ctf_half_plane(ctf.select(rows), projector.box, voxel_angst)
            origins_px = torch.from_numpy(poses.origins_angst[rows] / voxel_angst)
            writer.append(projector.project(poses.rotations[rows], origins_px, transfer).numpy())
            advance(len(rows))
    names = [f"{row:06d}@{stack.name}" for row in range(1, len(table) + 1)]
    write_as_read(stack.with_suffix(".star"), table, names)
    return stack


@dataclass(frozen=True)
class MapComparison:
    """How well two maps agree.

    Attributes
    ----------
    curve : Fourier shell correlation.
    correlation : Pearson correlation.
    resolutions_angst : resolution at each of `FSC_THRESHOLDS` [A].
    csv, png : the written table and picture of the curve.
    """

    curve: "FscCurve"
    correlation: float
    resolutions_angst: dict[float, float]
    csv: Path
    png: Path


def compare_maps(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    out: str | os.PathLike[str],
    mask: str | os.PathLike[str] | None = None,
) -> MapComparison:
    """Correlate two map files, and write `<out>.csv` and `<out>.png`.

    Raises
    ------
    PixelSizeError
        If the voxel sizes differ.
    GeometryError
        If the boxes differ.
    """
    from ..io.files import write_text_atomic
    from ..io.mrc import read_volume
    from ..physics.fsc import fsc_curve, pearson, resolution_angst
    from ..report.canvas import write_png
    from ..report.figures import fsc_figure

    volume_a, voxel_a = read_volume(first)
    volume_b, voxel_b = read_volume(second)
    _check_pixel_sizes(voxel_a, f"map {first}", voxel_b, f"map {second}")
    mask_values = None if mask is None else read_volume(mask, voxel_a)[0]
    curve = fsc_curve(volume_a, volume_b, voxel_a, mask_values)
    base = Path(out)
    return MapComparison(
        curve=curve,
        correlation=pearson(volume_a, volume_b, mask_values),
        resolutions_angst={level: resolution_angst(curve, level) for level in FSC_THRESHOLDS},
        csv=write_text_atomic(base.with_name(base.name + ".csv"), _curve_csv(curve)),
        png=write_png(
            fsc_figure({f"{Path(first).name}, {Path(second).name}": curve}),
            base.with_name(base.name + ".png"),
        ),
    )


def _curve_csv(curve: "FscCurve") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("frequency_per_angst", "resolution_angst", "fsc"))
    for frequency, correlation in zip(curve.frequency_per_angst, curve.correlation, strict=True):
        size = 1 / frequency if frequency > 0 else np.inf
        writer.writerow((f"{frequency:.8g}", f"{size:.6g}", f"{correlation:.8g}"))
    return text.getvalue()


def _check_pixel_sizes(first: float, first_name: str, second: float, second_name: str) -> None:
    if abs(first - second) > _PIXEL_SIZE_TOLERANCE * first:
        raise PixelSizeError(
            f"{first_name} has {first:.5g} A per pixel and {second_name} has {second:.5g}; "
            "correct the header that is wrong, or scale one of them"
        )
