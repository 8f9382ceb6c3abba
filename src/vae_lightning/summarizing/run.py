"""The command `summarize`: its checks, its files, and the leaderboard at the end of a sweep."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from vae_lightning.cli.user_errors import DISK_ERRORS
from vae_lightning.config import check_keys, check_type
from vae_lightning.errors import ConfigError
from vae_lightning.summarizing.files import write_files
from vae_lightning.summarizing.leaderboard import Leaderboard, leaderboard
from vae_lightning.summarizing.pictures import draw_pictures
from vae_lightning.summarizing.progress import describe_unfinished
from vae_lightning.summarizing.runs import NOT_FINISHED, read_runs
from vae_lightning.summarizing.settings import selected
from vae_lightning.summarizing.terminal import print_files, print_leaderboard, print_skipped
from vae_lightning.summarizing.values import split

# What a sweep is sorted by: the first that its jobs have.
_OF_A_SWEEP = ("val/elbo", "test/elbo", "train/elbo")


class SummarizeOptions(TypedDict):
    """The keys of `conf/summarize.yaml`, with their types."""

    folders: list[str]
    metric: str
    group_by: list[str] | str | None
    where: list[str] | str | None
    output_dir: str | None


@dataclass(frozen=True)
class Summary:
    """A leaderboard, and where it goes.

    Attributes:
        board: the rows.
        folder: of the files.
        skipped: a line for each file that could not be read.
    """

    board: Leaderboard
    folder: Path
    skipped: list[str]


def prepare(config: dict[str, Any]) -> Summary:
    """Read the runs; nothing is written.

    Raises:
        ConfigError: folders without runs, keys or metrics that no run has, a folder that cannot be
            written.
    """
    hints = get_type_hints(SummarizeOptions)
    check_keys(config, tuple(hints))
    for key, hint in hints.items():
        check_type(config[key], hint, key)
    if not config["folders"]:
        raise ConfigError(
            "name a folder of runs, as in python -m vae_lightning.summarize outputs/train/multiruns"
        )
    folders = [Path(folder).expanduser() for folder in config["folders"]]
    for folder in folders:
        if not folder.is_dir():
            reason = "is a file: name a folder of runs" if folder.exists() else "does not exist"
            raise ConfigError(f"{folder} {reason}")
    runs, skipped = read_runs(folders)
    if not runs:
        places = " and ".join(map(str, folders))
        hold = "holds" if len(folders) == 1 else "hold"
        raise ConfigError(f"{places} {hold} no training runs")
    runs = selected(runs, _texts(config["where"]))
    group_by = None if config["group_by"] is None else _texts(config["group_by"])
    output_dir = config["output_dir"]
    place = Path(output_dir).expanduser() if output_dir is not None else folders[0]
    _check_writable(place)
    return Summary(leaderboard(runs, config["metric"], group_by), place, skipped)


def summarize(summary: Summary) -> None:
    """Print the leaderboard and write its files; then draw the pictures, which takes longer.

    Raises:
        ConfigError: the folder cannot be written.
    """
    print_skipped(summary.skipped)
    describe_unfinished(summary.board.left_out)
    print_leaderboard(summary.board)
    try:
        summary.folder.mkdir(parents=True, exist_ok=True)
        write_files(summary.folder, summary.board)
        pictures = draw_pictures(summary.folder, summary.board)
        print_files([*write_files(summary.folder, summary.board, pictures), *pictures])
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise ConfigError(
            f"{error.filename or summary.folder} cannot be written: {error.strerror}: set "
            "output_dir to another folder"
        ) from error


def summarize_sweep(folder: Path, metric: str | None = None) -> None:
    """Print and write the leaderboard of a sweep, of whose jobs some may have failed.

    The rows are sorted by the metric, if there is one and some job has it; otherwise by `val/elbo`,
    or without validation by `test/elbo`. If no job has left anything, as with
    `trainer.fast_dev_run`, nothing is printed.
    """
    runs, skipped = read_runs([folder])
    known = {tag for run in runs for tag in run.metrics}
    metric = next((tag for tag in (metric, *_OF_A_SWEEP) if tag in known), None)
    failed = any(run.problem not in (None, NOT_FINISHED) for run in runs)
    if metric or (failed and not known):
        board = leaderboard(runs, metric or _OF_A_SWEEP[0])
        summarize(Summary(board, folder, skipped))


def _texts(value: list[str] | str | None) -> list[str]:
    """The items of a list that may be written as text."""
    items = [value] if isinstance(value, str) else value or []
    return [part for item in items for part in split(item)]


def _check_writable(folder: Path) -> None:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}: set output_dir to another folder"
        ) from error
