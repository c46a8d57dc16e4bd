"""CryoFastAR as a model of the benchmark: fine-tuned on one half, it poses the other by anchors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from ...errors import OptionError
from ...vocabulary import MapConvention, ViewNormalization
from ..multi_view import MultiViewModel, RelativePoses, ViewSets
from ..registry import register_model
from .config import PRESETS, CryoFastARConfig, preset_config
from .losses import planar_map_loss
from .model import CryoFastAR
from .planar_maps import PlanarMaps, maps_of_poses
from .poses import poses_of_maps
from .views import normalized_views
from .weights import facts_of_weights


@register_model("cryofastar")
class CryoFastARPoses(MultiViewModel):
    """The network of Zhang et al. (2025), in the frame of an entry.

    Parameters
    ----------
    symmetry : point group of the particle
    size : a preset of `config`, such as `large`, or the sizes one by one
    weights : to begin with: a safetensors file, or one that the authors released; its sizes and
        conventions then count. They are kept in the checkpoint, which does not look for it again
    convention, normalization : of maps and views, as the weights have them
    alpha, grid_weight : of the loss, see `losses.planar_map_loss`
    views, first_views, anchors, references, reference_pool, pixel_size_angst : as in
        `MultiViewModel`

    Raises
    ------
    OptionError
        If there is no such size, or the weights want images that real particles cannot be.
    CheckpointError
        If the weights cannot be read.
    """

    presets: ClassVar = {name: {"size": name} for name in PRESETS}
    default_recipe = "cryofastar"

    def __init__(
        self,
        symmetry: str,
        *,
        size: str | Mapping[str, Any] = "small",
        weights: str | None = None,
        convention: str = MapConvention.PAPER.value,
        normalization: str = ViewNormalization.IMAGE.value,
        alpha: float = 0.3,
        grid_weight: float = 0.0,
        views: int = 8,
        first_views: int | None = None,
        anchors: int = 32,
        references: int = 4,
        reference_pool: str = "anchors",
        pixel_size_angst: float | None = None,
    ) -> None:
        if weights is not None:
            network = CryoFastAR.read(weights)
            size, convention = network.config.to_dict(), network.convention.value
            normalization = network.normalization.value
            _refuse_clean_stacks(network.normalization, weights)
        else:
            sizes = preset_config(size if isinstance(size, str) else _sizes(size))
            network = CryoFastAR(sizes, convention=convention, normalization=normalization)
        super().__init__(
            symmetry,
            size=size if isinstance(size, str) else dict(size),
            convention=convention,
            normalization=normalization,
            alpha=alpha,
            grid_weight=grid_weight,
            views=views,
            first_views=first_views,
            anchors=anchors,
            references=references,
            reference_pool=reference_pool,
            pixel_size_angst=pixel_size_angst,
        )
        if not alpha > 0 or not grid_weight >= 0:
            raise OptionError(
                f"alpha is {alpha} and grid_weight {grid_weight}; give an alpha above 0, and a "
                "grid_weight of 0 or more"
            )
        self.alpha, self.grid_weight = alpha, grid_weight
        self.network = network.float()
        for head in (network.reference_head, network.target_head):  # poses need no images, and
            head.image.requires_grad_(False)  # processes wait for gradients of all that has one
        if weights is not None:
            self.learned_before = tuple(_learned_from(weights))

    def set_loss(self, views: ViewSets) -> torch.Tensor:
        """Return C |X - X_true|^2 - alpha log C over all views: CryoFastAR paper, Eq. 11."""
        images = normalized_views(views.images, self.network.normalization)
        maps: PlanarMaps = self.network(images, with_images=False)
        height, width = images.shape[-2:]
        convention = self.network.convention
        truth = maps_of_poses(views.rotations, views.shifts_px, height, width, convention)
        return planar_map_loss(
            maps,
            truth,
            convention,
            alpha=self.alpha,
            grid_weight=self.grid_weight,
            view_weights=views.trust,
        ).total

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features `(B, L, C)` of images `(B, 1, n, n)`, normalised first."""
        return self.network.encode(normalized_views(images[None], self.network.normalization)[0])

    def relative_poses(self, features: torch.Tensor, image_size_px: int) -> RelativePoses:
        """Return the poses that the planar maps of sets have: paper, Eq. 12 and 13.

        A confidence C = 1 + exp(.) becomes 1 - 1 / C.
        """
        side = image_size_px // self.network.config.patch_px
        maps = self.network.decode(features, side, side, with_images=False)
        maps = PlanarMaps(maps.points.float(), maps.confidence.float(), None)
        found = poses_of_maps(maps, self.network.convention)
        return RelativePoses(found.rotations, found.shifts_px, 1.0 - 1.0 / found.confidence)


def _sizes(values: Mapping[str, Any]) -> CryoFastARConfig:
    return CryoFastARConfig.from_dict(values)


def _refuse_clean_stacks(normalization: ViewNormalization, path: str) -> None:
    if normalization is ViewNormalization.STACK_RANGE:
        raise OptionError(
            f"{path} wants views normalised before CTF and noise, which real particles cannot be; "
            "begin with other weights"
        )


def _learned_from(path: str) -> list[tuple[str, int]]:
    """Return target and half of the entries that weights learned from, now or before."""
    found = []
    facts: Mapping[str, Any] | None = (
        facts_of_weights(path) if Path(path).suffix == ".safetensors" else None
    )
    while facts:
        entry = facts.get("inputs", {}).get("entry")
        if entry:
            found.append((str(entry["target"]), int(entry["halfset"])))
        facts = facts.get("began_with")
    return found
