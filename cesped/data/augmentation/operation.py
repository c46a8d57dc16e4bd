"""What an augmentation is: two kinds of operation, and the names that recipes know them by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cesped.errors import OptionError
from cesped.geometry.inplane import InPlaneMove


class GeometricOperation(ABC):
    """Moves images in their plane. A class of your own needs `draw` alone."""

    @abstractmethod
    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return `count` random moves.

        Parameters
        ----------
        count : number of images
        size : their pixels; shifts are in these
        generator : source of all that is random; torch's own when None
        """


class GreyOperation(ABC):
    """Changes grey values and leaves the pose as it is. A class of your own needs `apply` alone."""

    @abstractmethod
    def apply(
        self, images: Tensor, noise_deviation: float, generator: torch.Generator | None
    ) -> Tensor:
        """Return changed images; those given stay as they are.

        Parameters
        ----------
        images : `(B, C, n, n)` float tensor, on any device
        noise_deviation : deviation of the background of these images, if they were normalised:
            1, or less where resizing has averaged pixels. Strengths are in units of it.
        generator : source of all that is random; torch's own when None
        """


Operation = GeometricOperation | GreyOperation
OperationClass = TypeVar("OperationClass", bound=type[GeometricOperation] | type[GreyOperation])

_REGISTERED: dict[str, type[GeometricOperation] | type[GreyOperation]] = {}


def register_operation(name: str) -> Callable[[OperationClass], OperationClass]:
    """Return a class decorator that makes an operation known to recipes as `name`.

    Raises
    ------
    OptionError
        If another class has that name, or the class is of neither kind.
    """

    def decorate(cls: OperationClass) -> OperationClass:
        if not issubclass(cls, (GeometricOperation, GreyOperation)):
            raise OptionError(
                f"{cls.__name__} is neither a GeometricOperation nor a GreyOperation; derive it "
                "from one of them"
            )
        known = _REGISTERED.get(name)
        # The same class again is one whose module was loaded anew.
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise OptionError(f"the operation {name!r} is {known.__qualname__} already")
        _REGISTERED[name] = cls
        return cls

    return decorate


def operation_names() -> list[str]:
    """Return the names that a recipe may use."""
    _load_built_in()
    return sorted(_REGISTERED)


def build_operation(name: str, kwargs: dict[str, Any], where: str) -> Operation:
    """Return the operation `name` with its keyword arguments.

    Raises
    ------
    OptionError
        If there is no such operation (the nearest is named), or the arguments do not fit it.
    """
    _load_built_in()
    cls = _REGISTERED.get(name)
    if cls is None:
        nearest = get_close_matches(name, _REGISTERED, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise OptionError(
            f"{where}: there is no operation {name!r}; {hint}operations: "
            f"{', '.join(sorted(_REGISTERED))}"
        )
    try:
        return cls(**kwargs)
    except TypeError as error:
        raise OptionError(f"{where}: {name} cannot be made with {kwargs}: {error}") from error
    except OptionError as error:
        raise OptionError(f"{where}: {name}: {error}") from error


def at_least_zero(name: str, value: float) -> float:
    """Return `value` as a float.

    Raises
    ------
    OptionError
        If it is no number, not finite, or negative.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < np.inf:
        return float(value)
    raise OptionError(f"{name} is {value!r}; use a number that is not negative")


def uniform(shape: tuple[int, ...], generator: torch.Generator | None) -> NDArray[np.float64]:
    """Return numbers from 0 to 1, float64, drawn where the generator lives."""
    device = "cpu" if generator is None else generator.device
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    return drawn.cpu().numpy()


def _load_built_in() -> None:
    from cesped.data.augmentation import geometric, grey  # noqa: F401 - they register themselves
