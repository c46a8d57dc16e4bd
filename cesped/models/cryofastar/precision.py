"""Where autocast must not lower the precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

#: Asked once: what translates a network cannot look into the question in every version of torch.
_WITH_AUTOCAST = frozenset(
    kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)
)


def without_autocast(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context in which work on the device of `tensor` keeps the types of its inputs."""
    kind = tensor.device.type
    if kind not in _WITH_AUTOCAST:
        return nullcontext()
    return torch.autocast(kind, enabled=False)
