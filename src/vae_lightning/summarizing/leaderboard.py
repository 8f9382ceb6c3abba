"""The rows of a leaderboard: means and standard deviations over the runs of a setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from vae_lightning.config import nearest
from vae_lightning.errors import ConfigError
from vae_lightning.summarizing.metric_names import lower_is_better
from vae_lightning.summarizing.runs import RunRecord
from vae_lightning.summarizing.settings import differing_keys, find_key, identity, setting_of
from vae_lightning.summarizing.values import same, shown

# What decides which images, or which of their pixels, a run is measured on.
_IMAGES = ("data.held_out", "data.val_size", "data.test_size", "data.validation")


@dataclass(frozen=True)
class Statistic:
    """A metric over the runs of a row.

    Attributes:
        mean, deviation: the standard deviation is None of a single run.
        count: how many runs have the metric.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Row:
    """The runs of one setting.

    Attributes:
        setting: the value of each key of the leaderboard; `ABSENT` if the runs do not have it.
        runs: the best first.
    """

    setting: dict[str, Any]
    runs: list[RunRecord]

    def statistic(self, tag: str) -> Statistic | None:
        """A metric over the runs that have a finite value of it; None if none has."""
        found = [run.metrics[tag] for run in self.runs if tag in run.metrics]
        values = [value for value in found if math.isfinite(value)]
        if not values:
            return None
        return Statistic(mean(values), stdev(values) if len(values) > 1 else None, len(values))

    @property
    def checkpoint(self) -> Path | None:
        """Of the best run."""
        return self.runs[0].checkpoint


@dataclass(frozen=True)
class Group:
    """Runs whose metrics can be compared.

    Attributes:
        protocol: what they have in common: data, binarisation, kind of bound.
        rows: the best first.
    """

    protocol: dict[str, Any]
    rows: list[Row]

    @cached_property
    def runs(self) -> list[RunRecord]:
        return [run for row in self.rows for run in row.runs]

    @cached_property
    def tags(self) -> list[str]:
        """The metrics that some run has, sorted."""
        return sorted({tag for run in self.runs for tag in run.metrics})

    @cached_property
    def keys(self) -> list[str]:
        """The keys that differ between the rows; all, if there is one row."""
        keys = list(self.rows[0].setting)
        if len(self.rows) == 1:
            return keys
        return [key for key in keys if len({same(row.setting[key]) for row in self.rows}) > 1]


@dataclass(frozen=True)
class Leaderboard:
    """Runs in groups that can be compared, and those without a result.

    Attributes:
        metric: the tag that decides.
        keys: whose values make a row.
        differing: all keys in which the runs differ.
        groups: the largest first.
        left_out: runs without the metric; their `problem` says why.
    """

    metric: str
    keys: list[str]
    differing: list[str]
    groups: list[Group]
    left_out: list[RunRecord]


def leaderboard(
    runs: Sequence[RunRecord], metric: str, group_by: Sequence[str] | None = None
) -> Leaderboard:
    """Group runs by their settings, and sort the settings by a metric.

    Args:
        runs: finished and not.
        metric: the tag that decides.
        group_by: the keys that make a row; by default all in which the runs differ but the seed.

    Raises:
        ConfigError: no run has the metric, or a key.
    """
    finished = [run for run in runs if run.metrics]
    known = sorted({tag for run in finished for tag in run.metrics})
    if finished and metric not in known:
        raise ConfigError(
            f"no run has the metric {metric}: {nearest(metric, known)} "
            "(python -m vae_lightning.evaluate adds test/nll and others)"
        )
    differing = differing_keys(runs)
    keys = differing if group_by is None else [find_key(name, runs) for name in group_by]
    sign = 1 if lower_is_better(metric) else -1
    ranked = [run for run in finished if math.isfinite(run.metrics.get(metric, math.nan))]
    ranked.sort(key=lambda run: sign * run.metrics[metric])
    rows: dict[tuple[Any, ...], dict[tuple[Any, ...], list[RunRecord]]] = {}
    protocols = {}
    for run in ranked:
        protocol = tuple(map(same, run.protocol.values()))
        protocols[protocol] = run.protocol
        rows.setdefault(protocol, {}).setdefault(identity(run, keys), []).append(run)
    groups = []
    for protocol, settings in rows.items():
        found = [Row(setting_of(own[0], keys), own) for own in settings.values()]
        found.sort(key=lambda row: sign * mean(run.metrics[metric] for run in row.runs))
        groups.append(Group(protocols[protocol], found))
    groups.sort(key=lambda group: -len(group.runs))
    left_out = [run for run in runs if run not in ranked]
    for run in left_out:
        if run.metrics:
            value = run.metrics.get(metric)
            run.problem = f"no {metric}" if value is None else f"failed: {metric} is {value}"
    return Leaderboard(metric, keys, differing, groups, left_out)


