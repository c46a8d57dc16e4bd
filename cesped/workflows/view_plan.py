"""What a recipe of stages will cost, before anything is learned."""

import time
from typing import TYPE_CHECKING

from ..vocabulary import ViewOrigin

if TYPE_CHECKING:
    import torch

    from ..training.views.recipe import ViewsRecipe
    from ..training.views.sections import ViewStage

#: Of what a device reaches in products of large matrices, this share is expected of training.
_SHARE = 0.5
_BACK = 2  # going back costs twice as much as going forth
_BYTES_PER_WEIGHT = 16  # weight, gradient and two moments in float32
_MEASURED_S = 0.3


def plan_lines(
    recipe: "ViewsRecipe", device: str = "auto", tflops: float | None = None
) -> list[str]:
    """Return what the stages of a recipe are, and how long they will take, for people.

    Parameters
    ----------
    recipe : what is planned
    device : auto, cpu or cuda
    tflops : what one device computes in training [TFLOP/s]; half of what it reaches here in
        products of matrices when None

    Raises
    ------
    OptionError
        If there is no such device, or no such preset.
    """
    from ..inference.predict import chosen_device
    from ..models.cryofastar.config import preset_config
    from ..models.cryofastar.cost import forward_flops

    place, trainer = chosen_device(device), recipe.trainer
    config = preset_config(recipe.model.preset)
    if tflops is None:
        reached = matmul_tflops(place, trainer.bfloat16)
        rate = _SHARE * reached
        source = f"half of the {reached:.3g} that products of matrices reach on {place} here"
    else:
        rate, source = tflops, "as given"
    processes = (trainer.devices or 1) * trainer.num_nodes
    passes = 1 + _BACK + (1 if trainer.checkpointing else 0)
    with_images = recipe.loss.image_weight > 0
    lines, total_images, total_flops = [], 0, 0.0
    for number, stage in enumerate(recipe.stages, start=1):
        forth = forward_flops(config, recipe.data.image_size, stage.views, with_images=with_images)
        flops = float(passes) * forth * stage.batch * stage.steps
        images = stage.steps * stage.batch * stage.views
        total_images, total_flops = total_images + images, total_flops + flops
        hours = flops / (rate * 1e12 * processes) / 3600
        lines.append(
            f"Stage {number}: {stage.steps:,} steps of {stage.batch} sets x {stage.views} views, "
            f"{describe_stage(stage)}: {images:,} images, {flops:.2g} FLOP, {hours:.4g} h"
        )
    hours = total_flops / (rate * 1e12 * processes) / 3600
    width = "bfloat16" if trainer.bfloat16 else "float32"
    lines.append(
        f"Together: {total_images:,} images, {total_flops:.2g} FLOP, {hours:.4g} h on {processes} "
        f"device(s) of {rate:.3g} TFLOP/s in {width} ({source})"
    )
    memory = _BYTES_PER_WEIGHT * weight_count(recipe) / 2**30
    divided = f", divided by {processes}" if trainer.strategy == "fsdp" and processes > 1 else ""
    lines.append(
        f"Weights, gradients and optimizer: {memory:.2g} GiB{divided}; activations come on top"
    )
    return lines


def describe_stage(stage: "ViewStage") -> str:
    """Return what a stage draws, in a few words."""
    words = [stage.origin.value]
    if stage.maps is not None:
        words[0] = f"the first {stage.maps} map(s)"
    if stage.origin is not ViewOrigin.PARTICLES:
        words.append("clean" if stage.snr is None else f"SNR {stage.snr[0]:g} to {stage.snr[1]:g}")
        if stage.max_shift_px:
            words.append(f"shifts of {stage.max_shift_px:g} px")
        if stage.defocus_angst is not None or stage.ctf_table is not None:
            words.append("CTF")
    return ", ".join(words)


def weight_count(recipe: "ViewsRecipe") -> int:
    """Return the numbers of the network, which is not made."""
    import torch

    from ..models.cryofastar.model import CryoFastAR

    with torch.device("meta"):
        return sum(weight.numel() for weight in CryoFastAR(recipe.model.preset).parameters())


def matmul_tflops(device: "torch.device", bfloat16: bool) -> float:
    """Return what a device reaches in products of matrices, measured in less than a second."""
    import torch

    side = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    one = torch.ones(side, side, device=device, dtype=dtype)

    def product() -> None:
        float((one @ one)[0, 0])  # waits for the device

    product()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < _MEASURED_S:
        product()
        count += 1
    return 2 * side**3 * count / (time.perf_counter() - started) / 1e12
