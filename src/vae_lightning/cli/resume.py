"""Going on with what was stopped: the command for a run, and a sweep from its folder."""

import shlex
import sys
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.overrides import FIXED_KEYS, CommandLine, is_sweep
from vae_lightning.cli.paths import relative
from vae_lightning.errors import ConfigError

# The resumed run gets its own folder.
_DROPPED = ("ckpt_path=", "hydra.run.dir=")

_KEY = "resume="
# What is set anew when a sweep goes on.
_OF_ONE_START = ("hydra.mode", "hydra.sweep.dir", FIXED_KEYS)


def resume_command(checkpoint: Path) -> str | None:
    """The shell command that resumes from a checkpoint with the settings of the current run.

    None for a job of a sweep: the sweep is resumed as a whole.
    """
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized() and is_sweep(HydraConfig.get()):
        return None
    arguments = [item for item in sys.argv[1:] if not item.lstrip("+").startswith(_DROPPED)]
    setting = f"ckpt_path={quoted(str(checkpoint))}"
    return shlex.join(["python", "-m", _module(), *arguments, setting])


def resume_sweep_command(folder: Path) -> str:
    """The shell command that goes on with a sweep."""
    return shlex.join(["python", "-m", _module(), f"{_KEY}{quoted(str(relative(folder)))}"])


def with_resumed_sweep(command: str, line: CommandLine) -> CommandLine:
    """The command line of the sweep that the key `resume` names; else the given one.

    Settings under `hydra` may be added, such as another launcher.

    Args:
        command: such as `train`.
        line: as it was typed.

    Raises:
        ConfigError: the folder holds no sweep, or one of another command; or other settings are
            given.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    named = [item for item in line.overrides if item.lstrip("+").startswith(_KEY)]
    if not named or line.informative or line.help:
        return line
    (parsed,) = OverridesParser.create().parse_overrides(named[-1:])
    if parsed.value() is None:
        return line
    folder = Path(str(parsed.value())).expanduser()
    added = [item for item in line.overrides if item not in named]
    if others := [item for item in added if not item.lstrip("+~").startswith("hydra")]:
        raise ConfigError(
            f"{others[0]} does not go with resume: the jobs of {folder} keep their settings; only "
            "those of hydra can be added, such as hydra/launcher=joblib"
        )
    file = folder / "multirun.yaml"
    if not file.is_file():
        single = (folder / ".hydra").is_dir() and not (folder.parent / "multirun.yaml").is_file()
        raise ConfigError(
            f"{folder} {'holds no sweep' if folder.is_dir() else 'does not exist'}: "
            + (
                "to resume a run, set ckpt_path, with the settings of the run"
                if single
                else "name the folder of a sweep, as in resume=outputs/train/multiruns/<time>"
            )
        )
    recorded: Any = OmegaConf.load(file)
    if recorded.hydra.job.config_name != command:
        raise ConfigError(f"{folder} is a sweep of {recorded.hydra.job.config_name}")
    replaced = {*_OF_ONE_START, *map(_key, added)}
    kept = [one for one in recorded.hydra.overrides.hydra if _key(one) not in replaced]
    if "hydra/launcher" in replaced:  # another one has other settings
        kept = [one for one in kept if not _key(one).startswith("hydra.launcher.")]
    place = f"hydra.sweep.dir={quoted(str(folder))}"
    line.overrides = [*recorded.hydra.overrides.task, *kept, *added, place]
    line.multirun = line.resumed = True
    return line


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    # A script or a notebook that calls the command from Python is another module.
    command = spec is not None and spec.name.startswith("vae_lightning.")
    return spec.name if spec and command else "vae_lightning.train"
