"""A second device without hardware: tensors that say they are elsewhere, and keep numbers here.

Code for GPUs that is run on such tensors takes the way that it takes on a GPU. As there, tensors of
the two places do not mix (numbers and tensors without axes excepted), and numpy cannot look at one.
What differs from a GPU is how rounding goes.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

#: torch's device without memory; it stands for the second one as long as `second_device` is on.
ELSEWHERE = torch.device("meta")
_HERE = torch.device("cpu")
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class FarTensor(torch.Tensor):
    """A tensor of the second device; `.kept` has its numbers."""

    @staticmethod
    def __new__(cls, kept):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            kept.size(),
            strides=kept.stride(),
            storage_offset=kept.storage_offset(),
            dtype=kept.dtype,
            device=ELSEWHERE,
        )

    def __init__(self, kept):
        self.kept = kept

    def __repr__(self):
        return f"FarTensor({self.kept!r})"

    def __tolist__(self):
        return self.kept.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class second_device(TorchDispatchMode):
    """Make what is created on `ELSEWHERE` a `FarTensor`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    device = kwargs.get("device")
    is_far = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    far = [tensor for tensor in is_far if isinstance(tensor, FarTensor)]
    near = [tensor for tensor in is_far if not isinstance(tensor, FarTensor) and tensor.dim() > 0]
    if far and near and func not in _COPIES and not _indexes_with(func, args, near):
        raise RuntimeError(f"{func} was given tensors of two devices")
    to_far = device.type == ELSEWHERE.type if device is not None else bool(far)
    if func is torch.ops.aten.copy_.default:
        to_far = isinstance(args[0], FarTensor)
    if device is not None:
        kwargs = {**kwargs, "device": _HERE}
    plain_args, plain_kwargs = tree_map(_kept, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    if not to_far:
        return result
    known = {id(_kept(tensor)): tensor for tensor in far}  # in place: the same tensor comes back
    return tree_map(lambda value: _far(value, known), result)


def _indexes_with(func, args, near):
    """Whether the tensors that are here are indices alone: torch takes these to the device."""
    if func not in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
        return False
    indices = {id(index) for index in args[1] if index is not None}
    return all(id(tensor) in indices for tensor in near)


def _kept(value):
    return value.kept if isinstance(value, FarTensor) else value


def _far(value, known):
    if not isinstance(value, torch.Tensor):
        return value
    if id(value) in known:
        return known[id(value)]
    # the mark of a conjugate that was put off would not reach what is wrapped around it
    return FarTensor(value.resolve_conj())


def there(tensor):
    """Return a copy of a tensor on the second device."""
    return FarTensor(tensor.clone())


def back(tensor):
    """Return the numbers of a tensor of the second device.

    Raises
    ------
    AssertionError
        If it is not there.
    """
    assert isinstance(tensor, FarTensor), "the result is not on the device of what was given"
    return tensor.kept
