"""The settings in which runs differ, and the choice of runs by their settings."""

from collections.abc import Iterable, Sequence
from typing import Any

from vae_lightning.config import nearest
from vae_lightning.errors import ConfigError
from vae_lightning.summarizing.runs import RunRecord
from vae_lightning.summarizing.values import ABSENT, same, shown

# A choice that sets keys of all other groups.
_EXPERIMENT = "experiment"
# Neither is a setting: the same run on another device is the same run.
_NOT_A_SETTING = ("seed", "trainer.accelerator")


def differing_keys(runs: Sequence[RunRecord]) -> list[str]:
    """The keys other than the seed that tell the settings of runs from each other.

    These are the keys that a sweep varies, and the hyperparameters in which runs differ. A key that
    follows from the option of a group above it is left out: with `model/prior=vamp`, the number of
    pseudo-inputs. So is what follows from the experiments, if each run has one.

    Returns:
        flat keys, those of sweeps first.
    """
    swept = _swept(runs)
    others = dict.fromkeys(key for run in runs for key in ("data", *run.hyperparameters))
    if all(run.settings.get(_EXPERIMENT) for run in runs):
        others = {_EXPERIMENT: None, **others}
    found = [key for key in swept if _differs(runs, key)]
    # Sections before what is in them.
    for key in sorted(others, key=lambda key: (key != _EXPERIMENT, key.count("."))):
        above = [x for x in found if x == _EXPERIMENT or key.startswith(f"{x}.")]
        if key not in (*_NOT_A_SETTING, *found) and not _follows(runs, key, above):
            found.append(key)
    order = [*swept, *others]
    return sorted(found, key=order.index)


def setting_of(run: RunRecord, keys: Iterable[str]) -> dict[str, Any]:
    """The values of some keys; `ABSENT` for those that a run does not have."""
    return {key: run.settings.get(key, ABSENT) for key in keys}


def identity(run: RunRecord, keys: Iterable[str]) -> tuple[Any, ...]:
    """Something that is equal for runs with the same values of some keys."""
    return tuple(map(same, setting_of(run, keys).values()))


def find_key(name: str, runs: Sequence[RunRecord]) -> str:
    """The key that a name stands for: a whole key, or its last parts if no other key has them.

    Raises:
        ConfigError: no run has such a key, or several keys end like this.
    """
    wanted = name.lstrip("+").replace("/", ".")
    known = {key for run in runs for key in run.settings}
    if wanted in known:
        return wanted
    ends = sorted(key for key in known if key.endswith(f".{wanted}"))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ConfigError(f"{name} is the end of several keys: write {' or '.join(ends[:4])}")
    usual = {"seed", *(key for run in runs for key in run.hyperparameters)}
    listed = [key for key in sorted(usual & known) if _differs(runs, key)]
    raise ConfigError(f"no run has the key {name}: {nearest(name, known, listed or usual)}")


def selected(runs: Sequence[RunRecord], where: Sequence[str]) -> list[RunRecord]:
    """The runs whose keys have the values that are asked for.

    Args:
        runs: all of them.
        where: `key=value`; a text without `=` is another value of the key before it.

    Raises:
        ConfigError: a key that no run has, or values that no run has.
    """
    conditions: dict[str, list[str]] = {}
    key = ""
    for item in where:
        name, equals, value = item.partition("=")
        if equals:
            key = find_key(name, runs)
        elif not key:
            raise ConfigError(f"where={item} is not a condition: write where=key=value")
        conditions.setdefault(key, []).append(value if equals else name)
    for key, values in conditions.items():
        wanted = {same(value) for value in values}
        kept = [run for run in runs if same(run.settings.get(key, ABSENT)) in wanted]
        if not kept:
            there = {shown(run.settings[key]): None for run in runs if key in run.settings}
            raise ConfigError(
                f"no run has {key}={','.join(values)}: there are {', '.join(list(there)[:20])}"
            )
        runs = kept
    return list(runs)


def _swept(runs: Sequence[RunRecord]) -> list[str]:
    """The keys that the jobs of a sweep have different values of."""
    found: dict[str, None] = {}
    for sweep in {run.sweep: None for run in runs if run.sweep}:
        jobs = [run for run in runs if run.sweep == sweep]
        for key in dict.fromkeys(key for job in jobs for key in job.overrides):
            if any(key in job.settings for job in jobs) and _differs(jobs, key):
                found[key] = None
    found.pop("seed", None)
    return list(found)


def _differs(runs: Sequence[RunRecord], key: str) -> bool:
    return len({identity(run, [key]) for run in runs}) > 1


def _follows(runs: Sequence[RunRecord], key: str, above: Sequence[str]) -> bool:
    """Whether runs with the same values of the keys above have the same value of a key."""
    pairs = {(identity(run, above), identity(run, [key])) for run in runs}
    return len(pairs) == len({first for first, _ in pairs})
