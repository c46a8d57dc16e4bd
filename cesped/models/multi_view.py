"""Models that look at several views of a particle at once and know poses only relative to one.

Such a model fits the benchmark by its anchors: particles of the half that it learned from, with
their poses, which it keeps as it keeps its weights. Some of them are the references that all else
is posed relative to; since their poses are known, so is the frame. A model of one's own derives
from `MultiViewModel` and says what sets of views cost and what their relative poses are::

    class Mine(MultiViewModel):
        def set_loss(self, views): ...
        def relative_poses(self, features, image_size_px): ...
"""

from abc import abstractmethod
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ..errors import OptionError
from ..geometry.consensus import best_of_answers
from ..geometry.symmetry import point_group
from .anchors import AnchoredFrames, frames_of_anchors, nearest_to_reference
from .prediction import PosePrediction
from .registry import ScaledPoseModel

#: Answers of several references this near to the chosen one are averaged with it [degrees].
_RADIUS_DEG = 15.0
#: Views that are worked on at once when poses are predicted.
_VIEWS_AT_ONCE = 512
_ANCHOR_BUFFERS = ("anchor_images", "anchor_rotations", "anchor_shifts_px")


class ViewSets(NamedTuple):
    """`S` sets of `N` views of one particle, to learn from; view 0 is the reference of its set.

    Attributes
    ----------
    images : `(S, N, 1, n, n)`
    rotations : `(S, N, 3, 3)` of `x_reference = R @ x_image`, those of view 0 the identity; of a
        symmetric particle each view has that of its poses which is nearest to the reference's
    shifts_px : `(S, N, 2)` displacement x, y of the content [pixel]: the negative of an origin
    trust : `(S, N)` how far each label is to be trusted, 0 to 1
    """

    images: torch.Tensor
    rotations: torch.Tensor
    shifts_px: torch.Tensor
    trust: torch.Tensor


class RelativePoses(NamedTuple):
    """What a model says of such sets.

    Attributes
    ----------
    rotations : `(S, N, 3, 3)` of `x_reference = R @ x_image`
    shifts_px : `(S, N, 2)` displacement x, y of the content [pixel]
    confidence : `(S, N)` from 0 to 1
    """

    rotations: torch.Tensor
    shifts_px: torch.Tensor
    confidence: torch.Tensor


