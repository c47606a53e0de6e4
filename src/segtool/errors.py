"""The errors that segtool raises on purpose.

Each message is one sentence that a user can act on: what was found, what was expected, what to do.
``exit_code`` is what the command line returns for it.
"""


class SegtoolError(Exception):
    """Something that the user can mend; the base of every error segtool raises on purpose."""

    exit_code = 1


class DataError(SegtoolError):
    """A data set or an image that cannot be used as it is."""


class ModelFileError(SegtoolError):
    """A model file that is missing, damaged, of another kind, or unsafe to open."""


class ContractError(ModelFileError):
    """A model file whose segtool contract is missing, malformed or of a newer version."""


class ProviderError(SegtoolError):
    """An execution provider or a device that was asked for and does not run."""


class TrainingError(SegtoolError):
    """A training run that cannot start, continue or go on."""


class ExportError(SegtoolError):
    """A model that cannot be converted exactly."""


class OutputExistsError(SegtoolError):
    """An output that is already there and was not to be overwritten."""


class OutputWriteError(SegtoolError):
    """An output that could not be written, for example because the disk is full."""


class MissingExtraError(SegtoolError):
    """An optional dependency that this command needs and that is not installed."""


class GateError(SegtoolError):
    """A gate (parity, accuracy, verification) that refused."""

    exit_code = 4
