"""Exceptions a user can meet. Each message says what was given, what was expected and what to do next."""


class FlatselectError(Exception):
    """Base of every error whose message is meant for a user: the command line prints it without a traceback."""


class ConfigError(FlatselectError):
    """A study file, an override or an option that does not say what it must."""


class DataError(FlatselectError):
    """A data set that is missing, corrupt or does not fit the study."""


class ModelError(FlatselectError):
    """A model that cannot be found or built."""


class UnsupportedHeadError(ModelError):
    """A network whose end the mathematics of relative GAP flatness does not cover; the message names the layer.

    Attributes:
        layer: One that can be measured by its name all the same; None where none is known.
    """

    def __init__(self, message: str, layer: str | None = None) -> None:
        super().__init__(message)
        self.layer = layer


class NonFiniteError(FlatselectError):
    """A loss, a weight or an activation that is NaN or infinite."""


class CheckpointError(FlatselectError):
    """A checkpoint that is missing, truncated or belongs to something else."""


class ExportError(FlatselectError):
    """A model that cannot be written in a format, or whose written file would not compute what the model does."""


class CalibrationError(FlatselectError):
    """A calibrator that cannot be fitted, read or applied."""


class StoreError(FlatselectError):
    """A database that cannot be reached, is of another version, or does not hold what was asked for."""


class SearchError(FlatselectError):
    """A search that cannot start or had to stop."""
