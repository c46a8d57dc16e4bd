"""From particles without poses to poses, a map and a page: CryoFastAR paper, section 4.3."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GeometryError, MetadataError, OptionError
from ..io.files import check_writable
from ..progress import SILENT, Progress
from .abinitio_products import FIGURES_NAME, MAP_NAMES, REPORT_NAME, STAR_NAME, Tell
from .steps import is_made, run_once
from .weights_pixel_size import fit_of_images

if TYPE_CHECKING:
    import torch

    from ..data.particle_images import ParticleImages
    from ..data.table import ParticleTable
    from ..inference.abinitio.groups import FramePoses
    from ..inference.abinitio.trust import TurnCheck
    from ..models.cryofastar.model import CryoFastAR
    from ..models.cryofastar.pixel_sizes import PixelSizeFit
    from ..reconstruction.protocol import Reconstructor

#: Encodings of an unfinished run, in the folder of its results.
ENCODINGS_NAME = "encodings"
#: All of them together, where they do not fit the memory.
MAPPED_NAME = "all.bin"
#: Fewer particles make no map that could be looked at.
FEWEST_PARTICLES = 16
#: Targets that candidates for the reference are held against.
_TARGETS = 31


@dataclass(frozen=True)
class AbinitioOptions:
    """How poses are found.

    Attributes
    ----------
    image_size : side that images are resized to for the network [pixel]; as they are when None.
        Poses and map are those of the images as they are.
    views : decoded together, the reference among them; the paper has 128.
    candidates : tried as reference; the paper has 64.
    ransac : leave out pixels of planar maps that contradict the others.
    seed : of candidates, samples and of the particles that are turned as a check.
    device : of the network: auto, cpu, cuda, cuda:1.
    bfloat16 : encode and decode with half the width; on a GPU when None.
    threads : processor cores to use; all when None.
    mask : that half maps are also compared in; a file.
    resumable : keep encodings on the disk until all is done.
    """

    image_size: int | None = None
    views: int = 128
    candidates: int = 64
    ransac: bool = False
    seed: int = 0
    device: str = "auto"
    bfloat16: bool | None = None
    threads: int | None = None
    mask: Path | None = None
    resumable: bool = True


def find_poses(
    star: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    reconstructor: "Reconstructor",
    options: AbinitioOptions | None = None,
    *,
    progress: Progress = SILENT,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Find poses, and write `poses.star`, maps, `abinitio.json` and `report.html` into `out`.

    A run that was killed goes on where it was; one that ended is not done again unless something
    that determines it has changed.

    Parameters
    ----------
    star : star file; its poses, if it has any, are not looked at.
    root : folder that its image names start from; its own folder when None.
    weights : safetensors file, or one that CryoFastAR's authors released.
    out : folder for everything that is written.
    reconstructor : see `cesped.reconstruction.backends.make_reconstructor`.
    options : the defaults when None.
    tell : told a sentence now and then: speed, and what is remarkable.

    Returns
    -------
    What is in `abinitio.json`.

    Raises
    ------
    MetadataError, OptionError, GeometryError
        If there are too few particles, images do not fit the weights, or there is no such device.
    CheckpointError
        If the weights cannot be read, hold code or are those of something else.
    StarFileError, MissingImageError, MrcFileError, ImageValueError, PixelSizeError
        If star file or images are faulty.
    DiskFullError, UnwritableError
        If results cannot be written.
    """
    from ..data.checksums import file_stamp
    from ..data.conventions import read_particle_table
    from ..inference.predict import chosen_device

    chosen = options or AbinitioOptions()
    say = tell or (lambda line: None)
    folder = Path(out)
    report = folder / REPORT_NAME
    check_writable(report)
    place = chosen_device(chosen.device)
    products = (STAR_NAME, *MAP_NAMES, FIGURES_NAME, REPORT_NAME)
    with ThreadPoolExecutor(1, "stamp") as beside:
        stamp = beside.submit(file_stamp, weights)  # takes a second for two gigabytes
        table = read_particle_table(star, root, require_poses=False)
        _check_particles(table, folder)
        _check_mask(chosen.mask, table)
        is_whole = all((folder / name).is_file() for name in products)
        model = read_weights(weights) if not is_whole and Path(weights).is_file() else None
        made_from = _made_from(table, stamp.result(), chosen, place, reconstructor)
    if is_whole and is_made(report, made_from):
        say(f"{report} is up to date: nothing was done again")
    else:
        model = model or read_weights(weights)
        images = _network_images(table, model, chosen.image_size)
        fit = fit_of_images(images, weights)
        if fit is not None and not fit.is_known:
            say(f"warning: {fit.warning}")
        work = _Work(table, images, fit, model.to(place), folder, chosen, made_from, progress, say)
        report.unlink(missing_ok=True)  # it may tell of another run
        run_once(report, made_from, lambda: work.run(reconstructor))
    shutil.rmtree(folder / ENCODINGS_NAME, ignore_errors=True)
    figures: dict[str, Any] = json.loads((folder / FIGURES_NAME).read_text("utf-8"))
    return figures


