"""Features of all particles, each encoded once and kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ...errors import GeometryError, OptionError
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.views import normalized_views
from ...progress import SILENT, Progress
from ...vocabulary import ViewNormalization

#: Images whose grey values are normalised together, where the weights want that: a group's.
_STACK = 128


def normalized_stacks(images: torch.Tensor, kind: ViewNormalization) -> torch.Tensor:
    """Return `(P, 1, H, W)` images normalised, where they count together in stacks of 128.

    Raises
    ------
    ImageValueError
        If an image has no contrast, or values that are not finite.
    """
    stacks = torch.split(images, _STACK)
    return torch.cat([normalized_views(stack[None], kind)[0] for stack in stacks])


@dataclass(frozen=True)
class ViewFeatures:
    """What the encoder says about `P` particles.

    Parameters
    ----------
    features : `(P, L, C)`, in the type and on the device that the encoder left them
    rows, columns : the grid of patches; L is their product
    """

    features: torch.Tensor
    rows: int
    columns: int

    def __len__(self) -> int:
        return int(self.features.shape[0])


@torch.inference_mode()
def encode_views(
    model: CryoFastAR,
    batches: Iterable[torch.Tensor],
    device: torch.device | str = "cpu",
    keep_on: torch.device | str | None = None,
    total: int | None = None,
    progress: Progress = SILENT,
) -> ViewFeatures:
    """Normalise and encode images; none is encoded a second time afterwards.

    Parameters
    ----------
    model : in evaluation mode, on `device`
    batches : images `(B, 1, H, W)` of one particle's views, all of one size
    device : where the encoder is
    keep_on : where features are kept, None: on `device`. 50,000 particles of 128 px are 6.6 GB in
        bfloat16 with the `large` network
    total : number of images, for the progress
    progress : told of every image

    Raises
    ------
    OptionError
        If there are no images.
    GeometryError
        If images differ in size, or do not fit the patches.
    ImageValueError
        If an image has no contrast, or values that are not finite.

    Notes
    -----
    Weights that want views normalised together get them so in batches of 128 consecutive images,
    as large as the groups they are decoded in.
    """
    parts: list[torch.Tensor] = []
    size: tuple[int, ...] | None = None
    with progress.task("encoding particles", total) as advance:
        for batch in batches:
            if size is None:
                size = tuple(batch.shape[1:])
            if tuple(batch.shape[1:]) != size:
                raise GeometryError(
                    f"an image of {tuple(batch.shape[1:])} follows images of {size}; bring all to "
                    "one size first"
                )
            for stack in torch.split(batch, _STACK):
                views = normalized_stacks(stack.to(device), model.normalization)
                features = model.encode(views)
                parts.append(features if keep_on is None else features.to(keep_on))
                advance(len(stack))
    if not parts or size is None:
        raise OptionError("there are no particles to find poses of")
    rows, columns = model.grid_of(torch.empty(1, *size, device="meta"))
    return ViewFeatures(torch.cat(parts), rows, columns)
