"""What a process needs before it composes or runs anything."""

import warnings

from vae_lightning.cli.lightning_settings import quiet_lightning
from vae_lightning.config.resolvers import register_resolvers


def set_up() -> None:
    """Register the resolvers of `conf/`, and have warnings printed in one line."""
    register_resolvers()
    quiet_lightning()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