def read_weights(path: str | os.PathLike[str]) -> "CryoFastAR":
    """Return the network of a weights file, this program's or a released one.

    Raises
    ------
    CheckpointError
        If it cannot be read, holds code, or weights of another architecture.
    """
    from ..models.cryofastar.model import CryoFastAR

    return CryoFastAR.read(path)


def _check_particles(table: "ParticleTable", folder: Path) -> None:
    from ..reconstruction.sampling import common_pixel_size_angst

    if len(table) < FEWEST_PARTICLES:
        raise MetadataError(
            f"{table.source} has {len(table)} particles, too few for poses and a map; give "
            f"{FEWEST_PARTICLES} or more (thousands, for a map worth looking at)"
        )
    common_pixel_size_angst(table)  # refused by the reconstruction, which comes last
    if (folder / STAR_NAME).resolve() == Path(table.source).resolve():
        raise OptionError(
            f"{table.source} is read here and would be lost; write to another folder than {folder}"
        )


def _check_mask(path: Path | None, table: "ParticleTable") -> None:
    from .maps import read_map

    if path is None:
        return
    shape = read_map(path, is_mask=True)[0].shape
    if shape[0] != table.image_size:
        raise GeometryError(
            f"mask {path} has {shape[0]} voxels a side and the images of {table.source} "
            f"{table.image_size} px; give a mask of the box of the images"
        )


def _network_images(
    table: "ParticleTable", model: "CryoFastAR", image_size: int | None
) -> "ParticleImages":
    """Return the images as the network gets them before they are normalised."""
    from ..data.particle_images import ParticleImages
    from ..data.preprocessing import PreprocessingOptions
    from ..vocabulary import CtfCorrection, Normalization

    side, patch = image_size or table.image_size, model.config.patch_px
    if side % patch:
        better = max(patch, side - side % patch)
        raise GeometryError(
            f"images of {table.source} would be given to the network with {side} px, but these "
            f"weights take multiples of {patch} px; use --image-size, such as {better} (the best "
            "is the size that they were trained on)"
        )
    recipe = PreprocessingOptions(
        image_size=image_size,
        normalization=Normalization.NONE,
        ctf_correction=CtfCorrection.NONE,
        crop_fraction=0.0,
    )
    return ParticleImages(table, recipe)


def _made_from(
    table: "ParticleTable",
    weights: dict[str, str],
    options: AbinitioOptions,
    place: "torch.device",
    reconstructor: "Reconstructor",
) -> dict[str, object]:
    """Return everything that determines the results."""
    from .. import __version__
    from ..data.checksums import file_stamp, images_stamp

    stamps = images_stamp(table.stacks)
    for stamp, stack in zip(stamps, table.stacks, strict=True):
        if stamp["checksum"] is None:  # too large to be read for it
            stamp["changed_ns"] = stack.stat().st_mtime_ns
    half_width = place.type == "cuda" if options.bfloat16 is None else options.bfloat16
    return {
        "program": f"cesped {__version__}",
        "particles": file_stamp(table.source),
        "images": stamps,
        "weights": weights,
        "image_size_px": options.image_size or table.image_size,
        "numbers": "bfloat16" if half_width else "float32",
        "device": place.type,
        "views": options.views,
        "candidates": options.candidates,
        "ransac": options.ransac,
        "seed": options.seed,
        "reconstruction": reconstructor.version(),
        "mask": None if options.mask is None else file_stamp(options.mask),
    }


