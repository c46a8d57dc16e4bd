"""What is done to the blocks of a network before it is trained: less memory, translated code."""

from collections.abc import Callable
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from ...models.cryofastar.model import CryoFastAR
from .team import blocks_of


def prepare_blocks(model: CryoFastAR, *, checkpointing: bool, compiled: bool) -> None:
    """Change how blocks compute, not what; names of weights stay as they are.

    Parameters
    ----------
    model : changed in place
    checkpointing : keep only what goes into a block, and compute what is inside again going back
    compiled : translate each block when it is first called to learn
    """
    for block in blocks_of(model):
        forward = block.forward
        if compiled:
            forward = _translated(forward)
        if checkpointing:
            # around what is compiled: the compiler passes over what holds a checkpoint. It stays
            # off where no gradient is asked for; nothing random is inside
            forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = forward


def _translated(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return a block's `forward` that is translated where gradients are asked for.

    All blocks of a kind share their translations, of which torch makes eight and then none without
    a word. One for any number of views and sets, and none for the judging between the rounds, stay
    below that.
    """
    fast = torch.compile(forward, dynamic=True)

    def call(*tensors: torch.Tensor) -> torch.Tensor:
        return fast(*tensors) if torch.is_grad_enabled() else forward(*tensors)

    return call


def freeze_unused(model: CryoFastAR, *, learns_images: bool) -> None:
    """Ask no gradient of the heads' images where the loss does not look at them.

    Processes wait for the gradients of all weights that ask for one.
    """
    for head in (model.reference_head, model.target_head):
        head.image.requires_grad_(learns_images)
