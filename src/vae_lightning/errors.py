"""Errors that a user can fix: each message is one line that says what is wrong and what to do.

A command prints the line and exits with status 1, without a traceback.
"""


class UserError(Exception):
    """The base class of the errors below."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class DataError(UserError):
    """Data that is not available, or cannot be read."""


class CheckpointError(UserError):
    """A file that is not a checkpoint of this project, or not of this model."""


class DivergedError(UserError):
    """A loss that is no longer finite."""
