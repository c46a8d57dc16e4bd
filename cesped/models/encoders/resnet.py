"""Residual networks (He et al., 2016) with torchvision's parameter names, so its weights load.

torchvision itself is no dependency: its CPU wheel does not import beside every torch.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ...errors import CheckpointError, OptionError

#: Blocks in each of the four stages, and whether they are bottlenecks.
_DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}

#: ImageNet weights as torchvision publishes them; the name holds the start of the SHA-256.
_IMAGENET_URLS = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
}

RESNET_NAMES = tuple(_DEPTHS)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(B, width, h / stride, w / stride)` features of `(B, inputs, h, w)`."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(y.add_(shortcut), inplace=True)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1 ones, the stride in the middle, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(B, 4 width, h / stride, w / stride)` features of `(B, inputs, h, w)`."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(y.add_(shortcut), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A residual network without its classifier.

    Parameters
    ----------
    name : one of `RESNET_NAMES`
    channels : of the images

    Raises
    ------
    OptionError
        If the name is none of them.

    Notes
    -----
    Images and weights lie in memory with their channels together: a step of resnet50 takes 8 %
    less time on a processor so, and tensor cores want it.
    """

    def __init__(self, name: str, channels: int = 3) -> None:
        super().__init__()
        if name not in _DEPTHS:
            raise OptionError(f"encoder {name!r}: use one of {', '.join(RESNET_NAMES)}")
        counts, bottleneck = _DEPTHS[name]
        block: Callable[[int, int, int], nn.Module] = Bottleneck if bottleneck else BasicBlock
        expansion = Bottleneck.expansion if bottleneck else BasicBlock.expansion
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = 64
        for stage, count in enumerate(counts):
            width, stride = 64 << stage, 1 if stage == 0 else 2
            blocks = [block(inputs, width, stride)]
            inputs = width * expansion
            blocks += [block(inputs, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.features = inputs
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(B, features, n / 32, n / 32)` maps of `(B, channels, n, n)` images.

        Pixel `j` of the map looks at the image around pixel `32 j`: the middle `n // 2` of the
        image is the middle `h // 2` of the map.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x


def load_encoder_weights(encoder: ResNet, name: str, weights: str) -> None:
    """Load weights with torchvision's names into `encoder`; a classifier in them is left out.

    For an encoder of other than three channels the filters of the first layer are averaged over
    their colours, and scaled so that equal channels give what they gave.

    Parameters
    ----------
    encoder : the network, changed in place
    name : its name
    weights : path of a state dictionary, or `imagenet` to download torchvision's published one
        into torch's cache, its checksum verified

    Raises
    ------
    CheckpointError
        If the file cannot be had or read, or holds other parameters.
    """
    if weights == "imagenet":
        state = _imagenet_state(_IMAGENET_URLS[name])
    else:
        try:
            state = torch.load(Path(weights).expanduser(), map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen types here; all mean the same
            raise CheckpointError(
                f"encoder weights {weights} cannot be read ({error}); give a state dictionary "
                "saved by torch.save, or `imagenet`"
            ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise CheckpointError(
            f"encoder weights {weights} are no state dictionary, names with tensors; save "
            "`network.state_dict()`"
        )
    state = {str(key): value for key, value in state.items() if not str(key).startswith("fc.")}
    first, channels = state.get("conv1.weight"), encoder.conv1.in_channels
    if first is not None and first.dim() == 4 and first.shape[1] == 3 != channels:
        mean = first.mean(dim=1, keepdim=True) * (3 / channels)
        state["conv1.weight"] = mean.expand(-1, channels, -1, -1)
    _check_fits(state, encoder, f"encoder weights {weights} are not those of {name}")
    encoder.load_state_dict(state)


def _check_fits(state: Mapping[str, torch.Tensor], encoder: ResNet, what_is_wrong: str) -> None:
    """Raise unless `state` holds what `encoder` does; torch itself would name every parameter."""
    wanted = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    faults = {
        "missing": [key for key in wanted if key not in found],
        "unknown": [key for key in found if key not in wanted],
        "of another shape": [key for key in wanted if found.get(key, wanted[key]) != wanted[key]],
    }
    told = [f"{len(keys)} are {fault} ({keys[0]})" for fault, keys in faults.items() if keys]
    if told:
        raise CheckpointError(
            f"{what_is_wrong}: of its {len(wanted)} parameters {', '.join(told)}; give the file "
            "of the network that model.encoder names"
        )


def _imagenet_state(url: str) -> dict[str, torch.Tensor]:
    """Return the state dictionary at `url`, from torch's cache if it was fetched before."""
    try:
        state: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:  # no network, no disk; a wrong checksum
        raise CheckpointError(
            f"the ImageNet weights {url} cannot be had ({error}); fetch that file elsewhere and "
            "give its path as model.weights, or start from random weights: model.weights null"
        ) from error
    return state
