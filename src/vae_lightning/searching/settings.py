"""The settings of a search, and the checks before it starts."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypedDict, get_type_hints

from omegaconf import OmegaConf

from vae_lightning.cli.overrides import CommandLine, compose_job, parse
from vae_lightning.config import check_keys, check_type, to_container
from vae_lightning.errors import ConfigError
from vae_lightning.searching.space import Parameter, parse_space
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import stage


class SearchOptions(TypedDict):
    """The keys of `conf/search/default.yaml`, with their types."""

    space: list[str]
    added: list[str]
    fixed: list[str]
    trials: int
    n_jobs: int
    seeds: int
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "none"]


@dataclass(frozen=True)
class Search:
    """What a search needs, in this process and in those of its workers.

    Attributes:
        folder: absolute; of the study and the trials.
        fixed: the overrides of each trial that are not searched.
        space: the parameters.
        options: by the keys of `SearchOptions`.
        seed: of the sampler, and the first of the runs.
        max_epochs: of each run; 0 if they are not counted.
        fetches: the data of a trial may be another than that of the search.
    """

    folder: Path
    fixed: tuple[str, ...]
    space: tuple[Parameter, ...]
    options: SearchOptions
    seed: int
    max_epochs: int
    fetches: bool


def prepare(config: dict[str, Any]) -> Search:
    """Check the settings, and that runs can be built with the ends and choices of the space.

    Raises:
        ConfigError: a key, type or value does not fit, or Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise ConfigError(
            "search needs optuna, not installed here: pip install -e '.[search]' in the folder of "
            "the project"
        )
    options = config["search"]
    hints = get_type_hints(SearchOptions)
    check_keys(options, tuple(hints))
    for key, hint in hints.items():
        check_type(options[key], hint, f"search.{key}")
    try:
        for key in ("trials", "n_jobs", "seeds"):
            at_least(f"search.{key}", options[key], 1)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    space = parse_space([*options["space"], *options["added"]])
    fixed = options["fixed"]
    keys = [parameter.key for parameter in space]
    if "seed" in keys:
        raise ConfigError(
            "seed is not a hyperparameter: search.seeds=3 runs each trial three times"
        )
    for item in fixed:
        if item.partition("=")[0].lstrip("+") in keys:
            raise ConfigError(f"{item} is searched as well: leave out one of them")
    first = [f"{one.key}={one.checked_values()[0]}" for one in space]
    for number, parameter in enumerate(space):
        for value in parameter.checked_values()[number > 0 :]:
            tried = [*first[:number], f"{parameter.key}={value}", *first[number + 1 :]]
            with stage(f"checking {parameter.key}={value}"):
                _check_run([*fixed, *tried])
    return Search(
        folder=Path(config["paths"]["run_dir"]),
        fixed=tuple(fixed),
        space=tuple(space),
        options=options,
        seed=config["seed"],
        max_epochs=max(0, config["trainer"]["max_epochs"] or 0),
        fetches=any(key.partition(".")[0] == "data" for key in keys),
    )


def _check_run(overrides: list[str]) -> None:
    """Compose and build a run of a trial.

    Raises:
        UserError: it is refused.
    """
    from vae_lightning.training.build import build

    config = composed("train", parse(overrides))
    run = build(config)
    if run.trainer.num_devices * run.trainer.num_nodes > 1:
        raise ConfigError("search runs each trial on one device: set trainer.devices=1")
    if run.datamodule.num_images["val"] == 0 or run.trainer.limit_val_batches == 0:
        raise ConfigError("search compares val/elbo, and this run has no validation images")


def composed(config_name: str, line: CommandLine) -> dict[str, Any]:
    """The configuration of a run that is only checked."""
    config = compose_job(config_name, line, line.overrides)
    config.paths.run_dir = "unused"
    return to_container(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))
