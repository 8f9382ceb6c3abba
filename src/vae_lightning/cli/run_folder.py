"""The folder of a run or a sweep: its name, whether it can be made, and making it."""

import re
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import first_line, quoted
from vae_lightning.cli.overrides import is_sweep
from vae_lightning.errors import ConfigError

# Overrides by which a user names the folder himself; any other name gets a number if it is taken.
_NAMED_BY = ("hydra.run.dir=", "hydra.sweep.dir=", "output_dir=")


def folder_key(config: Any) -> str:
    """The key by which a user chooses where the results of a command go."""
    return "output_dir" if "output_dir" in config else "paths.output_dir"


class OutputFolder:
    """Where a run, or all jobs of a sweep, will write.

    Two runs that start in the same second would have one folder; the second gets `..._2`. A folder
    that the user named is taken as it is.

    Args:
        config: composed, Hydra's settings included.
        overrides: of the command line.

    Raises:
        ConfigError: the name depends on something that is missing.
    """

    def __init__(self, config: Any, overrides: Sequence[str]) -> None:
        from omegaconf.errors import OmegaConfBaseException

        self._sweep = is_sweep(config.hydra)
        self._key = folder_key(config)
        self._named_by = [
            key for key in _NAMED_BY if any(item.lstrip("+").startswith(key) for item in overrides)
        ]
        try:
            path = Path(config.hydra.sweep.dir if self._sweep else config.hydra.run.dir)
        except OmegaConfBaseException as error:
            line = first_line(error)
            if match := re.fullmatch("Interpolation key '(.+)' not found", line):
                line = f"{match[1]} cannot be left out: this command needs it"
            raise ConfigError(line) from error
        self.path = path if self._named_by else _unused(path)

    @property
    def override(self) -> str:
        """What tells Hydra to use this folder."""
        key = "hydra.sweep.dir" if self._sweep else "hydra.run.dir"
        return f"{key}={quoted(str(self.path))}"

    def set_in(self, config: Any) -> None:
        """Write the name into a composed configuration, for those who build from it."""
        from omegaconf import read_write

        if self._sweep:
            # Only checked now; the jobs are composed once more, each with its own folder.
            config.paths.run_dir = "unused"
            return
        with read_write(config.hydra):
            config.hydra.run.dir = str(self.path)
        config.paths.run_dir = str(self.path.absolute())

    def check(self, trains: bool) -> None:
        """Refuse a folder that cannot be made, or that holds another run.

        Raises:
            ConfigError: the message says why, and what to set.
        """
        path = self.path
        if path.parts[:1] == ("~",):
            raise ConfigError(f"{path} would be a folder named ~: write {path.expanduser()}")
        if "output_dir=" in self._named_by and path.exists() and not _is_free(path):
            raise ConfigError(f"output_dir={path} exists already: name a new folder")
        try:
            existing = next(folder for folder in (path, *path.parents) if folder.exists())
            with tempfile.TemporaryDirectory(dir=existing):
                pass
        except OSError as error:
            raise ConfigError(
                f"the folder {path} cannot be made: {error.strerror}: set {self._key} to where "
                "one can"
            ) from error
        if trains and ((path / "metrics.json").exists() or any(path.glob("checkpoints/*.ckpt"))):
            raise ConfigError(f"{path} holds a run already, which this one would overwrite")

    def make(self) -> bool:
        """Make the folder; return False where another process has just made it."""
        try:
            self.path.mkdir(parents=True, exist_ok=bool(self._named_by))
        except FileExistsError:
            return False
        return True


def _unused(path: Path) -> Path:
    names = (path if number == 1 else Path(f"{path}_{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def _is_free(folder: Path) -> bool:
    # What Hydra leaves of a run that stopped is not in the way.
    return folder.is_dir() and all(item.name == ".hydra" for item in folder.iterdir())
