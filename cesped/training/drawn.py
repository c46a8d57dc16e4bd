"""Training images drawn from a map as they are needed, on the device that trains.

What is drawn in a step follows from the seed, the step and the share of its batch alone: no image
comes twice, a run that was killed goes on with the images that it would have had, and processes
that train together draw different ones.
"""

from dataclasses import replace

import numpy as np
import torch

from ..data.entry_checks import EntryHalf
from ..data.preprocessing import PreprocessingOptions, Preprocessor
from ..data.simulation.on_device import OnTheFly
from ..data.simulation.optics import OpticsRanges
from ..data.table import ParticleTable
from ..errors import OptionError
from ..physics.ctf import CtfParameters
from ..physics.noise import noise_sigma, signal_variance
from ..physics.torch_projection import TorchProjector
from ..vocabulary import CtfCorrection
from .batches import Batch, StepRows
from .drawn_map import DrawnMap, read_drawn_map
from .raw_channel import channel_options
from .recipe import TrainingRecipe

#: What random numbers are for, beside the stream that shuffles particles.
_IMAGES, _POWER = 101, 102
#: Images whose mean variance stands for the power of the signal, and how many at a time.
_IMAGES_FOR_POWER, _CHUNK = 512, 64


class DrawnParticles:
    """Makes the images of any step, preprocessed as those of the entry's files are.

    Parameters
    ----------
    recipe : with a section `simulation` that names a map
    entry : the half that is learned from, for its symmetry
    table : its particles: their CTFs and origins are drawn from, their box and pixel size are
        those of the images
    options : what is done to images

    Raises
    ------
    The errors of `cesped.training.drawn_map.read_drawn_map`.
    OptionError
        If CTFs are to be drawn from a range although the half has several microscopes.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        entry: EntryHalf,
        table: ParticleTable,
        options: PreprocessingOptions,
    ) -> None:
        self.map: DrawnMap = read_drawn_map(recipe.simulation, entry, table)
        self._settings = recipe.simulation
        self._seed = recipe.trainer.seed
        self._copies = recipe.augmentation.copies
        self._origins_angst = table.require_poses().origins_angst
        self._optics = self._optics_of(table)
        done = table.ctf_correction_done
        if done is not CtfCorrection.NONE:
            # drawn images come with their whole CTF; what was done to the particles is done here
            options = replace(options, ctf_correction=done)
        channels = channel_options(options, recipe.data.raw_channel)
        self._preprocessors = [Preprocessor(each, table.image_size) for each in channels]
        self._source: OnTheFly | None = None

    def _optics_of(self, table: ParticleTable) -> OpticsRanges | CtfParameters:
        ctf, defocus_angst = table.require_ctf(), self._settings.defocus_angst
        if defocus_angst is None:
            return ctf
        microscope = (ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast)
        if any(np.ptp(values) > 0 for values in microscope):
            raise OptionError(
                f"simulation.defocus_angst: {table.source} is of several microscopes; leave it "
                "out to draw from the CTFs of its particles"
            )
        voltage, aberration, contrast = (float(values[0]) for values in microscope)
        return OpticsRanges(
            defocus_angst,
            voltage_kv=voltage,
            spherical_aberration_mm=aberration,
            amplitude_contrast=contrast,
        )

    def source(self, device: torch.device | str) -> OnTheFly:
        """Return what draws on a device; made when it is first asked for."""
        if self._source is None or self._source.projector.device != torch.device(device):
            settings = self._settings
            projector = TorchProjector(self.map.volume, self.map.pixel_size_angst, device)
            own = settings.max_shift_px is None and settings.shift_sigma_px is None
            clean = OnTheFly(
                projector,
                max_shift_px=settings.max_shift_px or 0.0,
                optics=self._optics,
                spectrum=self.map.noise,
                shift_sigma_px=settings.shift_sigma_px,
                origins_angst=self._origins_angst if own else None,
            )
            self._source = replace(clean, noise_sigma=self._noise_sigma(clean))
        return self._source

    def _noise_sigma(self, clean: OnTheFly) -> float:
        """Return one deviation for all images, as an entry's particles have one."""
        generator = np.random.default_rng([self._seed, _POWER])
        power = [
            signal_variance(clean.draw(_CHUNK, generator).images).cpu()
            for _ in range(0, _IMAGES_FOR_POWER, _CHUNK)
        ]
        return noise_sigma(float(torch.cat(power).mean()), self.map.snr)

    @torch.no_grad()
    def draw(self, which: StepRows, device: torch.device | str) -> Batch:
        """Return a share of the batch of a step, on a device; only the number of rows counts.

        With `augmentation.copies` each image comes so often: they differ by augmentation.
        """
        count = len(which.rows) // self._copies
        generator = np.random.default_rng([self._seed, _IMAGES, which.step, which.share])
        made = self.source(device).draw(count, generator)
        pixel_size_angst = self.map.pixel_size_angst
        channels = [each(made.images, made.ctf, pixel_size_angst) for each in self._preprocessors]
        copies = self._copies
        return Batch(
            torch.stack(channels, dim=1).repeat(copies, 1, 1, 1),
            made.rotations.repeat(copies, 1, 1),
            torch.ones(count * copies, device=device),
            made.origins_angst.repeat(copies, 1),
            which.step,
            which.share,
        )
