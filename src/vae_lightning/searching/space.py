"""The space of a search, written as on Hydra's command line. Imports no Optuna."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vae_lightning.errors import ConfigError

if TYPE_CHECKING:  # an extra, loaded by a search
    from optuna import Trial

_HINT = "as in 'optimizer.lr=tag(log, interval(1e-4, 1e-2))' or model.latent_dim=8,16,32"
# Digits that a run is given of a number: names and command lines stay readable.
_DIGITS = 4


@dataclass(frozen=True)
class Parameter:
    """A key that is searched.

    Attributes:
        key: of the configuration of `train`, such as `optimizer.lr` or `model/prior`.
        choices: the values, as they are written in overrides; empty for numbers between two ends.
        low, high: the ends, included.
        step: between whole numbers; 0 for numbers that are not whole.
        log: search on a logarithmic scale.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: int = 0
    log: bool = False

    def suggest(self, trial: "Trial") -> str:
        """The value of a trial, as it is written in an override."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if self.step:
            low, high = int(self.low), int(self.high)
            return str(trial.suggest_int(self.key, low, high, step=self.step, log=self.log))
        value = trial.suggest_float(self.key, self.low, self.high, log=self.log)
        return repr(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))

    def checked_values(self) -> list[str]:
        """The values that are tried before the search: all choices, or both ends."""
        if self.choices:
            return list(self.choices)
        return [str(int(end)) if self.step else repr(end) for end in (self.low, self.high)]


def parse_space(texts: Sequence[str]) -> list[Parameter]:
    """The parameters of a space; the last one of a key counts.

    Args:
        texts: such as `optimizer.lr=tag(log, interval(1e-4, 1e-2))`, `int(interval(2, 64))`,
            `range(8, 65, 8)`, `choice(vamp, mixture)` or `a,b` after the key.

    Raises:
        ConfigError: there is none, or one is not a range or choice of values.

    Example:
        >>> parse_space(["model.latent_dim=int(interval(2, 64))"])
        [Parameter(key='model.latent_dim', choices=(), low=2.0, high=64.0, step=1, log=False)]
    """
    if not texts:
        raise ConfigError(f"the space of the search is empty: give values to search, {_HINT}")
    found = {}
    for text, parsed in zip(texts, _parsed(texts), strict=True):
        found[parsed.key_or_group] = _parameter(text, parsed)
    return list(found.values())


def searched(overrides: Sequence[str]) -> list[str]:
    """The overrides that are ranges or choices of values.

    Raises:
        ConfigError: one cannot be read.
    """
    return [
        text
        for text, parsed in zip(overrides, _parsed(overrides), strict=True)
        if parsed.is_sweep_override()
    ]


def _parsed(texts: Sequence[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    from vae_lightning.cli.error_messages import unreadable

    try:
        return OverridesParser.create().parse_overrides(list(texts))
    except OverrideParseException as error:
        raise ConfigError(unreadable(error.override, str(error))) from error


def _parameter(text: str, parsed: Any) -> Parameter:
    key = parsed.key_or_group
    if not parsed.is_sweep_override():
        raise ConfigError(f"{text} is one value: give a range or choice to search, {_HINT}")
    value = parsed.value()
    log = "log" in getattr(value, "tags", ())
    if parsed.is_interval_sweep():
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        low, high = float(value.start), float(value.end)
        if low >= high:
            raise ConfigError(f"{text} is empty: its first end has to be the smaller one")
        if log and low <= 0:
            raise ConfigError(f"{text} is on a logarithmic scale: its ends have to be above 0")
        return Parameter(key, (), low, high, int(whole), log)
    if log:
        raise ConfigError(f"{text}: only an interval can be on a logarithmic scale, {_HINT}")
    choices = tuple(parsed.sweep_string_iterator())
    if not choices:
        raise ConfigError(f"{text} is a search over no values")
    if parsed.is_range_sweep() and len(choices) > 1 and not value.shuffle:
        numbers = [value.start, value.step]
        if all(isinstance(number, int) for number in numbers) and value.step > 0:
            return Parameter(key, (), float(choices[0]), float(choices[-1]), value.step)
    return Parameter(key, choices)
