"""The page on training names every setting, with the default that it has."""

import dataclasses
import re
from pathlib import Path

from cesped.training.published_names import _OWN_NAMES
from cesped.training.recipe import TrainingRecipe, load_recipe, recipe_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
TEXT = PAGE.read_text("utf-8")


def test_every_setting_and_recipe_is_on_the_page():
    recipe = TrainingRecipe()
    settings = [
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(recipe)
        for field in dataclasses.fields(getattr(recipe, section.name))
    ]
    missing = [name for name in (*settings, *recipe_names()) if f"`{name}`" not in TEXT]
    assert missing == []


def test_every_published_name_is_on_the_page():
    assert [name for name in _OWN_NAMES if f"`{name}`" not in TEXT] == []


def test_the_defaults_on_the_page_are_those_of_the_program():
    rows = re.findall(r"^\| (`[a-z]+\.[^|]+) \| ([^|]+) \|", TEXT, re.MULTILINE)
    compared = 0
    for names, values in rows:
        settings = re.findall(r"`(\w+\.\w+)`", names)
        defaults = [word.strip().strip("`") for word in values.split(" (")[0].split(",")]
        if not settings or settings[0].split(".")[0] not in vars(TrainingRecipe()):
            continue  # files of a run
        if len(settings) != len(defaults):
            continue  # one default for all, or none that a word could state
        for setting, default in zip(settings, defaults, strict=True):
            section, key = setting.split(".")
            if default == "an epoch":
                default = "none"
            given = getattr(load_recipe("paper", {setting: default}), section)
            if setting in ("augmentation.copies", "augmentation.recipe"):
                continue  # the paper's own differ
            assert getattr(given, key) == getattr(getattr(TrainingRecipe(), section), key), setting
            compared += 1
    assert compared > 25
