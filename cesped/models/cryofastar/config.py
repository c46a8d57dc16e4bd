"""What determines the shapes of a CryoFastAR network, and its named sizes."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ...errors import OptionError


@dataclass(frozen=True)
class CryoFastARConfig:
    """Sizes of a network; the defaults are those of the paper (ViT-Large, 533 M parameters).

    Parameters
    ----------
    patch_px : side of a square patch [pixel]; image sides are multiples of it
    encoder_width, encoder_depth, encoder_heads : channels, blocks and attention heads
    decoder_width, decoder_depth, decoder_heads : the same, of the pairs of decoder blocks
    mlp_ratio : hidden channels of a block's perceptron, in channels of the block
    neck_width : channels of the heads' convolutions
    view_embeddings : rows of the table of view embeddings; views beyond it use it again
    rope_base : ratio between the slowest and the fastest rotation of a position (about)

    Raises
    ------
    OptionError
        If a size is below 1, or a head's width is not a multiple of 4, which rotary positions
        in two dimensions need.
    """

    patch_px: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: int = 4
    neck_width: int = 256
    view_embeddings: int = 128
    rope_base: float = 100.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "rope_base" else (int,)
            is_number = isinstance(value, kinds) and not isinstance(value, bool)
            if not (is_number and 1 <= value < math.inf):
                raise OptionError(
                    f"CryoFastAR: {field.name} is {value!r}; give a whole number above 0"
                )
        for part in ("encoder", "decoder"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if width % heads or (width // heads) % 4:
                raise OptionError(
                    f"CryoFastAR: {width} channels of the {part} in {heads} heads: a head's width "
                    "must be a multiple of 4; choose another number of heads"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that `to_dict` described.

        Raises
        ------
        OptionError
            For a name that is no size of the network.
        """
        known = {field.name for field in fields(cls)}
        foreign = sorted(set(values) - known)
        if foreign:
            raise OptionError(
                f"CryoFastAR has no size {foreign[0]!r}; it has: {', '.join(sorted(known))}"
            )
        return cls(**values)


PRESETS: dict[str, CryoFastARConfig] = {
    "large": CryoFastARConfig(),
    "base": CryoFastARConfig(
        encoder_width=768,
        encoder_depth=12,
        encoder_heads=12,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=8,
    ),
    "small": CryoFastARConfig(
        encoder_width=384,
        encoder_depth=12,
        encoder_heads=6,
        decoder_width=256,
        decoder_depth=6,
        decoder_heads=4,
        neck_width=128,
    ),
    #: for images of 32 px and a processor
    "tiny": CryoFastARConfig(
        patch_px=8,
        encoder_width=128,
        encoder_depth=4,
        encoder_heads=4,
        decoder_width=128,
        decoder_depth=3,
        decoder_heads=4,
        neck_width=64,
    ),
    #: for images of 32 px as four patches: learns about five times as many views a second as `tiny`
    "nano": CryoFastARConfig(
        encoder_width=128,
        encoder_depth=3,
        encoder_heads=4,
        decoder_width=128,
        decoder_depth=2,
        decoder_heads=4,
        neck_width=64,
    ),
}


def preset_config(preset: str | CryoFastARConfig) -> CryoFastARConfig:
    """Return the sizes named `preset`, or `preset` itself if it is a configuration.

    Raises
    ------
    OptionError
        If no preset has that name.
    """
    if isinstance(preset, CryoFastARConfig):
        return preset
    if preset not in PRESETS:
        raise OptionError(f"CryoFastAR has no preset {preset!r}; it has: {', '.join(PRESETS)}")
    return PRESETS[preset]
