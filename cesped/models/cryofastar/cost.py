"""What a network costs: products of matrices, counted from its sizes."""

from .config import CryoFastARConfig

_POINT_CHANNELS = 4  # three coordinates and the confidence


def forward_flops(
    config: CryoFastARConfig, image_px: int, views: int, *, with_images: bool = False
) -> int:
    """Return the operations of one pass over one set of views; a multiplication and an addition
    are two.

    Linear layers, convolutions and attention are counted, as torch's `FlopCounterMode` does; all
    else is below one per cent of them. Going back costs twice as much.

    Parameters
    ----------
    config : sizes of the network
    image_px : side of a square image
    views : of the set
    with_images : whether the heads make images

    Examples
    --------
    >>> round(forward_flops(CryoFastARConfig(), 128, 128) / 1e12, 2)
    6.95
    """
    tokens = (image_px // config.patch_px) ** 2
    wide, narrow, targets = config.encoder_width, config.decoder_width, views - 1
    patch = 2 * tokens * config.patch_px**2 * wide
    encoder = patch + config.encoder_depth * _block(tokens, wide, config.mlp_ratio)
    own = _block(tokens, narrow, config.mlp_ratio)
    ask = 4 * tokens * narrow**2  # queries of a view, and the layer after its attention
    remember = 4 * tokens * narrow**2  # keys and values of a view
    look = 4 * tokens**2 * narrow  # a view at another
    pair = views * (own + ask) + targets * (remember + 2 * look) + remember
    to_decoder = 2 * tokens * wide * narrow
    neck, pixels = config.neck_width, config.patch_px**2
    channels = _POINT_CHANNELS + with_images
    head = 2 * tokens * (narrow * neck + 9 * neck**2 + neck * channels * pixels)
    return views * (encoder + to_decoder + head) + config.decoder_depth * pair


def _block(tokens: int, width: int, mlp_ratio: int) -> int:
    """Self-attention and perceptron of one view."""
    return (8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width
