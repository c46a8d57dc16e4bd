"""What is written of poses that were found without a reference: star file, maps, figures, page."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.files import write_text_atomic
from ..progress import Progress
from ..vocabulary import FSC_THRESHOLDS

if TYPE_CHECKING:
    from ..data.table import ParticleTable
    from ..inference.abinitio.groups import FramePoses
    from ..inference.abinitio.trust import Trust, TurnCheck
    from ..models.cryofastar.pixel_sizes import PixelSizeFit
    from ..physics.fsc import FscCurve
    from ..reconstruction.protocol import HalfMaps, Reconstructor

STAR_NAME, FIGURES_NAME, REPORT_NAME = "poses.star", "abinitio.json", "report.html"
#: Of all particles, of half 0, of half 1.
MAP_NAMES = ("map.mrc", "half0.mrc", "half1.mrc")
MAP_TITLES = ("all particles", "half 0", "half 1")
CURVE_NAME = "fsc_halves.csv"
_SUBSET = "rlnRandomSubset"
#: Images shown on the page beside the reference's: the surest and the least sure.
_SUREST, _LEAST_SURE = 4, 3


def halves_of(table: "ParticleTable") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of both halves: by rlnRandomSubset if it has two, else every other row."""
    if _SUBSET in table.particles:
        subset = table.particles[_SUBSET].to_numpy()
        kinds = np.unique(subset)
        if len(kinds) == 2:
            return np.flatnonzero(subset == kinds[0]), np.flatnonzero(subset == kinds[1])
    rows = np.arange(len(table))
    return rows[::2], rows[1::2]


#: Tells the user one sentence.
Tell = Callable[[str], object]


