"""From `conf/` to objects: compose, check, instantiate. Imports neither torch nor lightning."""

from vae_lightning.config.checks import check_keys, check_section, check_type
from vae_lightning.config.composition import CONF_DIR, compose, to_container
from vae_lightning.config.guesses import nearest
from vae_lightning.config.instantiation import check_node, instantiate

__all__ = [
    "CONF_DIR",
    "check_keys",
    "check_node",
    "check_section",
    "check_type",
    "compose",
    "instantiate",
    "nearest",
    "to_container",
]