@dataclass
class _Work:
    table: "ParticleTable"
    images: "ParticleImages"
    fit: "PixelSizeFit | None"
    model: "CryoFastAR"
    folder: Path
    options: AbinitioOptions
    made_from: dict[str, object]
    progress: Progress
    say: Tell

    def run(self, reconstructor: "Reconstructor") -> None:
        import torch

        from ..inference.abinitio.trust import judge
        from ..physics.threads import torch_threads
        from ..vocabulary import ViewNormalization
        from .abinitio_products import Products

        if self.made_from["numbers"] == "bfloat16":
            self.model.trunk_to(torch.bfloat16)
        with torch_threads(self.options.threads or torch.get_num_threads()):
            frame, check = self._poses()
        trust = judge(frame, check)
        for note in trust.notes:
            self.say(f"note: {note}")
        pixel_size = float(self.images.preprocessor.pixel_size_after(self.table.sampling_rate))
        products = Products(self.table, frame, check, trust, pixel_size, self.folder, self.fit)
        if self.model.normalization is ViewNormalization.STACK_RANGE:
            products.note(
                "These weights want images scaled before CTF and noise came to them, which only "
                "simulated images can be: poses of real ones may be worse than the weights allow.",
                self.say,
            )
        started = time.monotonic()
        products.write_maps(
            reconstructor, self.options.mask, self.options.threads, self.progress, self.say
        )
        self._say_rate("back-projected", len(self.table), started)
        products.write_page(self.made_from, self.progress)

    def _poses(self) -> "tuple[FramePoses, TurnCheck]":
        import torch

        from ..inference.abinitio.groups import poses_in_one_frame
        from ..inference.abinitio.kept_features import FeatureFolder, encode_particles
        from ..inference.abinitio.reference import choose_reference
        from ..inference.abinitio.trust import check_quarter_turns
        from ..models.cryofastar.consensus import Ransac

        options, place = self.options, next(self.model.parameters()).device
        views, count, started = options.views, len(self.table), time.monotonic()
        kept = None
        if options.resumable:
            names = ("program", "particles", "images", "weights", "image_size_px", "numbers")
            label = {name: self.made_from[name] for name in (*names, "device")}
            kept = FeatureFolder(self.folder / ENCODINGS_NAME, json.dumps(label, sort_keys=True))
        home, file = self._home_of_features(place)
        features, reused = encode_particles(
            self.model,
            self.images,
            device=place,
            keep_on=home,
            kept=kept,
            mapped_to=file,
            progress=self.progress,
        )
        if reused:
            self.say(f"{reused:,} particles had been encoded by an earlier run")
        self._say_rate("encoded", count - reused, started)
        generator = torch.Generator().manual_seed(options.seed)
        started = time.monotonic()
        choice = choose_reference(
            self.model, features, generator, options.candidates, min(_TARGETS, views - 1),
            progress=self.progress,
        )  # fmt: skip
        ransac = (
            Ransac(torch.Generator(place).manual_seed(options.seed)) if options.ransac else None
        )
        frame = poses_in_one_frame(
            self.model, features, choice.index, views, ransac=ransac, progress=self.progress
        )
        check = check_quarter_turns(
            self.model, features, self.images, choice.index, generator, views_per_group=views
        )
        self._say_rate("posed", count, started)
        return frame, check

    def _home_of_features(self, place: "torch.device") -> "tuple[torch.device, Path | None]":
        """Return where features are kept: the device, and the file if memory is too small."""
        from ..inference.abinitio.feature_room import bytes_of_features, fits_memory, home_device
        from ..progress_bars import format_bytes

        count, each = len(self.images), bytes_of_features(self.model, self.images)
        home = home_device(place, count * each)
        if home.type != "cpu" or fits_memory(count * each):
            return home, None
        path = self.folder / ENCODINGS_NAME / MAPPED_NAME
        self.say(
            f"features take {format_bytes(each)} a particle, {format_bytes(count * each)} in all, "
            f"more than half of the free memory: they are kept in {path}"
        )
        return home, path

    def _say_rate(self, what: str, count: int, started: float) -> None:
        seconds = max(time.monotonic() - started, 1e-9)
        if count:
            self.say(f"{what} {count:,} images in {seconds:.1f} s: {count / seconds:,.0f} images/s")
