"""The closed choices of the package, each parsed once at the door, and its shared defaults."""

from enum import StrEnum
from typing import Self

from .errors import OptionError

#: Environment variable that names the folder of benchmark entries.
BENCHMARK_DIR_VARIABLE = "CESPED_BENCHMARK_DIR"

#: Environment variable that, when set to anything but 0, forbids downloads.
OFFLINE_VARIABLE = "CESPED_OFFLINE"

#: Environment variable that names a mirror of the records: a URL to which a record's number is
#: appended, as https://zenodo.org/api/records.
RECORDS_URL_VARIABLE = "CESPED_RECORDS_URL"

#: FSC thresholds of the paper: gold standard half maps, and map against reference.
FSC_THRESHOLDS = (0.143, 0.5)


class Choice(StrEnum):
    """A closed set of option values; `parse` turns a user's word into a member."""

    @classmethod
    def parse(cls, value: "str | Choice") -> Self:
        """Return the member whose value is `value`.

        Raises
        ------
        OptionError
            If there is none; the message lists all values.
        """
        for member in cls:
            if member is value or member.value == value:
                return member
        options = ", ".join(member.value for member in cls)
        raise OptionError(f"{value!r} is not a {cls.__name__}; use one of: {options}")


class CtfCorrection(Choice):
    """What the dataset does about the contrast transfer function of an image."""

    NONE = "none"
    PHASE_FLIP = "phase_flip"
    CTF_MULTIPLY = "ctf_multiply"
    WIENER = "wiener"


class PredictionType(Choice):
    """Which part of a pose was predicted; the rest is taken from the ground truth."""

    S2 = "S2"
    SO3 = "SO3"
    SO3XR2 = "SO3xR2"


class Backend(Choice):
    """Which program reconstructs maps."""

    NATIVE = "native"
    TORCH = "torch"
    RELION = "relion"


class AnglesFormat(Choice):
    """How orientations are given to `ParticlesDataset.updateMd`."""

    ROTMAT = "rotmat"
    ZYZ_EULER_DEGS = "zyzEulerDegs"


class ShiftsFormat(Choice):
    """How shifts are given to `ParticlesDataset.updateMd`."""

    ANGST = "Angst"


class Normalization(Choice):
    """How the grey values of one image are normalised."""

    NONE = "none"
    #: mean 0 and deviation 1 outside the inscribed circle
    NOISE_STATS = "noiseStats"
    #: the same in four squares at the corners
    CORNER_STATS = "cornerStats"
    SUBTRACT_MEAN = "subtractMean"


class PixelType(Choice):
    """How the pixels of prepared images are stored."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Schedule(Choice):
    """How the learning rate changes during training."""

    PLATEAU = "plateau"
    COSINE = "cosine"
    CONSTANT = "constant"


class Keep(Choice):
    """Which weights a run hands over: those of least validation loss, or the last."""

    BEST = "best"
    LAST = "last"


class Decoding(Choice):
    """How one rotation is read off a distribution over a grid."""

    #: the most probable node
    ARGMAX = "argmax"
    #: the mean over the most probable node and those that touch it
    NEIGHBOURS = "neighbours"
    #: the posterior mean around the rotation with the least expected error
    MEAN = "mean"


class PoseOrigin(Choice):
    """Whose poses a map is made from."""

    PREDICTION = "prediction"
    TRUTH = "truth"
    #: the true poses, each particle weighted as the prediction's are: the best that any
    #: prediction with these confidences could reach
    TRUTH_SAME_WEIGHTS = "truth_same_weights"
    #: random orientations with the true shifts: what no prediction should fall below
    RANDOM = "random"
    #: every particle as if seen from the one side, unturned, with the true shifts
    FIXED_VIEW = "fixed_view"


class Track(Choice):
    """What a method was given, and so which others it is compared with."""

    #: a model learned from the poses of the other half
    SUPERVISED = "supervised"
    #: no pose was known: predictions are in a frame, and perhaps of a hand, of their own
    AB_INITIO = "ab-initio"


class Suspicion(Choice):
    """What may be wrong with a set of particles and poses, and is looked into."""

    ORIENTATIONS = "orientations"
    SHIFTS = "shifts"
    ROWS = "rows"
    SYMMETRY = "symmetry"
    CTF = "ctf"
    PIXEL_SIZE = "pixel size"
    CONTRAST = "contrast"
    FRAME = "frame"


class ScoreStatus(Choice):
    """Who computed a score of the leaderboard."""

    PUBLISHED = "as published, not re-scored"
    SUBMITTED = "as submitted, not re-scored"
    RESCORED = "re-scored"


class Severity(Choice):
    """How much a finding about a submission weighs."""

    #: it cannot be accepted so
    FAULT = "wrong"
    #: somebody must look at it
    SUSPICIOUS = "suspicious"
    NOTE = "note"


class Health(Choice):
    """What a diagnosis, or one part of it, comes to."""

    HEALTHY = "healthy"
    FAULT = "fault"
    UNCLEAR = "cannot tell"


class StarForm(Choice):
    """Which RELION a star file is written for."""

    RELION_30 = "3.0"
    RELION_31 = "3.1"
    RELION_50 = "5.0"


class Simulator(Choice):
    """Which program projects the map of a simulation."""

    NATIVE = "native"
    RELION = "relion"


class NoiseKind(Choice):
    """The spectrum of simulated noise, where it is not read from a file."""

    WHITE = "white"
    COLOURED = "coloured"


class Curated(Choice):
    """What became of a structure file that was curated."""

    KEPT = "kept"
    #: it does not meet what is asked of it
    REJECTED = "rejected"
    #: it could not be read or worked on
    FAILED = "failed"


class Scattering(Choice):
    """What an atom's density is made of."""

    #: the electron form factor of its element
    ELECTRON = "electron"
    #: one Gaussian that weighs as many electrons as it has
    ATOMIC_NUMBER = "atomic-number"


class ProbabilitySchedule(Choice):
    """How the probability of an augmentation changes as images are seen."""

    LINEAR_UP = "linear_up"
    LINEAR_DOWN = "linear_down"


class MapConvention(Choice):
    """How a Fourier planar map encodes a pose: `cesped.models.cryofastar.planar_maps`."""

    #: Fourier pixels with the origin at N//2, shifts in the order x, y
    PAPER = "paper"
    #: what the weights released by CryoFastAR's authors were trained on
    RELEASED = "released"


class ViewNormalization(Choice):
    """How the grey values of the views of one sample are normalised for CryoFastAR."""

    #: mean 0 and deviation 1 of each image
    IMAGE = "image"
    #: mean 0 and maximum 1 of all views together: the released weights for real particles
    STACK_MAXIMUM = "stack-maximum"
    #: minimum 0 and maximum 1 of all views together, before CTF and noise: the released weights
    #: for synthetic particles
    STACK_RANGE = "stack-range"


class ViewOrigin(Choice):
    """Where the sets of views come from that CryoFastAR is trained on."""

    #: drawn from maps, without end
    MAPS = "maps"
    #: images of many structures, stored in shards
    SHARDS = "shards"
    #: real particles, with the poses of their star files
    PARTICLES = "particles"
