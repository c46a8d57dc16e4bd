"""The network: images of one particle in, Fourier planar maps in the reference's frame out."""

import os
from collections.abc import Mapping
from typing import Self

import torch
from torch import nn

from ...errors import GeometryError
from ...vocabulary import MapConvention, ViewNormalization
from .blocks import DecoderBlock, EncoderBlock, layer_norm
from .config import CryoFastARConfig, preset_config
from .heads import PlanarMapHead
from .planar_maps import PlanarMaps
from .rotary import RotaryTables, rotary_tables


class CryoFastAR(nn.Module):
    """Poses of all views of a particle relative to the first, in one pass (paper, section 4.1).

    Parameters
    ----------
    preset : `large`, `base`, `small`, `tiny`, or a configuration
    convention : what the maps mean; weights are trained for one
    normalization : of the views before they are given to the network; weights want one

    Raises
    ------
    OptionError
        If there is no such preset, convention or normalisation.

    Examples
    --------
    >>> model = CryoFastAR("tiny").eval()
    >>> maps = model(torch.zeros(1, 3, 1, 32, 32))
    >>> tuple(maps.points.shape), tuple(maps.confidence.shape), tuple(maps.images.shape)
    ((1, 3, 32, 32, 3), (1, 3, 32, 32), (1, 3, 1, 32, 32))
    """

    def __init__(
        self,
        preset: str | CryoFastARConfig = "large",
        *,
        convention: MapConvention | str = MapConvention.PAPER,
        normalization: ViewNormalization | str = ViewNormalization.IMAGE,
    ) -> None:
        super().__init__()
        self.config = config = preset_config(preset)
        self.convention = MapConvention.parse(convention)
        self.normalization = ViewNormalization.parse(normalization)
        self.patches = nn.Conv2d(1, config.encoder_width, config.patch_px, config.patch_px)
        self.encoder = nn.ModuleList(
            EncoderBlock(config.encoder_width, config.encoder_heads, config.mlp_ratio)
            for _ in range(config.encoder_depth)
        )
        self.encoder_norm = layer_norm(config.encoder_width)
        self.to_decoder = nn.Linear(config.encoder_width, config.decoder_width)
        self.view_embedding = nn.Parameter(
            torch.empty(config.view_embeddings, config.decoder_width)
        )
        self.integrate, self.update = (
            nn.ModuleList(
                DecoderBlock(config.decoder_width, config.decoder_heads, config.mlp_ratio)
                for _ in range(config.decoder_depth)
            )
            for _ in range(2)
        )
        self.decoder_norm = layer_norm(config.decoder_width)
        self.reference_head, self.target_head = (
            PlanarMapHead(config.decoder_width, config.neck_width, config.patch_px)
            for _ in range(2)
        )
        self._initialise()

    def _initialise(self) -> None:
        if self.view_embedding.is_meta:  # weights come from elsewhere; drawing none takes a second
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.view_embedding)
        for head in (self.reference_head, self.target_head):
            nn.init.zeros_(head.points.weight)
            nn.init.zeros_(head.image.weight)

    @classmethod
    def from_released(
        cls,
        path_or_state_dict: str | os.PathLike[str] | Mapping[str, torch.Tensor],
        encoder_heads: int | None = None,
        decoder_heads: int | None = None,
        normalization: ViewNormalization | str | None = None,
    ) -> Self:
        """Return the network of weights that the paper's authors released, in evaluation mode.

        Parameters
        ----------
        path_or_state_dict : their file, read without running anything in it; or its tensors
        encoder_heads, decoder_heads : their numbers; None: heads of 64 channels
        normalization : None: by the file's name, `stack-range` if it says synthetic, else
            `stack-maximum`

        Raises
        ------
        CheckpointError
            If the file cannot be read, holds code, or weights of another architecture.
        """
        from .released import load_released

        return load_released(cls, path_or_state_dict, encoder_heads, decoder_heads, normalization)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the network that `save` wrote, in evaluation mode.

        Raises
        ------
        CheckpointError
            If the file cannot be read or holds something else.
        """
        from .weights import load_weights

        return load_weights(cls, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Return the network of a file of weights: a safetensors file, else a released one.

        Raises
        ------
        CheckpointError
            If it cannot be read, holds code, or weights of another architecture.
        """
        if os.fspath(path).endswith(".safetensors"):
            return cls.load(path)
        return cls.from_released(path)

    def save(self, path: str | os.PathLike[str], facts: Mapping[str, object] | None = None) -> None:
        """Write weights, sizes and conventions to one safetensors file, whole or not at all.

        Parameters
        ----------
        path : of the file
        facts : JSON values on where the weights come from, kept in it

        Raises
        ------
        DiskFullError, UnwritableError
            If it cannot be written.
        """
        from .weights import save_weights

        save_weights(self, path, facts)

    def trunk_to(self, dtype: torch.dtype) -> Self:
        """Turn encoder and decoder to `dtype`, such as bfloat16; the heads stay as they are."""
        for name, module in self.named_children():
            if not name.endswith("_head"):
                module.to(dtype)
        self.view_embedding.data = self.view_embedding.data.to(dtype)
        return self

    def forward(self, images: torch.Tensor, with_images: bool = True) -> PlanarMaps:
        """Return the maps of `(B, N, 1, H, W)` images; view 0 of each sample is the reference.

        Parameters
        ----------
        images : normalised as `normalization` says; H and W are multiples of the patch
        with_images : without it the maps carry no images, which poses do not need

        Raises
        ------
        GeometryError
            If the shape is another one, or there is one view only.
        """
        if images.ndim != 5:
            raise GeometryError(
                f"CryoFastAR takes images (B, N, 1, H, W); found shape {tuple(images.shape)}"
            )
        rows, columns = self.grid_of(images)
        return self.decode(self.encode(images), rows, columns, with_images)

    def grid_of(self, images: torch.Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of `(..., 1, H, W)` images.

        Raises
        ------
        GeometryError
            If there are several channels, or a side is no multiple of the patch.
        """
        patch = self.config.patch_px
        channels, height, width = images.shape[-3:]
        if channels != 1 or height % patch or width % patch or not height or not width:
            raise GeometryError(
                f"CryoFastAR takes images of 1 channel whose sides are multiples of {patch} px; "
                f"found {channels} channels of {height} x {width} px; resize them first, as "
                "data.image_size of a recipe does"
            )
        return height // patch, width // patch

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features `(..., L, C)` of `(..., 1, H, W)` images, each for itself (Eq. 7).

        They do not depend on other views, so they can be kept and decoded in several groups.

        Raises
        ------
        GeometryError
            If the images do not fit the patches.
        """
        rows, columns = self.grid_of(images)
        leading = images.shape[:-3]
        flat = images.reshape(-1, *images.shape[-3:]).to(self.patches.weight.dtype)
        tokens = self.patches(flat).flatten(2).transpose(1, 2)
        tables = self._tables(rows, columns, self.config.encoder_heads, tokens)
        for block in self.encoder:
            tokens = block(tokens, tables)
        normed: torch.Tensor = self.encoder_norm(tokens)
        return normed.reshape(*leading, *normed.shape[1:])

    def decode(
        self, features: torch.Tensor, rows: int, columns: int, with_images: bool = True
    ) -> PlanarMaps:
        """Return the maps of views whose features `(B, N, L, C)` are known (Eq. 8 and 9).

        Parameters
        ----------
        features : of `encode`; view 0 is the reference
        rows, columns : the grid of patches
        with_images : as in `forward`

        Raises
        ------
        GeometryError
            If there are fewer than two views.
        """
        if features.ndim != 4 or features.shape[1] < 2:
            raise GeometryError(
                "CryoFastAR needs a reference and at least one other view, features "
                f"(B, N, L, C); found shape {tuple(features.shape)}"
            )
        views = torch.arange(features.shape[1], device=features.device)
        index = views % self.config.view_embeddings
        tokens = self.to_decoder(features) + self.view_embedding[index][:, None, :]
        tables = self._tables(rows, columns, self.config.decoder_heads, tokens)
        # in memory as those of later blocks are, for which one translation then does
        reference, targets = tokens[:, :1].contiguous(), tokens[:, 1:].contiguous()
        for integrate, update in zip(self.integrate, self.update, strict=True):
            reference = integrate(reference, targets, tables)
            targets = update(targets, reference, tables)
        return _joined(
            self._maps(self.reference_head, reference, rows, columns, with_images),
            self._maps(self.target_head, targets, rows, columns, with_images),
        )

    def _maps(
        self, head: nn.Module, tokens: torch.Tensor, rows: int, columns: int, with_images: bool
    ) -> PlanarMaps:
        flat = self.decoder_norm(tokens).flatten(0, 1)
        points, confidence, images = head(flat, rows, columns, with_images)
        batch = tokens.shape[:2]
        return PlanarMaps(
            points.reshape(*batch, *points.shape[1:]),
            confidence.reshape(*batch, *confidence.shape[1:]),
            None if images is None else images.reshape(*batch, *images.shape[1:]),
        )

    def _tables(self, rows: int, columns: int, heads: int, tokens: torch.Tensor) -> RotaryTables:
        return rotary_tables(
            rows, columns, tokens.shape[-1] // heads, self.config.rope_base, tokens.device,
            tokens.dtype,
        )  # fmt: skip


def _joined(reference: PlanarMaps, targets: PlanarMaps) -> PlanarMaps:
    images = None
    if reference.images is not None and targets.images is not None:
        images = torch.cat([reference.images, targets.images], dim=1)
    return PlanarMaps(
        torch.cat([reference.points, targets.points], dim=1),
        torch.cat([reference.confidence, targets.confidence], dim=1),
        images,
    )
