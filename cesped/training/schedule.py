"""Learning rates as a function of the step."""

import math

from ..vocabulary import Schedule
from .sections import OptimizerRecipe


def rate_factor(step: int, total_steps: int, recipe: OptimizerRecipe) -> float:
    """Return the learning rate of `step` in units of `recipe.lr`.

    `cosine` rises linearly over `warmup_share` of the steps and falls to zero along half a cosine;
    the others stay at 1 (`plateau` lowers the rate elsewhere, by what it sees).
    """
    if Schedule.parse(recipe.schedule) is not Schedule.COSINE:
        return 1.0
    warmup = max(1.0, recipe.warmup_share * total_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, total_steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
