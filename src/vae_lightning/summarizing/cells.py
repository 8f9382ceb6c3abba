"""The cells of a leaderboard as text."""

from collections.abc import Sequence
from pathlib import Path

from vae_lightning.config.guesses import as_written
from vae_lightning.summarizing.leaderboard import Group, Leaderboard, Row, conclusions
from vae_lightning.summarizing.metric_names import unit
from vae_lightning.summarizing.runs import RunRecord
from vae_lightning.summarizing.settings import setting_of
from vae_lightning.summarizing.values import label, short_names

# Columns after the metric that decides, as far as there is room.
_COLUMNS = (
    "val/elbo", "test/elbo", "test/nll", "test/rate", "test/distortion", "test/active_units",
)  # fmt: skip
# From this size on, two digits after the point are enough to tell runs from each other.
_LARGE = 10


def columns(board: Leaderboard, group: Group) -> list[str]:
    """The tags of the metrics that are shown, the one that decides first."""
    return list(dict.fromkeys([board.metric, *(tag for tag in _COLUMNS if tag in group.tags)]))


def metric_cells(rows: Sequence[Row], tag: str) -> list[str]:
    """Mean and standard deviation of each row, with the same number of digits.

    If not all runs of a row have the metric, how many have it follows.
    """
    found = [row.statistic(tag) for row in rows]
    digits = 2 if unit(tag) or any(x and abs(x.mean) >= _LARGE for x in found) else 4
    texts = []
    for row, statistic in zip(rows, found, strict=True):
        if statistic is None:
            texts.append("")
            continue
        text = f"{statistic.mean:.{digits}f}"
        if statistic.deviation is not None:
            text += f" ± {statistic.deviation:.{digits}f}"
        partly = statistic.count < len(row.runs)
        texts.append(f"{text} ({statistic.count})" if partly else text)
    return texts


def notes(board: Leaderboard, group: Group) -> list[str]:
    """What to know before rows are compared: conclusions, and metrics that not all runs have."""
    total = len(group.runs)
    counts = {tag: sum(tag in run.metrics for run in group.runs) for tag in columns(board, group)}
    partly = [
        f"{tag} is known of {count:,} of the {total:,} runs; in brackets, of how many in a row."
        for tag, count in counts.items()
        if count < total
    ]
    return [*conclusions(board, group), *partly]


def time_cell(row: Row) -> str:
    """The mean time of training."""
    found = row.statistic("seconds")
    return "" if found is None else duration(found.mean)


def duration(seconds: float) -> str:
    """A time in the unit that fits.

    Example:
        >>> duration(8.4), duration(200), duration(9000)
        ('8 s', '3.3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def row_texts(row: Row, keys: Sequence[str]) -> list[str]:
    """The setting of a row as texts `name=value`."""
    setting = {key: row.setting[key] for key in keys}
    return label(setting, names(keys)) or ["all runs"]


def run_text(run: RunRecord, keys: Sequence[str]) -> str:
    """The setting of a run, with its seed."""
    return " ".join(label(setting_of(run, [*keys, "seed"]), names([*keys, "seed"])))


def names(keys: Sequence[str]) -> dict[str, str]:
    """Keys as they are written on a command line, without the sections that nobody needs."""
    short = short_names(keys)
    return {
        key: name.replace(".", "/") if "/" in as_written(key) else name
        for key, name in short.items()
    }


def shortened(text: str, width: int) -> str:
    """A text with its middle left out, if it is too long.

    Example:
        >>> shortened("hidden=[1024,512,256,128]", 16)
        'hidden=[…56,128]'
    """
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def from_folder(path: Path | None, folder: Path) -> str:
    """A path as it is seen from a folder, if it is inside; otherwise the whole path."""
    if path is None:
        return ""
    path, folder = path.absolute(), folder.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
