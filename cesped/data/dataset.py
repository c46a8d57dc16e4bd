"""`ParticlesDataset`: one half of a benchmark entry, by the names of the CESPED paper."""

from __future__ import annotations

import os

from cesped.data.opening import open_entry
from cesped.data.registry import benchmark_entries
from cesped.data.star_dataset import ParticlesRelionStarDataset
from cesped.data.store import EntryStore, check_halfset, default_benchmark_dir
from cesped.progress_bars import library_progress

__all__ = ["ParticlesDataset", "ParticlesRelionStarDataset"]


class ParticlesDataset(ParticlesRelionStarDataset):
    """One half of a benchmark entry.

    Parameters
    ----------
    targetName : name of the entry; DEMO and DEMO-D2 are simulated on first use, published ones
        are downloaded
    halfset : 0 or 1
    benchmarkDir : folder of entries; CESPED_BENCHMARK_DIR or the user's data folder when None
    image_size : final size of the images [px]; that of the stack when None
    apply_perImg_normalization : mean 0 and deviation 1 outside the inscribed circle
    ctf_correction : "phase_flip", "none", "ctf_multiply" or "wiener"
    image_size_factor_for_crop : share of the box that is cut off before resizing, 0 to 0.5

    Raises
    ------
    EntryNotFoundError
        If there is no such entry, or downloads are forbidden.
    DownloadError, RecordError, ChecksumError, EntryExistsError, DiskFullError
        If the entry cannot be fetched; the next call goes on from where this one stopped.
    OptionError, SymmetryError, StarFileError, MetadataError, MissingImageError, MrcFileError,
    PixelSizeError
        As `ParticlesRelionStarDataset`.
    """

    def __init__(
        self,
        targetName: str | os.PathLike[str],
        halfset: int,
        benchmarkDir: str | os.PathLike[str] | None = None,
        image_size: int | None = None,
        apply_perImg_normalization: bool = True,
        ctf_correction: str = "phase_flip",
        image_size_factor_for_crop: float = 0.25,
    ):
        self.targetName = str(targetName)
        self.halfset = check_halfset(halfset)
        self.benchmarkDir = str(default_benchmark_dir(benchmarkDir))
        # nobody was asked whether to watch: fetching an entry takes hours, and silence looks dead
        watcher = library_progress()
        self._entry = open_entry(self.targetName, self.halfset, self.benchmarkDir, watcher)
        super().__init__(
            self._entry.star_path,
            self._entry.root_dir,
            self._entry.symmetry,
            image_size=image_size,
            perImg_normalization="noiseStats" if apply_perImg_normalization else "none",
            ctf_correction=ctf_correction,
            image_size_factor_for_crop=image_size_factor_for_crop,
        )

    @property
    def datadir(self) -> str:
        """Folder of the entry."""
        return str(self._entry.star_path.parent)

    @classmethod
    def getCESPEDEntries(cls) -> list[tuple[str, int]]:
        """Return all `(targetName, halfset)` of the benchmark, here or not."""
        return benchmark_entries()

    @classmethod
    def getLocallyAvailableEntries(
        cls, benchmarkDir: str | os.PathLike[str] | None = None
    ) -> list[tuple[str, int]]:
        """Return the `(targetName, halfset)` that are in `benchmarkDir`."""
        return EntryStore(benchmarkDir).list()

    @classmethod
    def addNewEntryLocally(
        cls,
        starFname: str | os.PathLike[str],
        particlesRootDir: str | os.PathLike[str],
        newTargetName: str | os.PathLike[str],
        halfset: int,
        symmetry: str,
        benchmarkDir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Add particles of one's own as half of an entry; see `EntryStore.add`, which raises.

        The images stay where they are, and the particle ids as they were.
        """
        store = EntryStore(benchmarkDir)
        store.add(starFname, particlesRootDir, newTargetName, halfset, symmetry)
