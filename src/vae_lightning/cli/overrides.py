"""Reading a command line: flags, overrides, and the jobs of a sweep."""

import argparse
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import (
    explain,
    first_line,
    left_out,
    no_option,
    no_section,
    no_such_option,
    quoted,
    unreadable,
)
from vae_lightning.cli.launchers import missing_launcher
from vae_lightning.cli.paths import quote_paths
from vae_lightning.config import CONF_DIR, compose
from vae_lightning.errors import ConfigError

# The keys that all jobs of a sweep share: they are not in the names of the jobs' folders.
FIXED_KEYS = "hydra.job.config.override_dirname.exclude_keys"


@dataclass
class CommandLine:
    """A command line, split into flags and overrides.

    Attributes:
        flags: Hydra's flags, as they were typed.
        overrides: the settings, `key=value`.
        help: `--help` is among the flags.
        topics: the groups, and `group=option`, of which `--help` is to show the keys.
        version: `--version` is among the flags.
        shows_hydra_itself: one of the flags is about Hydra itself, such as `--hydra-help`.
        informative: the flags ask Hydra for information, and nothing is run.
        multirun: `-m` is among the flags.
        config_dir: a further folder of configuration files.
        resumed: the line is that of a sweep that goes on in its folder.
    """

    flags: list[str]
    overrides: list[str]
    help: bool
    topics: list[str]
    version: bool
    shows_hydra_itself: bool
    informative: bool
    multirun: bool
    config_dir: str | None
    resumed: bool = False

    @property
    def arguments(self) -> list[str]:
        """Flags and overrides, in the form of `sys.argv[1:]`."""
        return [*self.flags, *self.overrides]

    def replaced(self, group: str, option: str, other: str) -> list[str]:
        """The overrides, with one option of a group replaced by another."""
        prefix = f"{group}="
        if not any(item.startswith(prefix) for item in self.overrides):  # an experiment chose it
            return [*self.overrides, f"{prefix}{other}"]
        return [
            re.sub(rf"\b{option}\b", other, item) if item.startswith(prefix) else item
            for item in self.overrides
        ]


def parse(arguments: Sequence[str]) -> CommandLine:
    """Split a command line into flags and overrides.

    Raises:
        ConfigError: an unknown flag, or flags that exclude each other.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    for names in (("--hydra-help",), ("--shell-completion", "-sc")):
        parser.add_argument(*names, action="store_true", dest="other")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("overrides", nargs="*")
    found, others = parser.parse_known_intermixed_args(arguments)
    unknown = [argument for argument in others if argument.startswith("-")]
    if unknown and not found.other:
        raise ConfigError(
            f"{unknown[0]} is not a flag: settings are written key=value, "
            "as in model.latent_dim=20; --help lists them"
        )
    if found.multirun and (found.cfg or found.info) and not found.help:
        raise ConfigError("--cfg and --info show a single job without running it: leave out -m")
    overrides = found.overrides + others
    flags = [argument for argument in arguments if argument not in overrides]
    topics = []
    if found.help:
        topics = [item for item in overrides if "=" not in item and not item.startswith("~")]
        overrides = [item for item in overrides if item not in topics]
    return CommandLine(
        flags=flags,
        overrides=[quote_paths(item) for item in overrides],
        help=found.help,
        topics=topics,
        version=found.version,
        shows_hydra_itself=found.other,
        informative=bool(found.other or found.cfg or found.info),
        multirun=found.multirun,
        config_dir=found.config_dir,
    )


def jobs(config_name: str, line: CommandLine) -> Iterator[Any]:
    """The composed configuration of each job: one, or all that a sweep will run.

    Raises:
        ConfigError: an override that cannot be parsed, or that does not fit.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    overrides: list[str] = line.overrides
    try:
        config = compose_job(config_name, line, without_sweeps(overrides))
    except ConfigError as error:
        raise _of_swept_options(config_name, line) or error from error
    swept = dict(config.hydra.sweeper.get("params") or {})
    if not is_sweep(config.hydra):
        if swept and not any(item.startswith("hydra.mode=") for item in overrides):
            raise ConfigError(
                f"{', '.join(swept)} has several values: add -m to run one job for each"
            )
        # Several values of a key, which Hydra refuses without -m.
        several = without_sweeps(overrides) != overrides
        yield compose_job(config_name, line, overrides) if several else config
        return
    overrides = [*(f"{key}={value}" for key, value in swept.items()), *overrides]
    # In the order of Hydra, which numbers the jobs: a key that is repeated keeps its first place.
    choices: dict[str, list[str]] = {}
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for override in _parsed(overrides, loader):
            key = override.get_key_element()
            if override.is_interval_sweep() and lists_jobs(config.hydra):
                raise ConfigError(f"{key} is swept over an interval: list its values instead")
            if override.is_sweep_override():
                values = _values(override)
                if not values:
                    raise ConfigError(f"{override.input_line} is a sweep over no values")
                choices[key] = [f"{key}={value}" for value in values]
            else:
                choices[key] = [str(override.input_line)]
    fixed = f"{FIXED_KEYS}=[{','.join(fixed_keys(overrides))}]"
    for combination in itertools.product(*choices.values()):
        yield compose_job(config_name, line, [*combination, fixed])