class MultiViewModel(ScaledPoseModel):
    """A pose model of many views; it learns shifts too.

    Parameters
    ----------
    symmetry : point group of the particle
    views : in a set, the reference among them
    first_views : in the first sets of a training; the number doubles in stages of equal length
        until it is `views` (CryoFastAR paper, section 4.2). None: `views` from the beginning
    anchors : particles of the training half that are kept with the weights
    references : how many of the anchors each image is posed relative to; the answers are averaged
    reference_pool : `anchors`: sets are learned relative to the references that predictions will
        be relative to, which is the easier task; `any`: relative to any particle
    pixel_size_angst : of the images [Angstrom]; training sets it
    options : everything else that rebuilds the model

    Raises
    ------
    OptionError
        If numbers contradict each other.
    """

    learns_shifts = True

    def __init__(
        self,
        symmetry: str,
        *,
        views: int = 8,
        first_views: int | None = None,
        anchors: int = 32,
        references: int = 4,
        reference_pool: str = "anchors",
        pixel_size_angst: float | None = None,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"views": views, "first_views": first_views, "anchors": anchors}
        own |= {"references": references, "reference_pool": reference_pool}
        super().__init__(symmetry, **own, pixel_size_angst=pixel_size_angst, **options)
        _check(own)
        self.views, self.first_views = views, first_views
        self.anchors, self.references = anchors, references
        self.reference_pool = reference_pool
        self.group = point_group(symmetry)
        operators = torch.tensor(self.group.operators, dtype=torch.float32)
        self.register_buffer("operators", operators, persistent=False)
        self.register_buffer("anchor_images", torch.empty(0, 1, 0, 0))
        self.register_buffer("anchor_rotations", torch.empty(0, 3, 3))
        self.register_buffer("anchor_shifts_px", torch.empty(0, 2))
        self._frames: AnchoredFrames | None = None

    @abstractmethod
    def set_loss(self, views: ViewSets) -> torch.Tensor:
        """Return the scalar training loss of sets of views."""

    @abstractmethod
    def relative_poses(self, features: torch.Tensor, image_size_px: int) -> RelativePoses:
        """Return poses relative to view 0 of each set.

        Parameters
        ----------
        features : `(S, N, ...)` of what `encode` returned
        image_size_px : side of the images
        """

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return what can be said of each of `(B, 1, n, n)` images alone, `(B, ...)`.

        Every image is encoded once, however many references it is posed relative to. The images
        themselves, if a model has nothing to say.
        """
        return images

    def take_anchors(
        self, images: torch.Tensor, rotations: torch.Tensor, shifts_px: torch.Tensor
    ) -> None:
        """Keep particles with known poses; the first `references` are what others are posed to.

        Parameters
        ----------
        images : `(A, 1, n, n)`, prepared as those that will be predicted
        rotations : `(A, 3, 3)`, `x_volume = R @ x_image`
        shifts_px : `(A, 2)` displacement x, y of the content [pixel]
        """
        for name, value in zip(_ANCHOR_BUFFERS, (images, rotations, shifts_px), strict=True):
            like = cast(torch.Tensor, getattr(self, name))
            setattr(self, name, value.to(like))
        self._frames = None

    def loss(
        self,
        images: torch.Tensor,
        rotations: torch.Tensor,
        confidence: torch.Tensor,
        shifts_angst: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of a batch of images, put together to sets in their order.

        Images that fill no set are joined by the first ones again.
        """
        if shifts_angst is None:
            raise OptionError("a model of many views learns shifts: give shifts_angst")
        shifts_px = -shifts_angst / self._pixel_size()
        anchors = self._anchors_as_references()
        size = self.views_now() - (1 if anchors else 0)
        index = torch.arange(-(-len(images) // size) * size, device=images.device) % len(images)
        parts = [_in_sets(v[index], size) for v in (images, rotations, shifts_px)]
        trust = _in_sets(confidence[index], size)
        if anchors:
            count = len(parts[0])
            which = torch.arange(count, device=images.device)
            if self.training:
                which = torch.randint(len(anchors[0]), (count,)).to(images.device)
            which = which % len(anchors[0])
            parts = [
                torch.cat([anchor[which][:, None].to(part), part], dim=1)
                for anchor, part in zip(anchors, parts, strict=True)
            ]
            trust = torch.cat([torch.ones_like(trust[:, :1]), trust], dim=1)
        sets, poses, shifts = parts
        mates = nearest_to_reference(poses, cast(torch.Tensor, self.operators))
        relative = mates[:, :1].transpose(-1, -2) @ mates
        return self.set_loss(ViewSets(sets, relative, shifts, trust))

    def views_now(self) -> int:
        """Return the views of a set at this point of the training; see `first_views`."""
        if self.first_views is None or not self.training:
            return self.views
        stages = [self.first_views]
        while stages[-1] < self.views:
            stages.append(min(2 * stages[-1], self.views))
        return stages[min(int(self.progress * len(stages)), len(stages) - 1)]

    def _anchors_as_references(self) -> list[torch.Tensor]:
        if self.reference_pool != "anchors" or not len(cast(torch.Tensor, self.anchor_images)):
            return []
        return [cast(torch.Tensor, getattr(self, n))[: self.references] for n in _ANCHOR_BUFFERS]

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> PosePrediction:
        """Return the poses of images in the frame of the anchors.

        Each image is posed relative to every reference, in sets of `views`, the last filled up
        with the first images. The answers nearest to each other are averaged; confidence is that
        of these, over the number of references.

        Raises
        ------
        OptionError
            If the model has no anchors: it was not trained.
        """
        frames = self._anchored_frames()
        features = self.encode(images)
        size = min(self.views - 1, len(images))
        rotations, shifts, confidence = [], [], []
        for number, frame in enumerate(frames.rotations):
            found = self._relative_to(frames.features[number], features, size, images.shape[-1])
            rotations.append(frame @ frames.of_hand(found.rotations.double().cpu().numpy()))
            shifts.append(found.shifts_px)
            confidence.append(found.confidence)
        sure = torch.stack(confidence, dim=1).double().cpu().numpy()
        answers = np.stack(rotations, axis=1)
        mean, near = best_of_answers(answers, sure, self.group, _RADIUS_DEG)
        weights = torch.from_numpy(near)
        share = (weights / weights.sum(dim=1, keepdim=True)).to(shifts[0])
        shift = (share[..., None] * torch.stack(shifts, dim=1)).sum(dim=1)
        agreed = (weights.sum(dim=1) / len(frames.rotations)).clamp(0.0, 1.0)
        return PosePrediction(
            torch.from_numpy(mean).to(images),
            agreed.to(images),
            -self._pixel_size() * shift.to(images),
        )

    def _relative_to(
        self, reference: torch.Tensor, features: torch.Tensor, size: int, image_size_px: int
    ) -> RelativePoses:
        """Return the poses `(B, ...)` of images relative to one reference, `size` in a set."""
        count = len(features)
        index = torch.arange(-(-count // size) * size, device=features.device) % count
        groups = index.view(-1, size)
        parts = []
        for some in torch.split(groups, max(1, _VIEWS_AT_ONCE // (size + 1))):
            first = reference.expand(len(some), 1, *reference.shape)
            views = torch.cat([first, features[some]], dim=1)
            parts.append(self.relative_poses(views, image_size_px))
        joined = [torch.cat([part[i] for part in parts])[:, 1:] for i in range(3)]
        return RelativePoses(*(values.flatten(0, 1)[:count].float() for values in joined))

    def _anchored_frames(self) -> AnchoredFrames:
        """Return the frames of the references; found anew whenever weights may have changed."""
        images = cast(torch.Tensor, self.anchor_images)
        if not len(images):
            raise OptionError(
                "this model has no anchors, particles of known pose that others are posed relative "
                "to; train it, or give them to take_anchors"
            )
        if self._frames is not None and not self.training:
            return self._frames
        features = self.encode(images)
        count = min(self.references, len(images))
        found = []
        for number in range(count):
            size = min(self.views - 1, len(images))
            found.append(self._relative_to(features[number], features, size, images.shape[-1]))
        frames = frames_of_anchors(
            cast(torch.Tensor, self.anchor_rotations).double().cpu().numpy(),
            np.stack([each.rotations.double().cpu().numpy() for each in found]),
            np.stack([each.confidence.double().cpu().numpy() for each in found]),
            self.group,
            features[:count],
        )
        self._frames = frames
        return frames

    def _pixel_size(self) -> float:
        if self.pixel_size_angst is None:
            raise OptionError(
                "a model of many views needs the pixel size of its images; set "
                "model.pixel_size_angst, as training does"
            )
        return self.pixel_size_angst

    def train(self, mode: bool = True) -> "MultiViewModel":
        """Go to training or evaluation; frames that weights gave before are forgotten."""
        self._frames = None
        super().train(mode)
        return self

    def _apply(self, *args: Any, **options: Any) -> Any:
        self._frames = None
        return super()._apply(*args, **options)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self._frames = None
        for name in _ANCHOR_BUFFERS:  # as many, and as large, as those that were kept
            if f"{prefix}{name}" in state_dict:
                setattr(self, name, torch.empty_like(state_dict[f"{prefix}{name}"]))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _in_sets(values: torch.Tensor, size: int) -> torch.Tensor:
    return values.reshape(-1, size, *values.shape[1:])


def _check(numbers: dict[str, Any]) -> None:
    least = {"views": 2, "anchors": 1, "references": 1}
    for name, low in least.items():
        if not isinstance(numbers[name], int) or numbers[name] < low:
            raise OptionError(f"{name} is {numbers[name]!r}; it must be {low} or more")
    if numbers["references"] > numbers["anchors"]:
        raise OptionError(
            f"references is {numbers['references']}, of {numbers['anchors']} anchors; give no more"
        )
    first = numbers["first_views"]
    if first is not None and not 2 <= first <= numbers["views"]:
        raise OptionError(f"first_views is {first}; use 2 up to views, {numbers['views']}")
    if numbers["reference_pool"] not in ("anchors", "any"):
        raise OptionError(
            f"reference_pool is {numbers['reference_pool']!r}; use 'anchors' or 'any'"
        )
