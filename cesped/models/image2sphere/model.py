"""Image2Sphere: an image in, a distribution over SO(3) out (Klee et al., ICLR 2023)."""

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import nn

from ...errors import OptionError
from ...geometry.euler import rotation_to_euler
from ...geometry.grids import So3Grid
from ...geometry.healpix import pixel_directions
from ...geometry.symmetry import point_group
from ..encoders.compact import CompactEncoder
from ..encoders.resnet import ResNet, load_encoder_weights
from ..encoders.smoothing import SmoothedChannels
from ..losses import weighted_cross_entropy
from ..prediction import PosePrediction
from ..registry import PoseModel, register_model
from .activation import So3Activation
from .convolutions import So3Convolution, SphereConvolution, near_identity_deg
from .decoding import PoseDecoder
from .grid_logits import GridLogits
from .harmonics import group_means, so3_slices
from .labels import nearest_nodes, spread_labels
from .presets import PRESETS
from .projector import SphereProjector


@register_model("image2sphere")
class Image2Sphere(PoseModel):
    """Feature map, sphere, spherical convolution, SO(3) convolution, logits over a grid.

    Parameters
    ----------
    symmetry : point group; the logits are averaged over it, so that equal poses have equal ones
    encoder : `compact`, or one of the residual networks of `encoders.resnet`
    widths, blocks : of the compact encoder
    weights : of a residual network: `imagenet`, a path, or None for random ones
    l_max : highest degree of the harmonics
    sphere_features, so3_features : signals on the sphere and on SO(3)
    projector_order, filter_order, grid_order : HEALPix orders of the points that sample the
        feature map, of the filters on the sphere, and of the grid of rotations
    sampled_share : share of the projector's points used for one batch in training
    label_width_deg : 0 labels the nearest node (the paper); else labels fall off with this
        standard deviation [degrees]
    label_smoothing : share of each label that is spread evenly
    decoding_radius_deg : neighbourhood averaged around the chosen node; None: 1.5 grid steps

    Raises
    ------
    OptionError, SymmetryError, CheckpointError
        For an unknown encoder or group, or weights that do not load.
    """

    presets: ClassVar = PRESETS

    def __init__(
        self,
        symmetry: str,
        *,
        encoder: str = "resnet50",
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1),
        weights: str | None = None,
        l_max: int = 6,
        sphere_features: int = 128,
        so3_features: int = 16,
        projector_order: int = 3,
        filter_order: int = 3,
        grid_order: int = 3,
        sampled_share: float = 0.5,
        label_width_deg: float = 0.0,
        label_smoothing: float = 0.0,
        decoding_radius_deg: float | None = None,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "symmetry", "__class__")}
        # weights live in the checkpoint; rebuilding a model must not look for them again
        super().__init__(symmetry, **{**given, "weights": None})
        self.group = point_group(symmetry)
        self.grid = So3Grid(grid_order)
        self.label_width_deg = label_width_deg
        self.label_smoothing = label_smoothing
        self.channels = SmoothedChannels()
        self.encoder: CompactEncoder | ResNet
        if encoder == "compact":
            self.encoder = CompactEncoder(self.channels.n_channels, _three(widths), _three(blocks))
        else:
            self.encoder = ResNet(encoder)
            if weights is not None:
                load_encoder_weights(self.encoder, encoder, weights)
        self.reduce = nn.Conv2d(self.encoder.features, sphere_features, 1)
        self.project = SphereProjector(l_max, projector_order, sampled_share)
        self.sphere_convolution = SphereConvolution(
            sphere_features, so3_features, l_max, pixel_directions(filter_order)
        )
        self.activation = So3Activation(l_max)
        self.so3_convolution = So3Convolution(so3_features, 1, l_max, near_identity_deg())
        self.logits_at_nodes = GridLogits(l_max, self.grid)
        self._add_symmetry(l_max)
        nodes = torch.from_numpy(self.grid.rotations()).to(torch.float32)
        self.register_buffer("nodes", nodes, persistent=False)
        radius_deg = decoding_radius_deg or 1.5 * self.grid.inplane_step_deg
        self.decoder = PoseDecoder(nodes, self.group, radius_deg)

    def _add_symmetry(self, l_max: int) -> None:
        means = group_means(l_max, rotation_to_euler(self.group.operators))
        for degree, mean in enumerate(means):
            self.register_buffer(f"group_mean_{degree}", mean.to(torch.float32), persistent=False)

    def harmonics(self, images: torch.Tensor) -> torch.Tensor:
        """Return the coefficients `(coefficients, B)` of the logits of `(B, 1, n, n)` images."""
        features = self.reduce(self.encoder(self.channels(images)))
        signals = self.sphere_convolution(self.project(features))
        return self._symmetrise(self.so3_convolution(self.activation(signals)))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `(B, N)` of all nodes of the grid for `(B, 1, n, n)` images."""
        logits: torch.Tensor = self.logits_at_nodes(self.harmonics(images))
        return logits.flatten(1)

    def loss(
        self, images: torch.Tensor, rotations: torch.Tensor, confidence: torch.Tensor
    ) -> torch.Tensor:
        """Return the confidence-weighted cross-entropy (paper, Eq. 11)."""
        if self.label_width_deg > 0:
            nodes = cast(torch.Tensor, self.nodes)
            target = spread_labels(rotations, self.group, nodes, self.label_width_deg)
        else:
            target = nearest_nodes(rotations, self.group, self.grid)
        return weighted_cross_entropy(self.logits(images), target, confidence, self.label_smoothing)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> PosePrediction:
        """Return rotation and confidence of each image; deterministic in evaluation mode."""
        rotations, confidence = self.decoder(self.logits(images))
        return PosePrediction(rotations, confidence)

    def _symmetrise(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Make the logits equal at R and g R: project the second order on the invariants.

        The signal at R is a sum of F_mn D_nm(R), and D(g R) = D(g) D(R), so averaging over the
        group multiplies F by the mean of D(g) from the right.
        """
        if self.group.order == 1:
            return coefficients
        parts = []
        for degree, part in enumerate(so3_slices(int(self.options["l_max"]))):
            width = 2 * degree + 1
            mean = cast(torch.Tensor, getattr(self, f"group_mean_{degree}"))
            block = coefficients[part].view(width, width, -1)
            parts.append(torch.einsum("mnb,nk->mkb", block, mean).reshape(width * width, -1))
        return torch.cat(parts)


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    if len(values) != 3 or min(values) < 1:
        raise OptionError(f"the compact encoder has three stages; found {list(values)!r}")
    first, second, third = (int(value) for value in values)
    return first, second, third