def lists_jobs(settings: Any) -> bool:
    """Whether a sweep runs each combination of values, rather than those that a sweeper chooses.

    Args:
        settings: under the key `hydra`.
    """
    return str(settings.sweeper._target_).endswith(".BasicSweeper")


def fixed_keys(overrides: Sequence[str]) -> list[str]:
    """The keys with one value among the overrides of a sweep."""
    parsed = _parsed(overrides)
    swept = {item.key_or_group for item in parsed if item.is_sweep_override()}
    keys = dict.fromkeys(item.key_or_group for item in parsed if item.key_or_group not in swept)
    return [key for key in keys if key.partition(".")[0] != "hydra"]


def _values(override: Any) -> list[str]:
    """The values of a key that is swept; of an interval its ends."""
    if override.is_interval_sweep():
        interval = override.value()
        return [str(interval.start), str(interval.end)]
    return list(override.sweep_string_iterator())


def _of_swept_options(config_name: str, line: CommandLine) -> ConfigError | None:
    """The error for a key that only some options of a swept group have.

    Hydra composes the overrides that all jobs share before it composes any single job.
    """
    swept = [item.key_or_group for item in _parsed(line.overrides) if item.is_sweep_override()]
    sections = tuple(f"{group.replace('/', '.')}." for group in swept)
    common = without_sweeps(line.overrides)
    below = [item for item in common if item.startswith(sections)]
    if not below:
        return None
    try:
        compose_job(config_name, line, [item for item in common if item not in below])
    except ConfigError:  # something else is wrong as well
        return None
    keys, settings = (" and ".join(texts) for texts in (
        [item.partition("=")[0] for item in below], [f"++{item}" for item in below]
    ))  # fmt: skip
    return ConfigError(f"{keys}: not all swept options have this key: write {settings}")


def is_sweep(settings: Any) -> bool:
    """Whether the settings under the key `hydra` belong to a sweep."""
    return str(settings.mode) == "RunMode.MULTIRUN"


def without_sweeps(overrides: Sequence[str]) -> list[str]:
    """The overrides that all jobs of a sweep share.

    Raises:
        ConfigError: an override that cannot be parsed.
    """
    return [str(item.input_line) for item in _parsed(overrides) if not item.is_sweep_override()]


def _parsed(overrides: Sequence[str], config_loader: Any = None) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create(config_loader).parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(unreadable(error.override, str(error))) from error
    for item in parsed:
        if not item.key_or_group:
            raise ConfigError(unreadable(str(item.input_line), ""))
    return parsed


def compose_job(config_name: str, line: CommandLine, overrides: Sequence[str]) -> Any:
    """Compose one job, including the settings under `hydra`.

    Raises:
        ConfigError: Hydra cannot compose it; the message is one line, with the nearest name.
    """
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    overrides = list(overrides)
    if line.config_dir:
        place = f"file://{Path(line.config_dir).resolve()}"
        overrides.append(f"hydra.searchpath=[{quoted(place)}]")
    if line.multirun:
        overrides.append("hydra.mode=MULTIRUN")
    try:
        config = compose(config_name, overrides, with_hydra=True)
    except MissingConfigException as error:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if message := missing_launcher(group, option):
            raise ConfigError(message) from error
        if not error.options:
            raise ConfigError(first_line(error)) from error
        raise ConfigError(no_such_option(group, option, error.options)) from error
    except ValueError as error:  # Hydra's answer to group=null
        raise ConfigError(no_option(_parsed(overrides)) or first_line(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, config_name, overrides)) from error
    if message := no_section(config) or left_out(config, _parsed(overrides)):
        raise ConfigError(message)
    return config
