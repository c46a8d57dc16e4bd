"""Train on one half of an entry, then predict the poses of the other half."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..progress import SILENT, Progress
from .steps import run_once

if TYPE_CHECKING:
    from ..training.recipe import TrainingRecipe


@dataclass(frozen=True)
class LearningOutcome:
    """What training one half leaves.

    Attributes
    ----------
    checkpoint : the best model.
    predictions : star file with the predicted poses of the other half; None if not wanted.
    """

    checkpoint: Path
    predictions: Path | None
