"""From particles to a map, from a map to particles, and from two maps to a resolution."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, ImageValueError, OptionError, PixelSizeError
from ..io.files import check_writable, staging_folder
from ..progress import SILENT, Progress
from ..vocabulary import FSC_THRESHOLDS

if TYPE_CHECKING:
    from ..data.table import ParticleTable
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
    reconstructor : see `cesped.reconstruction.backends.make_reconstructor`.
    options : symmetry, CTF, gridding, padding, threads.
    confidence_weights : weight particles by the confidence of their poses.

    Raises
    ------
    MetadataError
        If weights are wanted and the star file has none.
    OptionError
        If `out` is a file that is read.
    """
    from ..data.conventions import read_particle_table
    from ..errors import MetadataError
    from ..io.mrc import write_volume
    from ..reconstruction.protocol import PoseSet

    check_writable(out)
    table = read_particle_table(star, root)
    _refuse_inputs([out], table)
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
    OptionError
        If a file to write is one that is read, or the stack's name ends in `.star`.
    """
    import torch

    from ..data.conventions import read_particle_table, write_as_read
    from ..io.stack import StackWriter
    from ..physics.ctf import ctf_half_plane
    from ..physics.projection import Projector

    stack = Path(out)
    stack_star = stack.with_suffix(".star")
    if stack == stack_star:
        raise OptionError(f"{out} names a star file; name the stack, such as projections.mrcs")
    for path in (stack, stack_star):
        check_writable(path)
    volume, voxel_angst = read_map(map_path)
    table = read_particle_table(star, check_images=False)
    _refuse_inputs([stack, stack_star], table, map_path)
    poses = table.require_poses()
    check_pixel_sizes(voxel_angst, f"map {map_path}", table.sampling_rate, f"star file {star}")
    ctf = table.require_ctf() if apply_ctf else None
    projector = Projector(volume)
    with staging_folder(stack.parent, "projecting") as staging:
        with (
            StackWriter(staging / stack.name, len(table), projector.box, voxel_angst) as writer,
            progress.task(f"Projecting {Path(map_path).name}", len(table)) as advance,
        ):
            for start in range(0, len(table), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(table)))
                transfer = None
                if ctf is not None:
                    transfer = ctf_half_plane(ctf.select(rows), projector.box, voxel_angst)
                origins_px = torch.from_numpy(poses.origins_angst[rows] / voxel_angst)
                images = projector.project(poses.rotations[rows], origins_px, transfer)
                writer.append(images.numpy())
                advance(len(rows))
        names = [f"{row:06d}@{stack.name}" for row in range(1, len(table) + 1)]
        write_as_read(staging / stack_star.name, table, names)
        for path in (stack, stack_star):
            (staging / path.name).replace(path)
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
    ImageValueError
        If a map is constant, or holds NaN.
    """
    from ..io.files import write_text_atomic
    from ..physics.fsc import fsc_curve, pearson, resolution_angst
    from ..report.canvas import write_png
    from ..report.figures import fsc_figure

    csv_path, png_path = (Path(out).with_name(Path(out).name + end) for end in (".csv", ".png"))
    for path in (csv_path, png_path):
        check_writable(path)
    volume_a, voxel_a = read_map(first)
    volume_b, voxel_b = read_map(second, volume_a.shape, first)
    check_pixel_sizes(voxel_a, f"map {first}", voxel_b, f"map {second}")
    mask_values = None if mask is None else read_map(mask, volume_a.shape, first, is_mask=True)[0]
    curve = fsc_curve(volume_a, volume_b, voxel_a, mask_values)
    figure = fsc_figure({f"{Path(first).name}, {Path(second).name}": curve})
    with staging_folder(csv_path.parent, "comparing") as staging:
        write_text_atomic(staging / csv_path.name, curve_csv(curve))
        write_png(figure, staging / png_path.name)
        for path in (csv_path, png_path):
            (staging / path.name).replace(path)
    return MapComparison(
        curve=curve,
        correlation=pearson(volume_a, volume_b, mask_values),
        resolutions_angst={level: resolution_angst(curve, level) for level in FSC_THRESHOLDS},
        csv=csv_path,
        png=png_path,
    )


def curve_csv(curve: "FscCurve") -> str:
    """Return a curve as a table: frequency, detail size and correlation of each shell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("frequency_per_angst", "resolution_angst", "fsc"))
    for frequency, correlation in zip(curve.frequency_per_angst, curve.correlation, strict=True):
        size = 1 / frequency if frequency > 0 else np.inf
        writer.writerow((f"{frequency:.8g}", f"{size:.6g}", f"{correlation:.8g}"))
    return text.getvalue()


def read_map(
    path: str | os.PathLike[str],
    shape: tuple[int, ...] | None = None,
    like: str | os.PathLike[str] | None = None,
    *,
    is_mask: bool = False,
) -> tuple[np.ndarray, float]:
    """Return a cubic map and its voxel size [A]; of `shape`, the one of map `like`, if given.

    Raises
    ------
    GeometryError
        If it is no cube, or of another shape.
    ImageValueError
        If it is constant.
    MrcFileError
        If it cannot be read.
    """
    from ..io.mrc import read_volume

    what = "mask" if is_mask else "map"
    # a mask is laid on the voxels of the map, whatever its header says of their size
    volume, voxel_angst = read_volume(path, 1.0 if is_mask else None)
    if len(set(volume.shape)) > 1:
        raise GeometryError(
            f"{what} {path} has {_size(volume.shape)} voxels; give one whose sides are alike"
        )
    if shape is not None and volume.shape != shape:
        raise GeometryError(
            f"{what} {path} has {_size(volume.shape)} voxels and map {like} {_size(shape)}; give "
            "files of one box, or crop one of them"
        )
    value = volume.flat[0]
    if not is_mask and (volume == value).all():
        raise ImageValueError(
            f"map {path} is constant ({value:g} everywhere); give the map that was meant"
        )
    return volume, voxel_angst


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _refuse_inputs(
    outputs: Iterable[str | os.PathLike[str]],
    table: "ParticleTable",
    *others: str | os.PathLike[str],
) -> None:
    """Raise if a file to write is the star file, one of its stacks, or one of `others`."""
    inputs = {Path(path).resolve() for path in (table.source, *table.stacks, *others)}
    for path in outputs:
        if Path(path).resolve() in inputs:
            raise OptionError(f"{path} is read here and would be lost; write to another name")


def check_pixel_sizes(first: float, first_name: str, second: float, second_name: str) -> None:
    """Raise PixelSizeError if two pixel sizes [A] differ by more than rounding."""
    if abs(first - second) > _PIXEL_SIZE_TOLERANCE * first:
        raise PixelSizeError(
            f"{first_name} has {first:.5g} A per pixel and {second_name} has {second:.5g}; "
            "correct the header that is wrong, or scale one of them"
        )
