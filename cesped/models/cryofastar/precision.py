"""Where autocast must not lower the precision."""

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context in which work on the device of `tensor` keeps the types of its inputs."""
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
