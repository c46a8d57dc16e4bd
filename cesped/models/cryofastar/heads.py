"""From tokens of a view to its Fourier planar map, confidence and image."""

import torch
from torch import nn
from torch.nn import functional

from .blocks import layer_norm
from .precision import without_autocast

#: Values of a pixel from the first linear layer: three coordinates, a logit of confidence.
_POINT_CHANNELS = 4


class PlanarMapHead(nn.Module):
    """Two convolutions over the grid of tokens, then a linear map of each token to its pixels.

    The last layers begin with zeros: all points at the origin, all confidences 2.

    Parameters
    ----------
    width, neck_width : channels of the tokens and of the convolutions
    patch_px : side of the square of pixels that a token stands for
    """

    def __init__(self, width: int, neck_width: int, patch_px: int) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.reduce = nn.Linear(width, neck_width, bias=False)  # a convolution of one token
        self.norm_reduce = layer_norm(neck_width)
        self.mix = nn.Conv2d(neck_width, neck_width, 3, padding=1, bias=False)
        self.norm_mix = layer_norm(neck_width)
        self.points = nn.Linear(neck_width, _POINT_CHANNELS * patch_px**2)
        self.image = nn.Linear(neck_width, patch_px**2)

    def forward(
        self, tokens: torch.Tensor, rows: int, columns: int, with_image: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return points, confidence and image of each view.

        Parameters
        ----------
        tokens : `(S, rows * columns, C)`, of any floating type
        rows, columns : the grid of tokens
        with_image : without it the image is None, and not computed

        Returns
        -------
        points `(S, H, W, 3)`, confidence `(S, H, W)` = 1 + exp(logit), image `(S, 1, H, W)`,
        in the type of the head's weights, whatever autocast says: coordinates need their digits
        """
        with without_autocast(tokens):
            mixed = self.norm_reduce(self.reduce(tokens.to(self.points.weight.dtype)))
            grid = mixed.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
            mixed = self.norm_mix(self.mix(grid).permute(0, 2, 3, 1))  # (S, rows, columns, C)
            values = self._pixels(self.points(mixed))
            confidence = 1.0 + torch.exp(values[..., 3])
            image = self._pixels(self.image(mixed)).permute(0, 3, 1, 2) if with_image else None
            return values[..., :3], confidence, image

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        """Return `(S, H, W, channels)` for `(S, rows, columns, channels * patch**2)`."""
        shuffled = functional.pixel_shuffle(values.permute(0, 3, 1, 2), self.patch_px)
        return shuffled.permute(0, 2, 3, 1)
