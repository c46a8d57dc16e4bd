"""Every error this package raises on purpose.

Each type is also a builtin, so code written for `ValueError` or `LookupError` keeps working.
A message says what was found, where (file and row, counted from 1), and what to do.
"""


class CespedError(Exception):
    """Base of all errors raised on purpose by this package."""


class OptionError(CespedError, ValueError):
    """An argument or configuration value outside its closed set or range."""


class StarFileError(CespedError, ValueError):
    """A star file that cannot be read: truncated, malformed, or without the needed table."""


class MetadataError(CespedError, ValueError):
    """Columns that are missing, contradict each other, or hold values that cannot be true."""


class MrcFileError(CespedError, ValueError):
    """An MRC volume or stack whose header or size is wrong."""


class CsFileError(CespedError, ValueError):
    """A CryoSPARC `.cs` file that cannot be read, or lacks a field that is needed."""


class PickleFileError(CespedError, ValueError):
    """A pickle that is damaged, or holds more than plain data; nothing of it was run."""


class StructureFileError(CespedError, ValueError):
    """A file of atoms that cannot be read, or holds none."""


class ShardError(CespedError, ValueError):
    """A shard that was cut, is damaged, or is none."""


class MissingFileError(CespedError, FileNotFoundError):
    """An input file that does not exist."""


class MissingImageError(MissingFileError):
    """A star file row that names an image which does not exist."""


class StaleImagesError(CespedError, ValueError):
    """Prepared images that are not whole, or no longer belong to what they were made from."""


class ImageValueError(CespedError, ValueError):
    """An image with NaN or infinite pixels, or with no contrast at all."""


class PixelSizeError(CespedError, ValueError):
    """Pixel sizes of the star file and of the image header that disagree."""


class GeometryError(CespedError, ValueError):
    """A matrix that is not a rotation, or an array of the wrong shape."""


class SymmetryError(CespedError, ValueError):
    """A point-group name that is not known."""


class EntryNotFoundError(CespedError, LookupError):
    """A benchmark entry that is not in the benchmark folder."""


class EntryExistsError(CespedError, FileExistsError):
    """A file or entry that would be overwritten."""


class SubmissionError(CespedError, ValueError):
    """A submission that cannot be read, or holds what no submission may hold."""


class FigureNotFoundError(CespedError, LookupError):
    """A figure that an evaluation does not hold."""


class IdMismatchError(CespedError, ValueError):
    """Predictions whose particle ids are missing, doubled, or foreign."""


class CheckpointError(CespedError, ValueError):
    """A model checkpoint that is unreadable or belongs to something else."""


class DivergedError(CespedError, ArithmeticError):
    """A training whose weights or losses are no longer numbers."""


class ModelNotFoundError(CespedError, LookupError):
    """A model name that no registry entry carries."""


class DiskFullError(CespedError, OSError):
    """The disk filled up while a file was being written; the file was removed."""


class UnwritableError(CespedError, OSError):
    """A place where no file can be written: a folder, below a file, closed or read-only."""


class ProgramNotFoundError(CespedError, FileNotFoundError):
    """An external program (RELION, MPI, a container engine) that is not installed."""


class ProgramError(CespedError, RuntimeError):
    """An external program that failed; the message holds the end of its log."""


class MissingExtraError(CespedError, ImportError):
    """An optional library that is needed here; the message names the extra to install."""


class DownloadError(CespedError, ConnectionError):
    """A file that could not be fetched; what has been fetched of it is kept."""


class ServerBusyError(DownloadError):
    """A server that fails for now, or asks to come back later.

    Attributes
    ----------
    wait_s : how long it asked to wait [s], None if it did not say
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RecordError(CespedError, ValueError):
    """A published record that does not list what an entry needs, or lists what is unsafe."""


class ChecksumError(CespedError, ValueError):
    """A file whose checksum is not the published one."""


class RankError(CespedError, RuntimeError):
    """Another process of a job that several processes share has failed."""
