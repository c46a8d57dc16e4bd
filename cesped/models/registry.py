"""Pose models by name: the base class that users derive from, and how names become models.

A model of one's own is one file with one class::

    @register_model("mine")
    class Mine(PoseModel):
        def __init__(self, symmetry, width=32): ...
        def loss(self, images, rotations, confidence): ...
        def predict(self, images): ...

or an entry point of another package, group `cesped.models`, that points at such a class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, cast

import torch
from torch import nn

from ..errors import CespedError, ModelNotFoundError, OptionError
from ..geometry.symmetry import point_group
from .prediction import PosePrediction

#: Entry-point group in which other packages offer models.
ENTRY_POINT_GROUP = "cesped.models"

#: Models of this package, imported when first asked for.
_BUILT_IN = {
    "image2sphere": "cesped.models.image2sphere.model",
    "cryofastar": "cesped.models.cryofastar.pose_model",
}

_REGISTERED: dict[str, type["PoseModel"]] = {}


class PoseModel(nn.Module, ABC):
    """A network that learns poses from labelled images and predicts them for others.

    Parameters
    ----------
    symmetry : str
        Point group of the particle, as RELION names it.
    options : JSON-able values
        Everything else that `__init__` was given; with the model's name they rebuild it.
    """

    #: Named sets of options, for `build_model(..., preset=...)`.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: Recipe of `cesped.training` that it is trained with unless another is named.
    default_recipe: ClassVar[str] = "paper"
    #: The name under which the class was registered.
    registered_name: ClassVar[str] = ""
    #: Whether `loss` takes the keyword `shifts_angst`, the true origins `(B, 2)` [Angstrom]. Ask
    #: the model, not its class: some learn shifts if told so.
    learns_shifts: bool = False
    #: Pixel size of the images that the model is given [Angstrom], set before training; only what
    #: predicts shifts needs it.
    pixel_size_angst: float | None = None
    #: Share of the training's steps that are done, set before each loss.
    progress: float = 0.0
    #: Target and half of all that weights were made of which a model reads by itself.
    learned_before: tuple[tuple[str, int], ...] = ()

    def __init__(self, symmetry: str, **options: Any) -> None:
        super().__init__()
        self.symmetry = point_group(symmetry).name
        self.options: dict[str, Any] = options

    @property
    def config(self) -> dict[str, Any]:
        """What rebuilds this model: `build_model(**config)`; JSON-able."""
        return {"name": self.registered_name, "symmetry": self.symmetry, **self.options}

    @abstractmethod
    def loss(
        self, images: torch.Tensor, rotations: torch.Tensor, confidence: torch.Tensor
    ) -> torch.Tensor:
        """Return the scalar training loss of `(B, 1, n, n)` images with true `(B, 3, 3)` poses.

        `confidence`, `(B,)` between 0 and 1, says how far each label is to be trusted.
        """

    @abstractmethod
    def predict(self, images: torch.Tensor) -> PosePrediction:
        """Return the poses of `(B, 1, n, n)` images; the same images give the same poses."""


class ScaledPoseModel(PoseModel):
    """A `PoseModel` whose options hold the pixel size, so that its checkpoints carry it."""

    @property
    def pixel_size_angst(self) -> float | None:
        """Pixel size of the images [Angstrom]; one of the options, so that it is saved."""
        return cast(float | None, self.options["pixel_size_angst"])

    @pixel_size_angst.setter
    def pixel_size_angst(self, value: float | None) -> None:
        self.options["pixel_size_angst"] = None if value is None else float(value)


def register_model(name: str) -> Callable[[type[PoseModel]], type[PoseModel]]:
    """Return a class decorator that makes a `PoseModel` known as `name`.

    Raises
    ------
    OptionError
        If another class has the name already, or the class is not a `PoseModel` with all its
        methods.
    """

    def register(model_class: type[PoseModel]) -> type[PoseModel]:
        if not (isinstance(model_class, type) and issubclass(model_class, PoseModel)):
            raise OptionError(f"model {name!r}: {model_class!r} does not derive from PoseModel")
        missing = ", ".join(sorted(model_class.__abstractmethods__))
        if missing:
            raise OptionError(f"model {name!r}: {model_class.__qualname__} must define {missing}")
        known = _REGISTERED.get(name)
        if known is not None and known.__qualname__ != model_class.__qualname__:
            raise OptionError(f"model name {name!r} is taken by {known.__qualname__}; use another")
        model_class.registered_name = name
        _REGISTERED[name] = model_class
        return model_class

    return register


def model_names() -> list[str]:
    """Return the names that `build_model` knows, sorted."""
    offered = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return sorted(offered | set(_BUILT_IN) | set(_REGISTERED))


def model_class(name: str) -> type[PoseModel]:
    """Return the class registered as `name`, importing it if needed.

    Raises
    ------
    ModelNotFoundError
        If no package offers the name; the message lists the known ones.
    """
    if name not in _REGISTERED and name in _BUILT_IN:
        import_module(_BUILT_IN[name])
    if name not in _REGISTERED:
        for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
            register_model(name)(point.load())
    if name not in _REGISTERED:
        raise ModelNotFoundError(
            f"no model is called {name!r}; known models: {', '.join(model_names())}. "
            f"Another package offers one through the entry-point group {ENTRY_POINT_GROUP!r}"
        )
    return _REGISTERED[name]


def build_model(name: str, symmetry: str, preset: str | None = None, **overrides: Any) -> PoseModel:
    """Build a model by name.

    Parameters
    ----------
    name : str
        As registered, for example `image2sphere`.
    symmetry : str
        Point group of the particle.
    preset : str, optional
        A named set of options of that model.
    **overrides
        Single options, stronger than the preset's.

    Raises
    ------
    ModelNotFoundError, SymmetryError
        If the name or the group is unknown.
    OptionError
        If the preset or an option is unknown, or its value is none the model can be built with.
    """
    chosen = model_class(name)
    if preset is not None and preset not in chosen.presets:
        known = ", ".join(sorted(chosen.presets)) or "none"
        raise OptionError(f"model {name!r} has no preset {preset!r}; it has: {known}")
    options = {**(chosen.presets[preset] if preset else {}), **overrides}
    _check_options(chosen, name, options)
    try:
        return chosen(symmetry, **options)
    except (ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, CespedError):
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise OptionError(
            f"model {name!r} cannot be built with {given}: {error}; correct these options"
        ) from error


def _check_options(chosen: type[PoseModel], name: str, options: Mapping[str, Any]) -> None:
    """Refuse option names that the constructor does not take, naming the nearest one."""
    code = chosen.__init__.__code__
    known = list(code.co_varnames[2 : code.co_argcount + code.co_kwonlyargcount])
    accepts_anything = bool(code.co_flags & 0x08)
    for option in options:
        if option in known or accepts_anything:
            continue
        nearest = get_close_matches(option, known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise OptionError(
            f"model {name!r} has no option {option!r}{hint} (options: {', '.join(known)})"
        )
