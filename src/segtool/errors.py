"""The errors of segtool.

Each message states what was found, what was expected, and what to do. ``exit_code`` is the exit code of the command.
"""


def reason_of(error: BaseException) -> str:
    """Return the message of an error; that of the operating system without its number and the name of the file."""
    return getattr(error, "strerror", None) or str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, below which libraries add traces and hints; else its type."""
    return (str(error).strip() or type(error).__name__).split("\n", maxsplit=1)[0].rstrip(".")


class SegtoolError(Exception):
    """An error that the user can fix; the base class of all errors of segtool."""

    exit_code = 1


class DataError(SegtoolError):
    """A data set or an image that cannot be used."""


class ModelFileError(SegtoolError):
    """A model file that is missing, damaged, of another kind, or unsafe to open."""


class ContractError(ModelFileError):
    """A model file whose segtool contract is missing, malformed or of a newer version."""


class ProviderError(SegtoolError):
    """A requested execution provider or device that does not run."""


class TrainingError(SegtoolError):
    """A training run that cannot start, resume or continue."""


class ExportError(SegtoolError):
    """A model that cannot be converted exactly."""


class OutputExistsError(SegtoolError):
    """An output that exists and must not be overwritten."""


class OutputWriteError(SegtoolError):
    """An output that could not be written, for example because the disk is full."""


class MissingExtraError(SegtoolError):
    """An optional dependency of this command that is not installed."""


class GateError(SegtoolError):
    """A gate (parity, accuracy, verification) that refused."""

    exit_code = 4
