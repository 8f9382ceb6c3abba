"""Composing a configuration from the files in `conf/`.

Imports neither torch nor lightning, so that a command can answer `--help` at once.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from vae_lightning.config.resolvers import register_resolvers
from vae_lightning.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries the folder inside the package; a source checkout has it at the top.
CONF_DIR = next(
    folder
    for folder in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")
    if (folder / "train.yaml").is_file()
)


def compose(config_name: str, overrides: Sequence[str] = (), with_hydra: bool = False) -> Any:
    """Compose a configuration without running a job.

    Args:
        config_name: a file at the top of `conf/`, without its ending.
        overrides: as on the command line.
        with_hydra: keep Hydra's settings, under the key `hydra`.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register_resolvers()
    # Inside a job Hydra is initialized already, with the folder of `--config-dir`.
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra_compose(config_name, list(overrides), return_hydra_config=with_hydra)


def to_container(config: Any) -> Any:
    """Convert to plain dicts and lists, with all interpolations resolved.

    Raises:
        ConfigError: an interpolation cannot be resolved, or a value is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
