"""What is done to the blocks of a network before it is trained: less memory, translated code."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from ...models.cryofastar.model import CryoFastAR
from .team import blocks_of


def prepare_blocks(model: CryoFastAR, *, checkpointing: bool, compiled: bool) -> None:
    """Change how blocks compute, not what; names of weights stay as they are.

    Parameters
    ----------
    model : changed in place
    checkpointing : keep only what goes into a block, and compute what is inside again going back
    compiled : translate each block when it is first called
    """
    for block in blocks_of(model):
        if checkpointing:
            _compute_again(block)
        if compiled:
            block.compile()


def _compute_again(block: nn.Module) -> None:
    # stays off where no gradient is asked for; nothing random is inside
    block.forward = partial(
        checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
    )


def freeze_unused(model: CryoFastAR, *, learns_images: bool) -> None:
    """Ask no gradient of the heads' images where the loss does not look at them.

    Processes wait for the gradients of all weights that ask for one.
    """
    for head in (model.reference_head, model.target_head):
        head.image.requires_grad_(learns_images)
