"""Settings under the names of the published configuration files and flags.

cesped 25.12.0 took `--data.num_augmented_copies_per_batch 2` or `--model.lmax 8`. Such words, on
the command line and in YAML files, mean the settings of a recipe that stand beside them here.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import OptionError

#: Published name -> name of the recipe. Those of the model are Image2Sphere's.
_OWN_NAMES = {
    "seed_everything": "trainer.seed",
    "data.num_augmented_copies_per_batch": "augmentation.copies",
    "data.train_validaton_split_seed": "data.split_seed",
    "data.train_validation_split": "data.train_share",
    "model.lmax": "model.l_max",
    "model.s2_fdim": "model.sphere_features",
    "model.so3_fdim": "model.so3_features",
    "model.hp_order_projector": "model.projector_order",
    "model.hp_order_s2": "model.filter_order",
    "model.hp_order_so3": "model.grid_order",
    "model.rand_fraction_points_to_project": "model.sampled_share",
    "optimizer.init_args.lr": "optimizer.lr",
    "optimizer.init_args.weight_decay": "optimizer.weight_decay",
    "lr_scheduler.init_args.patience": "optimizer.plateau_patience",
    "trainer.gradient_clip_val": "optimizer.gradient_clip",
}
#: Published names that stand alone, without a section.
WHOLE_NAMES = frozenset(name for name in _OWN_NAMES if "." not in name)
_MODEL_OF_NAMES = "image2sphere"
#: Published names of what is an option of the command, and no setting of a recipe.
_OPTIONS = {
    "data.targetName": "--target",
    "data.halfset": "--halfset",
    "data.benchmarkDir": "--benchmarkDir",
    "trainer.default_root_dir": "--outdir",
}
#: Published settings that nothing here answers to, and what is there in their place.
_WITHOUT_COUNTERPART = {
    "data.augmenter": "`--augmentation.recipe published`, or a path, names the augmentation",
    "model.feature_extractor": "`--model.preset paper` has that network, `--model.encoder` others",
    "optimizer.class_path": "the optimizer is RAdam",
    "lr_scheduler": "`--optimizer.schedule plateau` halves the rate; `init_args.patience` is its",
    "trainer.callbacks": "`--trainer.early_stop_patience` ends a training, each round is kept",
    "trainer.logger": "every run writes log.csv and TensorBoard's files",
}


def with_own_names(
    values: Mapping[str, Any], where: str, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return nested settings in which published names are replaced by the recipe's.

    Parameters
    ----------
    values : sections with their settings; settings within settings, as in `init_args`, are found
    where : what the values come from, for messages
    known : settings that these are added to; they may say which model it is

    Raises
    ------
    OptionError
        If a setting is given under both names, or a published value means nothing here.
    """
    own = dict(values)
    for published, option in _OPTIONS.items():
        if _taken_out(own, published.split("."))[0]:
            raise OptionError(
                f"{where}: {published} is no setting of a recipe; leave it out of the file, and "
                f"give the option {option}"
            )
    names = [_model_name(own), _model_name(known or {}), _MODEL_OF_NAMES]
    is_of_names = next(name for name in names if name) == _MODEL_OF_NAMES
    for published, name in _OWN_NAMES.items():
        if published.startswith("model.") and not is_of_names:
            continue
        found, own = _taken_out(own, published.split("."))
        if not found:
            continue
        section, key = name.split(".")
        given = own.get(section) or {}
        inner = dict(given) if isinstance(given, Mapping) else {}
        if key in inner:
            raise OptionError(f"{where}: {published} is {name}, which is given too; leave one out")
        inner[key] = _own_value(name, found[0], where)
        own[section] = inner
    for published, instead in _WITHOUT_COUNTERPART.items():
        if _taken_out(own, published.split("."))[0]:
            raise OptionError(
                f"{where}: {published}, a setting of the published program, is none here "
                f"({instead}): leave it out"
            )
    trainer = own.get("trainer")
    if isinstance(trainer, Mapping) and trainer.get("devices") == "auto":
        own["trainer"] = {**trainer, "devices": None}
    return own


def _model_name(values: Mapping[str, Any]) -> Any:
    model = values.get("model")
    return model.get("name") if isinstance(model, Mapping) else None


def _taken_out(values: dict[str, Any], path: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the value at `path`, in a list that is empty without one, and the rest."""
    joined = ".".join(path)
    if joined in values:
        return [values[joined]], {key: v for key, v in values.items() if key != joined}
    inner = values.get(path[0])
    if len(path) == 1 or not isinstance(inner, Mapping):
        return [], values
    found, rest = _taken_out(dict(inner), path[1:])
    if not found:
        return [], values
    kept = {key: v for key, v in values.items() if key != path[0]}
    return found, {**kept, path[0]: rest} if rest else kept


def _own_value(name: str, value: Any, where: str) -> Any:
    """Return what a published value is here."""
    if name != "data.train_share":
        return value
    words = value.strip("[]() ").split(",") if isinstance(value, str) else value
    try:
        shares = [float(word) for word in words]
    except (TypeError, ValueError):
        shares = []
    if len(shares) != 2 or abs(sum(shares) - 1) > 1e-6:
        raise OptionError(
            f"{where}: data.train_validation_split is {value!r}; it must be two shares whose sum "
            "is 1, as [0.7, 0.3]"
        )
    return shares[0]
