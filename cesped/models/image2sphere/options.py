"""Which options of Image2Sphere mean something, and the encoder that they name."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import OptionError
from ..encoders.compact import CompactEncoder
from ..encoders.resnet import ResNet, load_encoder_weights

#: Of the spherical harmonics that e3nn computes.
_LARGEST_DEGREE = 12


def build_encoder(
    name: str,
    channels: int,
    widths: Sequence[int],
    blocks: Sequence[int],
    weights: str | None,
) -> CompactEncoder | ResNet:
    """Return the encoder of a name, with weights if asked for.

    Raises
    ------
    OptionError, CheckpointError
        If there is no such encoder, its stages are not three, or the weights do not load or are
        for another encoder.
    """
    if name == "compact":
        if weights is not None:
            raise OptionError(
                f"model.weights is {weights}, but the compact encoder has no published weights; "
                "set model.weights null, or a residual network as model.encoder"
            )
        return CompactEncoder(channels, _three(widths), _three(blocks))
    encoder = ResNet(name, channels)
    if weights is not None:
        load_encoder_weights(encoder, name, weights)
    return encoder


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what would train, but mean nothing.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """
    lowest = {
        "image_channels": 1, "label_width_deg": 0, "label_smoothing": 0, "test_time_turns": 1,
        "shift_weight": 0, "sphere_features": 1, "so3_features": 1,
    }  # fmt: skip
    wrong = [name for name, bound in lowest.items() if not options[name] >= bound]
    wrong += [name for name in ("label_smoothing",) if not options[name] < 1]
    wrong += [name for name in ("max_shift_share",) if not 0 < options[name] <= 0.5]
    wrong += [name for name in ("sampled_share",) if not 0 < options[name] <= 1]
    wrong += [name for name in ("l_max",) if not 0 <= options[name] <= _LARGEST_DEGREE]
    wrong += [name for name in ("input_px",) if options[name] is not None and options[name] < 8]
    if wrong:
        found = ", ".join(f"{name}={options[name]!r}" for name in wrong)
        raise OptionError(
            f"image2sphere: {found} is out of range; shares lie between 0 and 1 (max_shift_share "
            "up to 0.5), widths and weights are not negative, features, turns and channels at "
            f"least 1, l_max 0 to {_LARGEST_DEGREE}, and input_px at least 8"
        )


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    if len(values) != 3 or min(values) < 1:
        raise OptionError(f"the compact encoder has three stages; found {list(values)!r}")
    first, second, third = (int(value) for value in values)
    return first, second, third