@dataclass
class Products:
    """Everything that is written.

    Attributes
    ----------
    table : the particles as read.
    frame, check, trust : what was found, and what it is worth.
    pixel_size_angst : of the images that the network was given.
    folder : where to write.
    fit : how the pixel size of the images suits the weights; None if these do not say.
    """

    table: "ParticleTable"
    frame: "FramePoses"
    check: "TurnCheck"
    trust: "Trust"
    pixel_size_angst: float
    folder: Path
    fit: "PixelSizeFit | None" = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.poses = self.frame.to_poses(self.pixel_size_angst)
        self.curves: dict[str, FscCurve] = {}
        self.maps: HalfMaps | None = None
        if self.fit is not None and self.fit.warning:
            self.notes.insert(0, self.fit.warning)  # it was said when the work began

    def note(self, sentence: str, say: Tell) -> None:
        """Say something, and keep it for the page."""
        self.notes.append(sentence)
        say(f"note: {sentence}")

    def write_maps(
        self,
        reconstructor: "Reconstructor",
        mask: Path | None,
        threads: int | None,
        progress: Progress,
        say: Tell,
    ) -> None:
        """Write the poses, then reconstruct and compare the maps of all particles and of halves."""
        from ..data.conventions import TRUE_CONFIDENCE, write_particle_table
        from ..io.mrc import write_volume
        from ..physics.fsc import fsc_curve
        from ..reconstruction.protocol import PoseSet, ReconstructionOptions
        from .maps import curve_csv, read_map

        # how sure somebody was of other poses says nothing of these
        old = self.table.particles.drop(columns=TRUE_CONFIDENCE, errors="ignore")
        posed = replace(self.table.with_poses(self.poses), particles=old)
        write_particle_table(
            self.folder / STAR_NAME, posed, predicted_confidence=self.poses.confidence
        )
        if self.table.ctf is None:
            self.note(
                "The star file states no CTF: the poses need none, but the map is not corrected.",
                say,
            )
        rows = halves_of(self.table)
        weights = self.poses.confidence if self.trust.confidence else None
        first, second = (
            PoseSet(self.poses.select(half), None if weights is None else weights[half])
            for half in rows
        )
        options = ReconstructionOptions(ctf=self.table.ctf is not None, threads=threads)
        tables = self.table.select(rows[0]), self.table.select(rows[1])
        (self.maps,) = reconstructor.reconstruct_halves(
            tables, [(first, second)], options, progress
        )
        voxel = self.table.sampling_rate
        for name, volume in zip(MAP_NAMES, self._volumes().values(), strict=True):
            write_volume(self.folder / name, volume, voxel)
        self.curves["half 0 against half 1"] = fsc_curve(self.maps.half0, self.maps.half1, voxel)
        if mask is not None:
            shape = self.maps.full.shape
            inside = read_map(mask, shape, self.folder / MAP_NAMES[0], is_mask=True)
            curve = fsc_curve(self.maps.half0, self.maps.half1, voxel, inside[0])
            self.curves = {"inside the mask": curve, **self.curves}
        write_text_atomic(self.folder / CURVE_NAME, curve_csv(next(iter(self.curves.values()))))

    def _volumes(self) -> dict[str, NDArray[np.float32]]:
        if self.maps is None:
            return {}
        return dict(
            zip(MAP_TITLES, (self.maps.full, self.maps.half0, self.maps.half1), strict=True)
        )

    def resolutions_angst(self) -> dict[float, float]:
        """Return the resolution of the halves at each threshold [A], inside the mask if any."""
        from ..physics.fsc import resolution_angst

        curve = next(iter(self.curves.values()))
        return {level: resolution_angst(curve, level) for level in FSC_THRESHOLDS}

    def write_page(self, made_from: Mapping[str, object], progress: Progress) -> None:
        """Write the figures as JSON, and the page last."""
        from ..data.images import ImageSource
        from ..report.abinitio_page import AbinitioFindings, write_abinitio_page

        figures = self.figures(made_from)
        text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
        write_text_atomic(self.folder / FIGURES_NAME, text)
        order = np.argsort(-self.poses.confidence, kind="stable")
        order = order[order != self.frame.reference]
        surest, least = order[:_SUREST], order[::-1][:_LEAST_SURE]
        shown = np.concatenate([[self.frame.reference], surest, least])
        names = [
            "reference",
            *(f"surest {number}" for number in range(1, len(surest) + 1)),
            *(f"least sure {number}" for number in range(1, len(least) + 1)),
        ]
        facts = {**made_from, "reference": figures["reference"], "maps": list(MAP_NAMES)}
        with progress.task("Writing the report", 1) as advance:
            write_abinitio_page(
                self.folder / REPORT_NAME,
                AbinitioFindings(
                    name=Path(self.table.source).name,
                    poses=self.poses,
                    confidence=self.frame.confidence.double().cpu().numpy(),
                    reference=self.frame.reference,
                    trust=self.trust,
                    check=self.check,
                    volumes=self._volumes(),
                    voxel_size_angst=self.table.sampling_rate,
                    curves=self.curves,
                    resolutions_angst=self.resolutions_angst(),
                    pictures=ImageSource(self.table).read(shown),
                    picture_names=names,
                    notes=self.notes,
                    facts=facts,
                ),
            )
            advance(1)

    def figures(self, made_from: Mapping[str, object]) -> dict[str, Any]:
        """Return what `abinitio.json` holds."""
        confidence = self.frame.confidence_of_others.double().cpu().numpy()
        reference = self.frame.reference
        resolutions = self.resolutions_angst()
        return {
            "particles": len(self.table),
            "reference": {"row": reference + 1, "name": str(self.table.ids[reference])},
            "resolution_angst": {
                f"{level:g}": value if math.isfinite(value) else None
                for level, value in resolutions.items()
            },
            "resolution_inside_mask": made_from["mask"] is not None,
            "confidence": {
                "mean": float(confidence.mean()),
                "least": float(confidence.min()),
                "largest": float(confidence.max()),
                "is_informative": self.trust.confidence,
                "weights_the_map": self.trust.confidence,
            },
            "quarter_turns": {
                "particles": len(self.check.rows),
                "median_error_deg": self.check.median_deg,
                "rank_correlation_with_confidence": self.check.rank_correlation,
                "poses_follow": self.trust.poses,
            },
            "pixel_size": None if self.fit is None else self.fit.to_dict(),
            "notes": [*self.trust.notes, *self.notes],
            "made_from": dict(made_from),
        }
