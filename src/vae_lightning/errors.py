"""Errors that a user can mend: each message is one line that says what, where, and what would do.

A command prints the line and exits with status 1, without a traceback.
"""


class UserError(Exception):
    """Base of the errors below."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class DataError(UserError):
    """Data that cannot be had, or cannot be read."""


class CheckpointError(UserError):
    """A file that is no checkpoint of this project, or not of this model."""


class DivergedError(UserError):
    """A loss that stopped being finite."""
