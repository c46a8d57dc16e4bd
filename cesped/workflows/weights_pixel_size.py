"""Whether images have a pixel size that CryoFastAR weights know, before anything is computed."""

import os
from typing import TYPE_CHECKING

from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..data.particle_images import ParticleImages
    from ..data.preprocessing import Preprocessor
    from ..data.table import ParticleTable
    from ..models.cryofastar.pixel_sizes import PixelSizeFit
    from ..training.recipe import TrainingRecipe


def fit_of_images(
    images: "ParticleImages", weights: str | os.PathLike[str]
) -> "PixelSizeFit | None":
    """Return how the images of `cesped abinitio` suit a file of weights.

    Parameters
    ----------
    images : as the network is given them.
    weights : that it was read from.

    Returns
    -------
    None if the weights do not say what they learned from.
    """
    return _fit(images.table, images.preprocessor, weights, "--image-size")


def warning_of_training(
    target: str,
    halfset: int,
    recipe: "TrainingRecipe",
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> str | None:
    """Return what is wrong with an entry's pixel size for the weights that a recipe begins with.

    Parameters
    ----------
    target, halfset : entry and half that are learned from.
    recipe : how.
    benchmark_dir : folder of the entries.
    progress : told of an entry that is made.

    Returns
    -------
    None if nothing is wrong, or weights do not say what they learned from.

    Raises
    ------
    EntryNotFoundError, StarFileError, MetadataError, CheckpointError
        If entry or weights cannot be read.
    """
    weights = recipe.model.options.get("weights")
    if recipe.model.name != "cryofastar" or weights is None:
        return None
    from ..data.conventions import read_particle_table
    from ..data.opening import open_entry
    from ..data.preprocessing import Preprocessor
    from ..models.cryofastar.pixel_sizes import states_pixel_sizes
    from ..training.prepared import preprocessing_from_recipe

    if not states_pixel_sizes(weights):
        return None
    entry, data = open_entry(target, halfset, benchmark_dir, progress), recipe.data
    table = read_particle_table(entry.star_path, entry.root_dir)
    options = preprocessing_from_recipe(
        data.image_size,
        data.image_size_factor_for_crop,
        data.ctf_correction,
        data.apply_perImg_normalization,
    )
    fit = _fit(table, Preprocessor(options, table.image_size), weights, "--data.image_size")
    return None if fit is None else fit.warning


def _fit(
    table: "ParticleTable",
    prepared: "Preprocessor",
    weights: str | os.PathLike[str],
    option: str,
) -> "PixelSizeFit | None":
    from ..models.cryofastar.pixel_sizes import pixel_size_fit

    return pixel_size_fit(
        weights,
        float(prepared.pixel_size_after(table.sampling_rate)),
        prepared.image_size,
        table.image_size,
        option,
    )
