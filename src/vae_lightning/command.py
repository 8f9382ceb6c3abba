"""What every command shares: check all jobs first, then let Hydra run them; errors in one line."""

import argparse
import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vae_lightning.config import CONF_DIR, compose, instantiate, nearest, to_container
from vae_lightning.errors import ConfigError, DataError, UserError

Config = dict[str, Any]


def run(
    config_name: str, check: Callable[[Config], Any], task: Callable[[Config], float | None]
) -> None:
    """Run a command as its user typed it.

    Every job that the command line asks for is composed and checked before the first one starts,
    so that a mistake costs no time and leaves no files.

    Args:
        config_name: a file at the top of `conf/`, without its ending.
        check: refuses a resolved configuration that cannot run, with a `UserError`; no side effect.
        task: runs one; what it returns is what a sweeper optimises.
    """
    import hydra

    failed = False

    def job(config: Any) -> float | None:
        nonlocal failed
        _announce_job()
        try:
            return task(to_container(config))
        except UserError as error:
            # A sweep goes on with its other jobs.
            failed = True
            _show(error)
            return None

    try:
        flags = _parse(sys.argv[1:])
        if not flags.informative:
            sys.argv[1:] = [*flags.rest, *_checked(config_name, flags, check)]
        elif not flags.help:
            _compose(config_name, flags, _without_sweeps(flags.overrides))
    except UserError as error:
        _show(error)
        sys.exit(1)
    hydra.main(config_path=str(CONF_DIR), config_name=config_name, version_base="1.3")(job)()
    if failed:
        sys.exit(1)


def _announce_job() -> None:
    """In a sweep, say which job begins."""
    from hydra.core.hydra_config import HydraConfig

    settings = HydraConfig.get()
    if str(settings.mode) == "RunMode.MULTIRUN":
        print(f"\njob {settings.job.num}: {settings.job.override_dirname}", flush=True)


def command_line(overrides: Sequence[str]) -> str:
    """The shell command that runs the present command with other overrides."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else "vae_lightning.train"
    return shlex.join(["python", "-m", module, *overrides])


def _show(error: UserError) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exception(error)
    else:
        print(f"error: {error}", file=sys.stderr)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's own flags, as far as they decide what is to be checked."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names in (
        ("--help", "-h"),
        ("--hydra-help",),
        ("--version",),
        ("--shell-completion", "-sc"),
    ):
        parser.add_argument(*names, action="store_true", dest="help")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("overrides", nargs="*")
    flags, others = parser.parse_known_intermixed_args(arguments)
    unknown = [argument for argument in others if argument.startswith("-")]
    if unknown and not flags.help:
        raise ConfigError(
            f"{unknown[0]} is not a flag: settings are written key=value, "
            "as in model.latent_dim=20; --help lists them"
        )
    flags.overrides += others
    flags.rest = [argument for argument in arguments if argument not in flags.overrides]
    flags.informative = bool(flags.help or flags.cfg or flags.info)
    return flags


def _checked(
    config_name: str, flags: argparse.Namespace, check: Callable[[Config], Any]
) -> list[str]:
    """The overrides, once every job has been checked and its data can be had."""
    from omegaconf import OmegaConf

    for job in _jobs(config_name, flags):
        config = _compose(config_name, flags, [*job, "paths.run_dir=unused"])
        choice = config.hydra.runtime.choices.get("data")
        OmegaConf.set_struct(config, False)
        config.pop("hydra")
        plain = to_container(config)
        check(plain)
        fallback = plain.get("data_fallback")
        if fallback and (problem := _data_problem(plain)):
            if choice == fallback:
                raise problem
            missing = plain["data"]["source"]["_target_"].rpartition(".")[2]
            print(f"warning: data={fallback} instead of {missing}: {problem}", file=sys.stderr)
            flags.overrides = _replaced(flags.overrides, choice, fallback)
            return _checked(config_name, flags, check)
    return flags.overrides


def _replaced(overrides: list[str], choice: str, fallback: str) -> list[str]:
    if not any(item.startswith("data=") for item in overrides):  # an experiment chose it
        return [*overrides, f"data={fallback}"]
    return [
        re.sub(rf"\b{choice}\b", fallback, item) if item.startswith("data=") else item
        for item in overrides
    ]


def _data_problem(config: Config) -> DataError | None:
    try:
        source = instantiate(config["data"]["source"], "data.source")
        source.fetch(Path(config["data"]["root"]).expanduser())
    except DataError as error:
        return error
    return None


def _jobs(config_name: str, flags: argparse.Namespace) -> Iterator[list[str]]:
    """The overrides of each job: one, or all that a sweep will run."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides: list[str] = flags.overrides
    config = _compose(config_name, flags, _without_sweeps(overrides))
    if not flags.multirun and str(config.hydra.mode) != "RunMode.MULTIRUN":
        yield overrides
        return
    swept = dict(config.hydra.sweeper.get("params") or {})
    overrides = [*(f"{key}={value}" for key, value in swept.items()), *overrides]
    choices = []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for override in OverridesParser.create(config_loader=loader).parse_overrides(overrides):
            key = override.get_key_element()
            if override.is_interval_sweep():
                raise ConfigError(f"{key} is swept over an interval: list its values instead")
            if override.is_sweep_override():
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                choices.append([str(override.input_line)])
    for combination in itertools.product(*choices):
        yield list(combination)


def _without_sweeps(overrides: Sequence[str]) -> list[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_first_line(error)) from error
    return [str(item.input_line) for item in parsed if not item.is_sweep_override()]


def _compose(config_name: str, flags: argparse.Namespace, overrides: Sequence[str]) -> Any:
    """Compose one job; what Hydra refuses becomes one line with the nearest name."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    overrides = list(overrides)
    if flags.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(flags.config_dir).resolve()}]")
    try:
        return compose(config_name, overrides, with_hydra=True)
    except MissingConfigException as error:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if not error.options:
            raise ConfigError(_first_line(error)) from error
        close = nearest(option, error.options)
        raise ConfigError(f"{group}={option} is not there: {close}") from error
    except ValueError as error:  # Hydra's answer to group=null
        raise ConfigError(f"{' '.join(overrides)}: {_first_line(error)}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, config_name, overrides)) from error


def _explain(error: Exception, config_name: str, overrides: list[str]) -> str:
    line = _first_line(error)
    if match := re.search(r"(?:override|delete)(?: config value)? '([^']+)'", line) or re.search(
        r"Key '([^']+)' is not in struct", line
    ):
        key = match[1]
        others = [item for item in overrides if not item.lstrip("+~").startswith(key)]
        try:
            known = set(_keys(compose(config_name, others)))
        except Exception:  # several mistakes: the first is enough
            return f"{key} is not a key of the configuration"
        parent, dot, leaf = key.rpartition(".")
        siblings = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent}
        if siblings and dot:
            return f"{leaf} is not a key of {parent}: {nearest(leaf, siblings)}"
        return f"{key} is not a key of the configuration: {nearest(key, known, siblings)}"
    if match := re.search(r"Ambiguous value for argument '([^']+)'", line):
        return f"{match[1]} is several values: add -m to run one job for each"
    return line


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in config:
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            yield from _keys(node, f"{prefix}{key}.")


def _first_line(error: Exception) -> str:
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
