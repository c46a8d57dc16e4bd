"""Image2Sphere: an image in, a distribution over SO(3) out (Klee et al., ICLR 2023)."""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast

import torch
from torch import nn

from ...errors import OptionError
from ...geometry.euler import rotation_to_euler
from ...geometry.grids import So3Grid
from ...geometry.healpix import pixel_directions
from ...geometry.symmetry import point_group
from ...physics.resampling import resize_band_limited
from ...vocabulary import Decoding
from ..encoders.smoothing import SIGMAS_PX, SmoothedChannels
from ..losses import confidence_weighted
from ..prediction import PosePrediction
from ..registry import ScaledPoseModel, register_model
from .activation import So3Activation
from .calibration import fitted_temperature
from .convolutions import So3Convolution, SphereConvolution, near_identity_deg
from .distribution import PoseDistribution, PoseSpace
from .grid_logits import GridLogits
from .grid_nodes import GridNodes
from .harmonics import group_means, so3_slices
from .labels import nearest_nodes
from .options import build_encoder, check_options
from .presets import PRESETS
from .projector import SphereProjector
from .series import RotationSeries, label_factors, turned_about_z
from .shift_head import ShiftHead
from .turns import turned_images


@register_model("image2sphere")
class Image2Sphere(ScaledPoseModel):
    """Feature map, sphere, spherical convolution, SO(3) convolution, logits over a grid.

    Parameters
    ----------
    symmetry : point group; the logits are averaged over it, so that equal poses have equal ones
    encoder : `compact`, or one of the residual networks of `encoders.resnet`
    widths, blocks : of the compact encoder
    weights : of a residual network: `imagenet`, a path, or None for random ones
    input_px : images of another size are resampled to it first; None takes them as they come
    image_channels : images `(B, C, n, n)` of each particle: 2 where its raw image comes beside the
        one whose CTF was corrected; the first is the one that shifts are looked for in
    sigmas_px : of the Gaussians that make further input channels [px]
    l_max : highest degree of the harmonics
    sphere_features, so3_features : signals on the sphere and on SO(3)
    projector_order, filter_order, grid_order : HEALPix orders of the points that sample the
        feature map, of the filters on the sphere, and of the grid of rotations
    sampled_share : share of the projector's points used for one batch in training
    rectify_points : max(0, f) at these points
    label_width_deg : 0 labels the nearest node (the paper); else labels fall off with this
        standard deviation [degrees]
    label_smoothing : share of each label that is spread evenly
    decoding : how a rotation is read off the distribution: `argmax`, `neighbours` or `mean`
    decoding_radius_deg : neighbourhood averaged around the chosen node; None: 1.5 grid steps
    test_time_turns : a prediction is made of so many copies of the image, turned evenly
    shift_head : predict in-plane shifts too, and learn them
    max_shift_share : the largest shift looked for, as a share of the image's side
    shift_weight : of the shifts in the loss
    pixel_size_angst : of the images [Angstrom]; shifts need it, training sets it

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
        input_px: int | None = None,
        image_channels: int = 1,
        sigmas_px: Sequence[float] = SIGMAS_PX,
        l_max: int = 6,
        sphere_features: int = 128,
        so3_features: int = 16,
        projector_order: int = 3,
        filter_order: int = 3,
        grid_order: int = 3,
        sampled_share: float = 0.5,
        rectify_points: bool = False,
        label_width_deg: float = 0.0,
        label_smoothing: float = 0.0,
        decoding: str = "mean",
        decoding_radius_deg: float | None = None,
        test_time_turns: int = 1,
        shift_head: bool = False,
        max_shift_share: float = 0.1,
        shift_weight: float = 1.0,
        pixel_size_angst: float | None = None,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "symmetry", "__class__")}
        # weights live in the checkpoint; rebuilding a model must not look for them again
        given |= {"weights": None, "sigmas_px": list(sigmas_px)}
        super().__init__(symmetry, **given)
        check_options(given)
        self.group = point_group(symmetry)
        self.grid = So3Grid(grid_order)
        self.input_px = input_px
        self.label_width_deg = label_width_deg
        self.label_smoothing = label_smoothing
        self.decoding = Decoding.parse(decoding)
        self.decoding_radius_deg = decoding_radius_deg
        self.test_time_turns = test_time_turns
        self.shift_weight = shift_weight
        self.learns_shifts = shift_head
        self.channels = SmoothedChannels(sigmas_px, image_channels)
        self.encoder = build_encoder(encoder, self.channels.n_channels, widths, blocks, weights)
        self.reduce = nn.Conv2d(self.encoder.features, sphere_features, 1)
        self.project = SphereProjector(
            l_max, projector_order, sampled_share, rectify=rectify_points
        )
        self.sphere_convolution = SphereConvolution(
            sphere_features, so3_features, l_max, pixel_directions(filter_order)
        )
        self.activation = So3Activation(l_max)
        self.so3_convolution = So3Convolution(so3_features, 1, l_max, near_identity_deg())
        self.shifts = ShiftHead(so3_features, l_max, max_shift_share) if shift_head else None
        self._add_tables(l_max)

    def harmonics(self, images: torch.Tensor) -> torch.Tensor:
        """Return the coefficients `(coefficients, B)` of the logits of `(B, C, n, n)` images."""
        return self._of_signals(self._signals(self._resized(images)))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `(B, N)` of all nodes of the grid for `(B, C, n, n)` images."""
        logits: torch.Tensor = self.logits_at_nodes(self.harmonics(images))
        return logits.flatten(1)

    def loss(
        self,
        images: torch.Tensor,
        rotations: torch.Tensor,
        confidence: torch.Tensor,
        shifts_angst: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the confidence-weighted cross-entropy (paper, Eq. 11).

        With a shift head and `shifts_angst`, `(B, 2)` true origins [Angstrom], that of the shifts
        is added.
        """
        field_angst = self._field_angst(images)
        images = self._resized(images)
        signals = self._signals(images)
        with _in_single_precision(images):
            losses = self._rotation_losses(self._of_signals(signals), rotations)
            if self.shifts is not None and shifts_angst is not None:
                logits = self.shifts.correlation(signals, images)
                wanted = shifts_angst.float() / field_angst
                losses = losses + self.shift_weight * self.shifts.loss(logits, wanted)
            return confidence_weighted(losses, confidence)

    @torch.no_grad()
    def predict(self, images: torch.Tensor, distribution: bool = False) -> PosePrediction:
        """Return rotation and confidence of each image; deterministic in evaluation mode.

        Parameters
        ----------
        images : `(B, C, n, n)`
        distribution : whether the prediction is to hold the distributions as well
        """
        field_angst = self._field_angst(images)
        images = self._resized(images)
        signals = self._signals(images)
        shifts_angst = None
        found = self._distribution(images, signals)
        with _in_single_precision(images):
            rotations, confidence = found.decode(self.decoding)
            if self.shifts is not None:
                share = self.shifts.expectation(self.shifts.correlation(signals, images))
                shifts_angst = share * field_angst
        return PosePrediction(rotations, confidence, shifts_angst, found if distribution else None)

    @torch.no_grad()
    def distribution(self, images: torch.Tensor) -> PoseDistribution:
        """Return the distributions over rotations of `(B, C, n, n)` images."""
        images = self._resized(images)
        return self._distribution(images, self._signals(images))

    @torch.no_grad()
    def calibrate(
        self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], max_images: int = 1024
    ) -> float:
        """Fit the temperature that makes confidences come true, and return it.

        Where a probability is stated logits are divided by it from then on, so that the confidence
        of a prediction is about the probability that the true pose is near. It changes no
        rotation, and is part of the checkpoint.

        Parameters
        ----------
        batches : images `(B, C, n, n)` that the model was not trained on, and their true poses
            `(B, 3, 3)`
        max_images : those after it are left out
        """
        was_training = self.training
        self.eval()
        cast(torch.Tensor, self.temperature).fill_(1.0)
        coefficients, rotations, count = [], [], 0
        for images, poses in batches:
            coefficients.append(self.distribution(images).harmonics)
            rotations.append(poses)
            count += len(images)
            if count >= max_images:
                break
        if count:
            harmonics = torch.cat(coefficients, dim=1)
            found = PoseDistribution(harmonics, self._space(), self.decoding_radius_deg)
            fitted = fitted_temperature(found, torch.cat(rotations), self.decoding)
            cast(torch.Tensor, self.temperature).fill_(fitted)
        self.train(was_training)
        return float(cast(torch.Tensor, self.temperature))

    def _rotation_losses(self, found: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropies `(B,)` of `(coefficients, B)` harmonics with the labels."""
        if self.label_width_deg > 0:
            factors = cast(torch.Tensor, self.label_factors)
            # the logits are the same at equal poses: one of them tells all
            wanted: torch.Tensor = self.series(found, rotations[:, None].to(found), factors)[:, 0]
        else:
            nodes = nearest_nodes(rotations, self.group, self.grid)
            wanted = self.logits_at_nodes.at_nodes(found, nodes).mean(dim=1)
        if self.label_smoothing:
            even = self.logits_at_nodes.mean(found)
            wanted = (1.0 - self.label_smoothing) * wanted + self.label_smoothing * even
        return self.logits_at_nodes.log_normaliser(found) - wanted

    def _distribution(self, images: torch.Tensor, signals: torch.Tensor) -> PoseDistribution:
        total = self._of_signals(signals)
        l_max = int(self.options["l_max"])
        for turn in range(1, self.test_time_turns):
            angle_rad = 2 * math.pi * turn / self.test_time_turns
            found = self._of_signals(self._signals(turned_images(images, angle_rad)))
            total = total + turned_about_z(found, l_max, -angle_rad)
        return PoseDistribution(
            total / max(1, self.test_time_turns),
            self._space(),
            self.decoding_radius_deg,
            float(cast(torch.Tensor, self.temperature)),
        )

    def _space(self) -> PoseSpace:
        return PoseSpace(self.logits_at_nodes, self.nodes, self.series, self.group)

    def _resized(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.input_px is None else resize_band_limited(images, self.input_px)

    def _signals(self, images: torch.Tensor) -> torch.Tensor:
        """Return the rectified signals on SO(3), `(coefficients, B x features)`."""
        features = self.reduce(self.encoder(self.channels(images)))
        with _in_single_precision(images):
            sphere = self.sphere_convolution(self.project(features.float()))
            signals: torch.Tensor = self.activation(sphere)
        return signals

    def _of_signals(self, signals: torch.Tensor) -> torch.Tensor:
        with _in_single_precision(signals):
            return self._symmetrise(self.so3_convolution(signals))

    def _field_angst(self, images: torch.Tensor) -> float:
        """Return the side of the images as they are given [Angstrom], which shifts refer to."""
        if self.shifts is None:
            return 0.0
        if self.pixel_size_angst is None:
            raise OptionError(
                "a model with a shift head needs the pixel size of its images; set "
                "model.pixel_size_angst, as training does"
            )
        return self.pixel_size_angst * images.shape[-1]

    def _add_tables(self, l_max: int) -> None:
        """Add what evaluates, labels and symmetrises functions over rotations."""
        self.logits_at_nodes = GridLogits(l_max, self.grid)
        self.nodes = GridNodes(self.grid, self.group)
        self.series = RotationSeries(l_max)
        self.register_buffer("temperature", torch.ones(()))
        if self.label_width_deg > 0:
            factors = label_factors(self.label_width_deg, l_max)
            self.register_buffer("label_factors", factors, persistent=False)
        means = group_means(l_max, rotation_to_euler(self.group.operators))
        for degree, mean in enumerate(means):
            self.register_buffer(f"group_mean_{degree}", mean.to(torch.float32), persistent=False)

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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # models from before there was a temperature have none
        state_dict.setdefault(f"{prefix}temperature", torch.ones(()))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _in_single_precision(like: torch.Tensor) -> AbstractContextManager[Any]:
    """Switch mixed precision off for a while: harmonics lose too much by it, and gain little."""
    kind = like.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
