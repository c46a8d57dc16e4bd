"""What a recipe of stages must fulfil before anything is learned."""

import math
from collections.abc import Sequence

from ...errors import OptionError
from ...vocabulary import ViewOrigin
from .sections import ViewDataset, ViewsData, ViewsLoss, ViewStage, ViewsTrainer

STRATEGIES = ("auto", "ddp", "fsdp")


def check_sections(
    data: ViewsData, loss: ViewsLoss, trainer: ViewsTrainer, batches: Sequence[int], where: str
) -> None:
    """Refuse numbers out of range, and batches of sets (one a stage) that do not come apart.

    Raises
    ------
    OptionError
        With the dotted name of the setting.
    """
    positive = {
        "data.image_size": data.image_size,
        "data.voltage_kv": data.voltage_kv,
        "data.map_memory_gib": data.map_memory_gib,
        "data.sets_per_map": data.sets_per_map,
        "data.max_memory_gib": data.max_memory_gib,
        "data.shard_lanes": data.shard_lanes,
        "data.shard_buffer": data.shard_buffer,
        "data.sets_per_structure": data.sets_per_structure,
        "data.num_data_workers": data.num_data_workers,
        "loss.alpha": loss.alpha,
        "trainer.devices": 1 if trainer.devices is None else trainer.devices,
        "trainer.num_nodes": trainer.num_nodes,
        "trainer.parts": trainer.parts,
        "trainer.steps_per_round": trainer.steps_per_round,
        "trainer.validation_sets": trainer.validation_sets,
    }
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise OptionError(f"{where}: {name} is {value}; it must be above 0")
    for name, value in (
        ("loss.grid_weight", loss.grid_weight),
        ("loss.image_weight", loss.image_weight),
        ("trainer.weight_decay", trainer.weight_decay),
        ("trainer.gradient_clip", trainer.gradient_clip),
        ("trainer.seed", trainer.seed),
    ):
        if not 0 <= value < math.inf:
            raise OptionError(f"{where}: {name} is {value}; it must be 0 or more")
    for name, share in (
        ("data.held_out_share", data.held_out_share),
        ("trainer.warmup_share", trainer.warmup_share),
    ):
        if not 0 < share < 1:
            raise OptionError(f"{where}: {name} is {share}; use a share between 0 and 1")
    if trainer.strategy not in STRATEGIES:
        raise OptionError(
            f"{where}: trainer.strategy is {trainer.strategy!r}; use one of: "
            f"{', '.join(STRATEGIES)}"
        )
    for number, batch in enumerate(batches, start=1):
        if batch % trainer.parts:
            raise OptionError(
                f"{where}: stage {number} has batches of {batch} sets, which do not come "
                f"apart into trainer.parts {trainer.parts}"
            )


def check_dataset(dataset: ViewDataset, where: str) -> None:
    """Refuse a dataset that does not say which particles it is.

    Raises
    ------
    OptionError
        If it names neither or both of an entry and a star file, or no half of an entry, or a
        number is out of range.
    """
    if (dataset.target is None) == (dataset.star is None):
        raise OptionError(f"{where}: give a target, which is an entry, or a star file")
    if dataset.halfset not in (None, 0, 1):
        raise OptionError(f"{where}: halfset is {dataset.halfset}; it must be 0 or 1")
    if dataset.target is not None and dataset.halfset is None:
        raise OptionError(f"{where}: say which halfset of {dataset.target} is learned from: 0 or 1")
    if dataset.target is not None and (dataset.root is not None or dataset.symmetry != "C1"):
        raise OptionError(f"{where}: an entry knows its root and symmetry; leave them out")
    if not 0 < dataset.weight < math.inf:
        raise OptionError(f"{where}: weight is {dataset.weight}; it must be above 0")
    if dataset.max_particles is not None and dataset.max_particles < 2:
        raise OptionError(
            f"{where}: max_particles is {dataset.max_particles}; it must be 2 or more"
        )


def check_stage(stage: ViewStage, where: str) -> None:
    """Refuse a stage with numbers out of range, or settings that its source has no use for.

    Raises
    ------
    OptionError
        With the name of the setting.
    """
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
    if not all(0 <= angle <= 180 for angle in stage.reference_within_deg):
        raise OptionError(
            f"{where}: reference_within_deg is {list(stage.reference_within_deg)}; give two angles "
            "from 0 to 180"
        )
    if not 0 < stage.reference_share <= 1:
        raise OptionError(
            f"{where}: reference_share is {stage.reference_share}; use a share above 0, up to 1"
        )
    _refuse_useless(stage, where)
    if stage.defocus_angst is not None and stage.ctf_table is not None:
        raise OptionError(f"{where}: give defocus_angst or ctf_table, not both")


def _refuse_useless(stage: ViewStage, where: str) -> None:
    drawn = ViewStage(steps=1)
    useless: tuple[str, ...] = ()
    why = ""
    if stage.origin is ViewOrigin.PARTICLES:
        useless = (
            "maps",
            "snr",
            "max_shift_px",
            "defocus_angst",
            "ctf_table",
            "reference_within_deg",
        )
        why = "particles, which are as they are"
    elif stage.origin is ViewOrigin.SHARDS:
        useless, why = (
            ("maps", "sets", "reference_within_deg"),
            "shards, which are read one after the other",
        )
    for name in useless:
        if getattr(stage, name) != getattr(drawn, name):
            raise OptionError(f"{where}: {name} has no effect on {why}; leave it out")
