"""The network of a model that `cesped train` made, as a file of weights of its own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError

if TYPE_CHECKING:
    from ..models.cryofastar.model import CryoFastAR


def weights_of_checkpoint(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str]
) -> "CryoFastAR":
    """Write the CryoFastAR of a checkpoint as safetensors, and return it.

    The file says from which half of which entry it learned, now and before, so that it is refused
    where it would meet the other half. The anchors stay behind.

    Parameters
    ----------
    checkpoint : `model.ckpt` of `cesped train --model cryofastar`
    out : for `cesped abinitio --weights`, `cesped train-views --weights`, `--model.weights`

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read, or is one of another model.
    DiskFullError, UnwritableError
        If the file cannot be written.
    """
    from ..models.cryofastar.pixel_sizes import PixelSizes
    from ..models.cryofastar.pose_model import CryoFastARPoses
    from ..training.checkpoint import load_checkpoint

    model, card = load_checkpoint(checkpoint)
    if not isinstance(model, CryoFastARPoses):
        raise CheckpointError(
            f"{checkpoint} holds the model {card.model['name']!r}, which has no CryoFastAR in it; "
            "give the model.ckpt of `cesped train --model cryofastar`"
        )
    facts: dict[str, Any] = {}
    for target, halfset in reversed([(card.target, card.halfset), *card.learned_before]):
        entry = {"target": target, "halfset": halfset}
        facts = {"inputs": {"entry": entry}, "began_with": facts or None}
    facts |= {"recipe": card.recipe, "steps": card.steps}
    sizes = [] if card.pixel_size_angst is None else [card.pixel_size_angst]
    facts |= PixelSizes().with_sizes(sizes).as_fact()
    model.network.save(Path(out), facts)
    return model.network
