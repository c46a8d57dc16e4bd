"""`ViewsRecipe`: how a network of many views is trained, in stages of growing difficulty.

A recipe file is YAML. Stages are a list; the other sections hold what differs from the defaults::

    data: {image_size: 32}
    model: {preset: tiny}
    stages:
      - {steps: 2000, views: 2, batch: 32, lr: 5.0e-4}
      - {steps: 2000, views: 8, batch: 8, lr: 2.0e-4, snr: [1, 10], max_shift_px: 2}
"""

import dataclasses
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ...vocabulary import ViewOrigin
from ..recipe_values import build_section, unknown_name

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ViewsData:
    """The images of all stages.

    Parameters
    ----------
    image_size : of the images that the network sees [px]
    voltage_kv, spherical_aberration_mm, amplitude_contrast : of CTFs that are drawn from ranges
    held_out_share : of an entry's particles, which validate and are never learned from
    """

    image_size: int = 128
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1
    held_out_share: float = 0.1


@dataclasses.dataclass(frozen=True)
class ViewsModel:
    """Which network: a preset of CryoFastAR."""

    preset: str = "large"


@dataclasses.dataclass(frozen=True)
class ViewsLoss:
    """Weights of the terms of `cesped.models.cryofastar.losses.planar_map_loss`."""

    alpha: float = 0.3
    grid_weight: float = 0.0
    image_weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class ViewsTrainer:
    """AdamW and what goes on around it; the paper states none of these.

    Parameters
    ----------
    weight_decay : share of a weight that is taken off a step, in units of the rate
    gradient_clip : largest norm of the gradient; 0 for no limit
    warmup_share : of a stage's steps, in which the rate rises; it then falls as a cosine
    bfloat16 : compute the network in half the width (autocast); weights and loss stay float32
    parts : a batch is worked on in so many parts, one after the other, to need less memory
    steps_per_round : steps between validations, each with a saved state
    validation_sets : of views, drawn once for each stage
    seed : of initial weights and of all that is drawn
    """

    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    warmup_share: float = 0.1
    bfloat16: bool = False
    parts: int = 1
    steps_per_round: int = 500
    validation_sets: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ViewStage:
    """One stage: what is drawn, and how fast is learned from it.

    Parameters
    ----------
    steps : of the optimizer
    views : in a set, the reference among them
    batch : sets in a step
    lr : largest learning rate
    source : `maps` to draw from, or `particles` of an entry
    maps : only the first so many maps are drawn from; all when None
    sets : so many sets are drawn once and shown again and again; without end when None
    snr : range of signal over noise, uniform in its logarithm, one for a set; no noise when None
    max_shift_px : shifts are uniform along x and y up to this
    defocus_angst : range of the mean defocus; no CTF when None (and no `ctf_table`)
    astigmatism_angst, phase_shift_deg, b_factor_angst2 : ranges of the rest of a CTF
    ctf_table : star, .cs, .csv or .npz file to draw CTFs from, instead of the ranges
    """

    steps: int
    views: int = 2
    batch: int = 32
    lr: float = 1e-4
    source: str = ViewOrigin.MAPS.value
    maps: int | None = None
    sets: int | None = None
    snr: Range | None = None
    max_shift_px: float = 0.0
    defocus_angst: Range | None = None
    astigmatism_angst: Range = (0.0, 500.0)
    phase_shift_deg: Range = (0.0, 0.0)
    b_factor_angst2: Range = (0.0, 0.0)
    ctf_table: str | None = None

    @property
    def origin(self) -> ViewOrigin:
        """Where the views come from."""
        return ViewOrigin.parse(self.source)


_SECTIONS = {"data": ViewsData, "model": ViewsModel, "loss": ViewsLoss, "trainer": ViewsTrainer}


