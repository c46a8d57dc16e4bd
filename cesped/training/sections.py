"""The sections of a recipe: single choices, each with its default and its meaning."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Which images a model sees.

    Parameters
    ----------
    image_size : of the preprocessed image [px]
    image_size_factor_for_crop : share of the box that is cut off before resizing
    ctf_correction : `phase_flip`, `ctf_multiply` or `none`
    raw_channel : show the raw image beside the corrected one, as a second channel
    apply_perImg_normalization : bring the background to mean 0 and deviation 1
    batch_size : images of one optimizer step: over all devices and all their parts of a batch
    train_share : of the half; the rest validates
    split_seed : of that division
    num_data_workers : processes that read images; 0 reads in the training process
    max_memory_gib : preprocessed images are kept in memory if they need no more than this
    cache_dir : folder where preprocessed images are kept for the next run; None keeps none
    """

    image_size: int = 256
    image_size_factor_for_crop: float = 0.15
    ctf_correction: str = "phase_flip"
    raw_channel: bool = False
    apply_perImg_normalization: bool = True
    batch_size: int = 128
    train_share: float = 0.7
    split_seed: int = 113
    num_data_workers: int = 0
    max_memory_gib: float = 4.0
    cache_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class AugmentationRecipe:
    """How training images are changed, their poses with them.

    Parameters
    ----------
    max_turn_deg : in-plane turns are drawn from plus or minus this; 180 is every angle
    max_shift_px : shifts are drawn from plus or minus this, along each axis
    opposite_views : half of the images are mirrored, which makes them projections along the
        opposite direction of the same particle, of the same hand
    noise_std : white noise added, its deviation drawn between 0 and this
    copies : of each particle in a batch, each augmented by itself; a batch of 128 images with 2
        copies holds 64 particles, and an epoch shows each particle so often
    recipe : name or path of a recipe of `cesped.data.augmentation`, which then replaces all of
        the above but `copies`; `paper` is that of the CESPED paper
    """

    max_turn_deg: float = 180.0
    max_shift_px: float = 0.0
    opposite_views: bool = True
    noise_std: float = 0.0
    copies: int = 1
    recipe: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelRecipe:
    """Which model: a name of the registry, a preset of it, and single options on top."""

    name: str = "image2sphere"
    preset: str | None = "paper"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OptimizerRecipe:
    """RAdam with decoupled weight decay, and how its rate changes.

    Parameters
    ----------
    lr : largest learning rate
    weight_decay : share of a weight that is taken off a step, in units of the rate
    schedule : `plateau` halves the rate when the validation loss stalls; `cosine` warms up and
        then falls to zero at the last step; `constant`
    warmup_share : of the steps, for `cosine`
    plateau_patience : epochs without improvement before `plateau` halves
    gradient_clip : largest norm of the gradient; 0 for no limit
    """

    lr: float = 1e-3
    weight_decay: float = 1e-5
    schedule: str = "plateau"
    warmup_share: float = 0.1
    plateau_patience: int = 10
    gradient_clip: float = 5.0


@dataclasses.dataclass(frozen=True)
class TrainerRecipe:
    """How long, on what, and what is kept.

    Parameters
    ----------
    max_epochs : passes over the training particles
    max_steps : optimizer steps, stronger than `max_epochs` if given
    steps_per_round : steps between validations, each with a checkpoint; None: one epoch
    early_stop_patience : rounds without improvement before the end; 0 never stops early
    average_decay : of the running mean of the weights, which is what predicts; 0 for none
    keep : `best` or `last`
    seed : of initial weights, order of particles and augmentation
    accelerator, num_nodes, strategy, precision, sync_batchnorm : as Lightning's Trainer takes them
    devices : of each node; None for all there are
    accumulate_grad_batches : parts that each device does its share of a batch in, one after the
        other: for batches that do not fit its memory; the optimizer sees the same batch
    compile : let `torch.compile` translate the parts of the model; needs a C++ compiler
    """

    max_epochs: int = 400
    max_steps: int | None = None
    steps_per_round: int | None = None
    early_stop_patience: int = 12
    average_decay: float = 0.0
    keep: str = "best"
    seed: int = 0
    accelerator: str = "auto"
    devices: int | None = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    accumulate_grad_batches: int = 1
    compile: bool = False
    sync_batchnorm: bool = False


@dataclasses.dataclass(frozen=True)
class PretrainingRecipe:
    """Whether a model first learns on projections of the map of its own half.

    The map is reconstructed from the half with its known poses, so nothing of the other half is
    in it. See `cesped.workflows.pretraining`.

    Parameters
    ----------
    projections : images that are simulated; 0 goes without
    max_steps : optimizer steps on them; as many as of the training when None
    lr : largest learning rate on them; that of `optimizer` when None
    on_the_fly : draw other images in each step, on the device that trains, and store none;
        `projections` is then the length of an epoch
    coloured_noise : the noise has the spectrum of that in the half's images; else it is white
    """

    projections: int = 0
    max_steps: int | None = None
    lr: float | None = None
    on_the_fly: bool = False
    coloured_noise: bool = True


@dataclasses.dataclass(frozen=True)
class SimulationRecipe:
    """Whether training images are drawn from a map, new ones in each step.

    Orientations are uniform and labels exact. Validation and prediction stay on the images of the
    entry. See `cesped.training.drawn`.

    Parameters
    ----------
    map : MRC file in the frame of the entry's poses, of the box and pixel size of its images;
        None learns from the half's images
    free_of_other_half : a statement that nothing of the half that is to be predicted is in the
        map; needed unless the entry is simulated
    snr : variance of the CTF-modulated signal over the full frame over that of the noise; that
        of the half's images when None
    coloured_noise : the noise has the spectrum of that in the half's images; else it is white
    max_shift_px, shift_sigma_px : of origins, uniform or normal along each axis [px of the raw
        images]; drawn from those of the half's particles when both are None
    defocus_angst : range of the mean defocus; CTFs are those of the half's particles when None
    epoch_images : images that are called an epoch; as many as the half trains on when None
    """

    map: str | None = None
    free_of_other_half: bool = False
    snr: float | None = None
    coloured_noise: bool = True
    max_shift_px: float | None = None
    shift_sigma_px: float | None = None
    defocus_angst: tuple[float, float] | None = None
    epoch_images: int | None = None
