"""The errors labelseg raises. Each knows the exit code that the command line returns for it."""


class LabelsegError(Exception):
    """Base of all errors meant for a person: one line that names the subject, what was expected, what was found and the next command."""

    exit_code = 1


class UsageError(LabelsegError, ValueError):
    """An option, a parameter or a configuration key is wrong."""

    exit_code = 2


class DataError(LabelsegError, ValueError):
    """An image, a mask, a label list or a weight file is not what it should be."""


class MissingArtifactError(LabelsegError, LookupError):
    """A stage needs an artifact that does not exist."""


class ArtifactError(LabelsegError, RuntimeError):
    """An artifact exists but cannot be read as what it claims to be."""


class DiskFullError(LabelsegError, OSError):
    """There is no room for what is to be written."""


class OutOfMemoryError(LabelsegError, MemoryError):
    """Memory ran out, that of the machine or of a GPU."""


class DamageError(ArtifactError):
    """Bytes of an artifact are not what was written."""


class MissingExtraError(LabelsegError, ImportError):
    """An optional package is needed and not installed."""


class ItemsFailedError(LabelsegError):
    """A map stage finished, but some of its items failed."""

    exit_code = 3


class NotFreshError(LabelsegError):
    """Something asked for as fresh is not."""

    exit_code = 4


class LockedError(LabelsegError, BlockingIOError):
    """Another process works on the same workspace."""

    exit_code = 5


class WaitingError(LabelsegError):
    """The pipeline waits for answers from a person."""

    exit_code = 6


class OvertakenError(LabelsegError, BlockingIOError):
    """Another machine published something else to the same object store first."""

    exit_code = 5


class UnreachableError(LabelsegError, ConnectionError):
    """An object store does not answer, or refuses what is asked of it."""

    exit_code = 7