def conclusions(board: Leaderboard, group: Group) -> list[str]:
    """What to know before the rows of a group are compared, in sentences."""
    metric, rows = board.metric, group.rows
    found = []
    if len(rows) > 1:
        if all(len(row.runs) == 1 for row in rows) and "seed" not in board.keys:
            found.append(
                f"One run for each row: how far {metric} depends on the seed is not known."
            )
        elif (close := _close(rows, metric)) > 1:
            which = "two" if close == 2 else f"{close:,}"
            found.append(
                f"The first {which} rows differ in {metric} by less than their standard deviation: "
                "these runs do not tell which one is best."
            )
    if board.keys != board.differing:
        hidden = [key for key in board.differing if key not in board.keys]
        hidden = [key for key in hidden if any(len(_values(row, key)) > 1 for row in rows)]
        if hidden:
            found.append(f"The runs of a row also differ in {', '.join(hidden)}.")
    repeated = sum(
        len(row.runs) - len({(identity(run, board.differing), same(run.seed)) for run in row.runs})
        for row in rows
    )
    if repeated:
        runs = "One run has" if repeated == 1 else f"{repeated} runs have"
        found.append(f"{runs} the setting and the seed of another one.")
    images = [key for key in _IMAGES if key in board.differing]
    images = [key for key in images if len({same(r.settings.get(key)) for r in group.runs}) > 1]
    if images:
        found.append(f"Runs that differ in {', '.join(images)} are measured on different images.")
    samples = sorted({run.num_samples for run in group.runs if run.num_samples})
    if any(tag.endswith("/nll") for tag in group.tags) and samples:
        numbers = " and ".join(f"{number:,}" for number in samples)
        differ = ", and values of different K are not comparable" if len(samples) > 1 else ""
        found.append(f"The nll is that with K = {numbers} samples{differ}.")
    return found


def protocol_text(group: Group, groups: Sequence[Group]) -> str:
    """The title of a group: data, binarisation, kind of bound, and in what else groups differ."""
    protocol = group.protocol
    texts = [str(protocol["data"]), f"binarize={protocol['binarize']}", str(protocol["bound"])]
    for name, value in protocol.items():
        others = {same(other.protocol.get(name)) for other in groups}
        if name not in ("data", "binarize", "bound") and len(others) > 1:
            texts.append(f"{name}={shown(value)}")
    return ", ".join(text for text in texts if text not in ("None", "binarize=None"))


def _values(row: Row, key: str) -> set[Any]:
    return {identity(run, [key]) for run in row.runs}


def _close(rows: Sequence[Row], metric: str) -> int:
    """How many of the first rows are nearer to the first one than their standard deviation."""
    first = rows[0].statistic(metric)
    count = 1
    for row in rows[1:]:
        other = row.statistic(metric)
        if first is None or other is None:
            break
        spread = max(first.deviation or 0.0, other.deviation or 0.0)
        if abs(first.mean - other.mean) >= spread:
            break
        count += 1
    return count
