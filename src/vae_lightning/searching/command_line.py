"""The command line of a search: ranges and choices are its space; a search that goes on."""

from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.overrides import CommandLine
from vae_lightning.errors import ConfigError
from vae_lightning.searching.space import searched

STUDY_FILE = "study.journal"
# Hydra's record of the settings, in the folder of a search.
_RECORD = Path(".search/overrides.yaml")
# Settings of the search itself, and of its folder; all others are those of each trial.
_OWN = ("search", "resume", "task_name", "hydra", "paths.output_dir")
# What may change when a search goes on.
_CHANGEABLE = ("search.trials", "search.n_jobs")


def as_search(line: CommandLine) -> CommandLine:
    """Move ranges and choices of values to the space, and read the settings of a resumed search.

    Raises:
        ConfigError: there is no search to go on with, or its settings would change.
    """
    if line.multirun:
        raise ConfigError("search runs its trials itself: leave out -m")
    if line.help or line.informative:
        return line
    resumed = [item for item in line.overrides if item.startswith("resume=")]
    if resumed and (folder := resumed[-1].partition("=")[2].strip("'\"")) != "null":
        return _resumed(line, Path(folder).expanduser())
    space = searched(line.overrides)
    fixed = [item for item in line.overrides if item not in space]
    of_trials = [*line.flags, *(item for item in fixed if not _is_own(item))]
    line.overrides = [
        *fixed,
        f"search.added=[{','.join(map(_text, space))}]",
        f"search.fixed=[{','.join(map(_text, of_trials))}]",
    ]
    for item in fixed:
        folder = item.partition("=")[2].strip("'\"")
        if item.startswith("hydra.run.dir=") and (Path(folder) / STUDY_FILE).exists():
            raise ConfigError(
                f"{folder} already holds a search: name a new folder, or write resume={folder} to "
                "go on with it"
            )
    return line


def _resumed(line: CommandLine, folder: Path) -> CommandLine:
    from omegaconf import OmegaConf

    if not (folder / _RECORD).is_file() or not (folder / STUDY_FILE).is_file():
        reason = "holds no search" if folder.is_dir() else "does not exist"
        raise ConfigError(f"{folder} {reason}: name the folder of one, as in outputs/search/<time>")
    changed = [item for item in line.overrides if not item.startswith("resume=")]
    for item in changed:
        if item.partition("=")[0] not in _CHANGEABLE:
            raise ConfigError(
                f"{item} does not go with resume: a search keeps its space and settings; only "
                f"{' and '.join(_CHANGEABLE)} can be changed"
            )
    keys = [item.partition("=")[0] for item in changed]
    recorded: Any = OmegaConf.load(folder / _RECORD)
    kept = [item for item in recorded if item.partition("=")[0] not in keys]
    line.overrides = [*kept, *changed, f"hydra.run.dir={quoted(str(folder))}"]
    return line


def _is_own(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return key.startswith(tuple(f"{own}{end}" for own in _OWN for end in (".", "/", "@"))) or (
        key in _OWN
    )


def _text(item: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(item, Quote.double).with_quotes()
