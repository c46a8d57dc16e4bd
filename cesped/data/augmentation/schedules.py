"""Probabilities that change as images are seen, and the count of images that all workers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import get_worker_info

from cesped.errors import OptionError
from cesped.vocabulary import ProbabilitySchedule

#: Processes that count apart; beyond that many, two of them share a number.
_MOST_WORKERS = 255

# What a schedule of each kind calls the probability that it ends with.
_END_NAMES = {
    ProbabilitySchedule.LINEAR_UP: "max_prob",
    ProbabilitySchedule.LINEAR_DOWN: "min_prob",
}


@dataclass(frozen=True)
class Probability:
    """A probability that goes from `start` to `end` while `steps` images are seen, then stays."""

    start: float
    end: float
    steps: int = 0

    @property
    def changes(self) -> bool:
        """Whether it depends on the images seen at all."""
        return self.start != self.end

    def after(self, images_seen: int) -> float:
        """Return the probability for the image that comes after `images_seen` others.

        Examples
        --------
        >>> Probability(0.2, 0.6, steps=100).after(50)
        0.4
        """
        if not self.changes:
            return self.start
        share = min(images_seen / self.steps, 1.0)
        return self.start * (1 - share) + self.end * share


def parse_probability(p: Any, schedule: Any, where: str) -> Probability:
    """Return the probability that a recipe states.

    Parameters
    ----------
    p : number from 0 to 1
    schedule : None, or a mapping as the published recipes have it: `type` is linear_up or
        linear_down, `kwargs` are `scheduler_steps` [images] and `max_prob` or `min_prob`
    where : named in messages

    Raises
    ------
    OptionError
        If a value is missing, unknown or out of range.
    """
    start = _share(p, f"{where}: p")
    if schedule is None:
        return Probability(start, start)
    if not isinstance(schedule, Mapping) or set(schedule) != {"type", "kwargs"}:
        raise OptionError(f"{where}: probScheduler is {schedule!r}; give it `type` and `kwargs`")
    try:
        kind = ProbabilitySchedule.parse(schedule["type"])
    except OptionError as error:
        raise OptionError(f"{where}: probScheduler: {error}") from error
    end_name = _END_NAMES[kind]
    kwargs = schedule["kwargs"] or {}
    if not isinstance(kwargs, Mapping) or set(kwargs) != {end_name, "scheduler_steps"}:
        raise OptionError(
            f"{where}: {kind} has the kwargs {dict(kwargs)}; it needs {end_name} and "
            "scheduler_steps"
        )
    end = _share(kwargs[end_name], f"{where}: {end_name}")
    steps = kwargs["scheduler_steps"]
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise OptionError(f"{where}: scheduler_steps is {steps!r}; use 1 or more images")
    if (end < start) == (kind is ProbabilitySchedule.LINEAR_UP) and end != start:
        raise OptionError(f"{where}: {kind} from p = {start:g} to {end_name} = {end:g}")
    return Probability(start, end, steps)


class ImageCounter:
    """How many images were augmented, by this process and its data-loader workers together.

    The numbers lie in memory that workers share, whether they are forked or spawned. Each process
    writes its own alone, so none is lost, and what one adds the others see at once.
    """

    def __init__(self) -> None:
        self._seen = torch.zeros(_MOST_WORKERS + 1, dtype=torch.int64)
        self._seen.share_memory_()  # type: ignore[no-untyped-call]

    def add(self, count: int) -> None:
        """Count images of this process."""
        worker = get_worker_info()
        place = 0 if worker is None else 1 + worker.id % _MOST_WORKERS
        self._seen[place] += count

    def total(self) -> int:
        """Return the images of all processes."""
        return int(self._seen.sum())

    def restart(self, total: int) -> None:
        """Go on from `total` images, in all processes; for a training that resumes."""
        self._seen.zero_()
        self._seen[0] = total


def _share(value: Any, what: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise OptionError(f"{what} is {value!r}; use a probability from 0 to 1")
