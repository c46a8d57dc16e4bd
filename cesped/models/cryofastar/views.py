"""Grey values of views as CryoFastAR's networks want them."""

import torch

from ...errors import ImageValueError
from ...vocabulary import ViewNormalization


def normalized_views(images: torch.Tensor, kind: ViewNormalization) -> torch.Tensor:
    """Return `(..., N, 1, H, W)` views with their grey values normalised.

    Parameters
    ----------
    images : the views of each sample
    kind : of each image for itself, or of the views of a sample together, as the released weights
        want it; there an image's values depend on the other views

    Raises
    ------
    ImageValueError
        If there is no contrast, or a value is not finite.

    Notes
    -----
    The released program divides by the deviation of the views and then by their maximum, so that
    the deviation drops out. `stack-range` was applied to clean images, before CTF and noise: it
    suits images that were simulated so, and no others.
    """
    kind = ViewNormalization.parse(kind)
    if kind is ViewNormalization.IMAGE:
        dims, low = (-2, -1), images.mean(dim=(-2, -1), keepdim=True)
        scale = images.std(dim=dims, keepdim=True, correction=0)
    else:
        dims4 = (-4, -3, -2, -1)
        if kind is ViewNormalization.STACK_MAXIMUM:
            low = images.mean(dim=dims4, keepdim=True)
        else:
            low = images.amin(dim=dims4, keepdim=True)
        scale = images.amax(dim=dims4, keepdim=True) - low
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ImageValueError(
            "views for CryoFastAR hold an image without contrast, or values that are not finite; "
            "leave such images out"
        )
    return (images - low) / scale