@dataclasses.dataclass(frozen=True)
class ViewsRecipe:
    """All of it; see the sections."""

    stages: tuple[ViewStage, ...]
    data: ViewsData = dataclasses.field(default_factory=ViewsData)
    model: ViewsModel = dataclasses.field(default_factory=ViewsModel)
    loss: ViewsLoss = dataclasses.field(default_factory=ViewsLoss)
    trainer: ViewsTrainer = dataclasses.field(default_factory=ViewsTrainer)

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries; the stages are `stage 1`, `stage 2`, ..."""
        values = {name: dataclasses.asdict(getattr(self, name)) for name in _SECTIONS}
        for number, stage in enumerate(self.stages, start=1):
            values[f"stage {number}"] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(stage).items()
            }
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "recipe") -> "ViewsRecipe":
        """Build a recipe from the content of a YAML file.

        Raises
        ------
        OptionError
            For a name that does not exist, a value out of range, or a recipe without stages.
        """
        sections: dict[str, Any] = {}
        for name, content in values.items():
            if name == "stages":
                continue
            if name not in _SECTIONS:
                raise OptionError(unknown_name(name, [*_SECTIONS, "stages"], where))
            sections[name] = build_section(
                _SECTIONS[name], _mapping(content, f"{where}: {name}"), f"{where}: {name}"
            )
        stages = values.get("stages")
        if not isinstance(stages, list) or not stages:
            raise OptionError(f"{where} has no stages; give a list of at least one")
        built = []
        for number, content in enumerate(stages, start=1):
            place = f"{where}: stage {number}"
            given = _mapping(content, place)
            if "steps" not in given:
                raise OptionError(f"{place} does not say how many steps it has")
            built.append(build_section(ViewStage, given, place))
            _check_stage(built[-1], place)
        recipe = cls(tuple(built), **sections)
        _check(recipe, where)
        return recipe


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith("yaml"))


def load_views_recipe(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> ViewsRecipe:
    """Return a recipe of the package, or one from a YAML file, with single settings changed.

    Parameters
    ----------
    name_or_path : `paper`, `small`, `demo`, or the path of a file
    overrides : dotted names and values: `trainer.seed`, or `stages.2.steps` of the second stage

    Raises
    ------
    OptionError
        If there is no such recipe, the file is not YAML, or a name or value is wrong.

    Examples
    --------
    >>> recipe = load_views_recipe("demo", {"stages.1.steps": "30"})
    >>> recipe.stages[0].steps, recipe.model.preset
    (30, 'tiny')
    """
    import yaml

    packaged = resources.files(__package__) / "recipes" / f"{name_or_path}.yaml"
    path = Path(name_or_path).expanduser()
    if not packaged.is_file() and not path.is_file():
        raise OptionError(
            f"there is no recipe {str(name_or_path)!r}; use {', '.join(recipe_names())}, "
            "or the path of a YAML file"
        )
    where = f"recipe {name_or_path}"
    try:
        source = packaged if packaged.is_file() else path
        values = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"{where} is not YAML: {error}") from error
    content = _mapping(values, where)
    for dotted, value in (overrides or {}).items():
        _override(content, dotted, value)
    return ViewsRecipe.from_dict(content, where)


def _override(content: dict[str, Any], dotted: str, value: object) -> None:
    words = dotted.split(".")
    if words[0] == "stages" and len(words) == 3:
        stages = content.get("stages")
        if not isinstance(stages, list):
            raise OptionError(f"{dotted}: the recipe has no list of stages")
        if not words[1].isdigit() or not 1 <= int(words[1]) <= len(stages):
            raise OptionError(f"{dotted}: the recipe has stages 1 to {len(stages)}")
        stages[int(words[1]) - 1] = {**_mapping(stages[int(words[1]) - 1], dotted), words[2]: value}
    elif len(words) == 2 and words[0] in _SECTIONS:
        content[words[0]] = {**_mapping(content.get(words[0]), dotted), words[1]: value}
    else:
        raise OptionError(
            f"{dotted!r} is no setting of a recipe of stages; write for example "
            "trainer.seed=1 or stages.2.steps=100"
        )


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content or {}, Mapping):
        raise OptionError(f"{where} must hold names and values, found {content!r}")
    return dict(content or {})


def _check(recipe: ViewsRecipe, where: str) -> None:
    trainer = recipe.trainer
    positive = {
        "data.image_size": recipe.data.image_size,
        "data.voltage_kv": recipe.data.voltage_kv,
        "loss.alpha": recipe.loss.alpha,
        "trainer.parts": trainer.parts,
        "trainer.steps_per_round": trainer.steps_per_round,
        "trainer.validation_sets": trainer.validation_sets,
    }
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise OptionError(f"{where}: {name} is {value}; it must be above 0")
    for name, value in (
        ("loss.grid_weight", recipe.loss.grid_weight),
        ("loss.image_weight", recipe.loss.image_weight),
        ("trainer.weight_decay", trainer.weight_decay),
        ("trainer.gradient_clip", trainer.gradient_clip),
        ("trainer.seed", trainer.seed),
    ):
        if not 0 <= value < math.inf:
            raise OptionError(f"{where}: {name} is {value}; it must be 0 or more")
    for name, share in (
        ("data.held_out_share", recipe.data.held_out_share),
        ("trainer.warmup_share", trainer.warmup_share),
    ):
        if not 0 < share < 1:
            raise OptionError(f"{where}: {name} is {share}; use a share between 0 and 1")
    for number, stage in enumerate(recipe.stages, start=1):
        if stage.batch % trainer.parts:
            raise OptionError(
                f"{where}: stage {number} has batches of {stage.batch} sets, which do not come "
                f"apart into trainer.parts {trainer.parts}"
            )


def _check_stage(stage: ViewStage, where: str) -> None:
    ViewOrigin.parse(stage.source)
    least = {"steps": 1, "views": 2, "batch": 1, "maps": 1, "sets": 1}
    for name, low in least.items():
        value = getattr(stage, name)
        if value is not None and value < low:
            raise OptionError(f"{where}: {name} is {value}; it must be {low} or more")
    if not 0 < stage.lr < math.inf:
        raise OptionError(f"{where}: lr is {stage.lr}; it must be above 0")
    if not 0 <= stage.max_shift_px < math.inf:
        raise OptionError(f"{where}: max_shift_px is {stage.max_shift_px}; it must be 0 or more")
    if stage.snr is not None and not 0 < stage.snr[0] <= stage.snr[1] < math.inf:
        raise OptionError(
            f"{where}: snr is {list(stage.snr)}; give two numbers above 0, the lower first"
        )
    drawn = ViewStage(steps=1)
    names = ("maps", "snr", "max_shift_px", "defocus_angst", "ctf_table")
    if stage.origin is ViewOrigin.PARTICLES:
        for name in names:
            if getattr(stage, name) != getattr(drawn, name):
                raise OptionError(
                    f"{where}: {name} has no effect on particles, which are as they are; leave it "
                    "out"
                )
    if stage.defocus_angst is not None and stage.ctf_table is not None:
        raise OptionError(f"{where}: give defocus_angst or ctf_table, not both")
