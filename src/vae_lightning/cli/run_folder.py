"""The output folder of a run or a sweep."""

import re
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import first_line
from vae_lightning.cli.overrides import is_sweep
from vae_lightning.errors import ConfigError
from vae_lightning.utils.rank import of_first_process, rank

# Overrides by which users name the folder. Any other folder gets a number if the name is taken.
_NAMED_BY = ("hydra.run.dir=", "hydra.sweep.dir=", "output_dir=")

# What the commands leave in the folder of a run.
_RESULTS = ("checkpoints/*.ckpt", "metrics.json", "generate.json", "detect.json", "model.json")


def folder_key(config: Any) -> str:
    """The key that sets where the results of a command go."""
    return "output_dir" if "output_dir" in config else "paths.output_dir"


class OutputFolder:
    """The folder that a run, or a sweep, writes to.

    The default name is the time in seconds. Of two runs that start in the same second, the later
    one gets the suffix `_2`. A folder that the user named is used as it is.

    Args:
        config: composed, including the settings under `hydra`.
        overrides: of the command line.
        resumed: it holds the sweep that goes on.

    Raises:
        ConfigError: the name depends on a key that is missing.
    """

    def __init__(self, config: Any, overrides: Sequence[str], resumed: bool = False) -> None:
        from omegaconf.errors import OmegaConfBaseException

        self._resumed = resumed
        self._sweep = is_sweep(config.hydra)
        self._key = folder_key(config)
        self._named_by = [
            key for key in _NAMED_BY if any(item.lstrip("+").startswith(key) for item in overrides)
        ]
        try:
            self._task_name = Path(str(config.task_name))
            path = Path(config.hydra.sweep.dir if self._sweep else config.hydra.run.dir)
        except OmegaConfBaseException as error:
            line = first_line(error)
            if match := re.fullmatch("Interpolation key '(.+)' not found", line):
                line = f"{match[1]} cannot be left out: this command needs it"
            raise ConfigError(line) from error
        self.path = path if self._named_by else Path(of_first_process(str(_unused(path))))
        if not self._sweep and config.get("train") and config.get("ckpt_path") is not None:
            # A run may go on in the folder that holds its checkpoint.
            checkpoint = Path(str(config.ckpt_path)).expanduser().absolute()
            self._resumed = checkpoint.is_relative_to(self.path.absolute())

    def set_in(self, config: Any) -> None:
        """Set the folder in a composed configuration, so that objects are built with it."""
        from omegaconf import read_write

        if self._sweep:
            # The jobs are only checked now; Hydra composes each again, with its own folder.
            config.paths.run_dir = "unused"
            return
        with read_write(config.hydra):
            config.hydra.run.dir = str(self.path)
        config.paths.run_dir = str(self.path.absolute())

    def check(self) -> None:
        """Refuse a folder that cannot be created, or that holds results of another run.

        Raises:
            ConfigError: the message says why, and what to set.
        """
        path, task = self.path, self._task_name
        if task.is_absolute() or ".." in task.parts:
            raise ConfigError(
                f"task_name={task} leads out of {self._key}: name a folder inside of it"
            )
        if path.parts[:1] == ("~",):
            raise ConfigError(f"{path} would be a folder named ~: write {path.expanduser()}")
        if "output_dir=" in self._named_by and path.exists() and not _is_free(path):
            raise ConfigError(f"output_dir={path} already exists: name a new folder")
        try:
            existing = next(folder for folder in (path, *path.parents) if folder.exists())
            with tempfile.TemporaryDirectory(dir=existing):
                pass
        except OSError as error:
            raise ConfigError(
                f"the folder {path} cannot be created: {error.strerror}: set {self._key} to a "
                "folder that can be written"
            ) from error
        if self._resumed:
            return
        jobs = "*/" if self._sweep else ""
        if any(file for name in _RESULTS for file in path.glob(jobs + name)):
            held = "a sweep" if self._sweep else "a run"
            resumes = self._sweep and self._key == "paths.output_dir"
            way_on = f", or write resume={path} to go on with it" if resumes else ""
            raise ConfigError(
                f"{path} already holds {held}, which this one would overwrite: name a new "
                f"folder{way_on}"
            )

    def make(self) -> bool:
        """Create the folder; return False if another run has created it in the meantime."""
        # The first process alone knows whether it was another run, or another process of this one.
        made = rank() > 0 or self._make()
        return of_first_process(str(made)) == str(True)

    def _make(self) -> bool:
        try:
            self.path.mkdir(parents=True, exist_ok=bool(self._named_by))
        except FileExistsError:
            return False
        return True


def job_folders(configs: Sequence[Any]) -> list[Path]:
    """The folders of all jobs of a sweep, in that of the sweep.

    Args:
        configs: of all jobs, composed, including the settings under `hydra`.

    Raises:
        ConfigError: two jobs would overwrite each other.
    """
    from omegaconf import read_write

    folders = []
    for number, config in enumerate(configs):
        with read_write(config.hydra):
            config.hydra.job.num = number
        folders.append(Path(str(config.hydra.sweep.subdir)))
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(
                f"hydra.sweep.subdir={folder} is the folder of several jobs: leave it out, or add "
                "the number of the job, as in 'hydra.sweep.subdir=${hydra.job.num}'"
            )
    return folders


def _unused(path: Path) -> Path:
    names = (path if number == 1 else Path(f"{path}_{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def _is_free(folder: Path) -> bool:
    # What a run leaves behind when it is stopped.
    return folder.is_dir() and all(
        item.name == ".hydra" or item.suffix == ".log" for item in folder.iterdir()
    )
