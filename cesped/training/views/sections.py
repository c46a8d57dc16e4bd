"""Sections and stages of a `ViewsRecipe`: single choices, each with its default and meaning."""

import dataclasses

from ...vocabulary import ViewOrigin

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ViewsData:
    """The images of all stages, and how much of what they are drawn from is kept where.

    Parameters
    ----------
    image_size : of the images that the network sees [px]
    voltage_kv, spherical_aberration_mm, amplitude_contrast : of CTFs that are drawn from ranges
    held_out_share : of an entry's particles, which validate and are never learned from
    map_memory_gib : maps in use are kept on the device up to this; of more maps a window is drawn
        from, which moves on by one every `sets_per_map` sets
    sets_per_map : see there
    max_memory_gib : particles of a dataset, and maps, that need no more are kept in main memory
    cache_dir : folder that keeps prepared particles for the next run
    shard_lanes : streams that shards are read as, each in its own order: what is drawn does not
        depend on how many processes share them out. A number that divides the batch
    shard_buffer : structures of each stream that sets are drawn from, in random order
    sets_per_structure : sets that a structure of a shard is used for before it makes room
    num_data_workers : threads of each process that read shards while it learns
    """

    image_size: int = 128
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1
    held_out_share: float = 0.1
    map_memory_gib: float = 8.0
    sets_per_map: int = 64
    max_memory_gib: float = 4.0
    cache_dir: str | None = None
    shard_lanes: int = 8
    shard_buffer: int = 8
    sets_per_structure: int = 1
    num_data_workers: int = 2


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
    parts : each process works its share of a batch off in so many parts, to need less memory
    checkpointing : keep no activations inside the blocks, but compute them again going back: less
        memory for a third more work
    compile : let `torch.compile` translate the blocks; needs a C++ compiler
    steps_per_round : steps between validations, each with a saved state
    validation_sets : of views, drawn once for each stage
    seed : of initial weights and of all that is drawn
    devices : of each machine, one process each; None for all there are
    num_nodes : machines
    strategy : of several processes: `ddp` keeps the whole network in each, `fsdp` divides weights
        and optimizer among them; `auto` is `ddp`
    """

    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    warmup_share: float = 0.1
    bfloat16: bool = False
    parts: int = 1
    checkpointing: bool = False
    compile: bool = False
    steps_per_round: int = 500
    validation_sets: int = 64
    seed: int = 0
    devices: int | None = 1
    num_nodes: int = 1
    strategy: str = "auto"


@dataclasses.dataclass(frozen=True)
class ViewStage:
    """One stage: what is drawn, and how fast is learned from it.

    Parameters
    ----------
    steps : of the optimizer
    views : in a set, the reference among them
    batch : sets in a step, over all processes
    lr : largest learning rate
    source : `maps` to draw from, `shards` of images of many structures, or `particles`
    maps : only the first so many maps are drawn from; all when None
    sets : so many sets are drawn once and shown again and again; without end when None
    snr : range of signal over noise, uniform in its logarithm, one for a set; no noise when None
    max_shift_px : shifts are uniform along x and y up to this
    defocus_angst : range of the mean defocus; no CTF when None (and no `ctf_table`)
    astigmatism_angst, phase_shift_deg, b_factor_angst2 : ranges of the rest of a CTF
    ctf_table : star, .cs, .csv or .npz file to draw CTFs from, instead of the ranges
    reference_within_deg : of maps, references look within such an angle of one orientation: the
        first number at the first step, growing linearly to the second. Sets that validate have
        references anywhere
    reference_share : of the steps, after which the angle stays
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
    reference_within_deg: Range = (180.0, 180.0)
    reference_share: float = 0.6

    @property
    def origin(self) -> ViewOrigin:
        """Where the views come from."""
        return ViewOrigin.parse(self.source)


@dataclasses.dataclass(frozen=True)
class ViewDataset:
    """Particles with known poses that stages with `source: particles` draw from.

    Parameters
    ----------
    target : an entry; or `star`
    star : a star file of one's own
    root : folder that its images are named from; that of the star file when None
    halfset : 0 or 1. Of an entry it must be said; of a star file it is that of rlnRandomSubset,
        counted from 0, and must be said where the file knows two
    symmetry : point group of a star file's particle; an entry knows its own
    weight : how often sets are drawn from it, relative to other datasets
    max_particles : so many are chosen at random, the others are not touched; all when None
    """

    target: str | None = None
    star: str | None = None
    root: str | None = None
    halfset: int | None = None
    symmetry: str = "C1"
    weight: float = 1.0
    max_particles: int | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"half {self.halfset} of {self.target}" if self.target else str(self.star)
