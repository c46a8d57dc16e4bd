"""Recipes as files: those that come with a package, by name, and anybody's, by path."""

from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import OptionError

_FOLDER = "recipes"


def names_in_package(package: str) -> list[str]:
    """Return the names of the recipes that come with `package`."""
    files = (resources.files(package) / _FOLDER).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith("yaml"))


def read_recipe_file(name_or_path: str | Path, package: str) -> tuple[dict[str, Any], str]:
    """Return the sections of a recipe, and what to call it in messages.

    Parameters
    ----------
    name_or_path : one of `names_in_package`, or the path of a YAML file
    package : whose recipes are known by name

    Raises
    ------
    OptionError
        If there is no such recipe, or the file cannot be read, is not YAML, or holds no sections.
    """
    import yaml

    packaged = resources.files(package) / _FOLDER / f"{name_or_path}.yaml"
    path, where = Path(name_or_path).expanduser(), f"recipe {name_or_path}"
    if not packaged.is_file() and not path.is_file():
        raise OptionError(
            f"there is no recipe {str(name_or_path)!r}; use "
            f"{', '.join(names_in_package(package))}, or the path of a YAML file"
        )
    try:
        text = (packaged if packaged.is_file() else path).read_text(encoding="utf-8")
        values = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"{where} is not YAML that can be read: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(
            f"{where} must hold sections such as `data:`; found {type(values).__name__}"
        )
    return values, where
