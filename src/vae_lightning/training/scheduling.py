"""The learning rate over a run: which optimisers and schedules can be chosen, and their steps."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite
from typing import Any, Literal

from hydra.utils import get_class
from lightning import Trainer
from torch import nn
from torch.optim import LBFGS, Optimizer, SparseAdam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from vae_lightning.config import check_type, instantiate
from vae_lightning.errors import ConfigError
from vae_lightning.objectives.objective import SCORE
from vae_lightning.utils.checks import at_least, positive

Interval = Literal["epoch", "step"]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]

# What cannot be chosen, and why.
_OPTIMIZERS: dict[type[Optimizer], str] = {
    LBFGS: "computes the loss several times in a step, each time with other noise",
    SparseAdam: "takes sparse gradients, and those of a network are dense",
}
_FUNCTIONS = "takes Python functions, which a configuration does not hold"
_SCHEDULERS: dict[type[LRScheduler], str] = {
    LambdaLR: _FUNCTIONS,
    MultiplicativeLR: _FUNCTIONS,
    SequentialLR: "takes schedules that are already built",
    ChainedScheduler: "takes schedules that are already built",
}
# Schedules whose lengths are numbers of steps.
_BY_STEP = (OneCycleLR, CyclicLR)
# The keys of lengths, with the least that they may be.
_LENGTHS = {"T_max": 1, "T_0": 1, "step_size": 1, "total_iters": 1, "total_steps": 1}
# Other numbers that torch takes out of range: the least, and factors that must be above 0.
_LEAST = {"patience": 0, "cooldown": 0, "eta_min": 0, "min_lr": 0, "end_factor": 0}
_FACTORS = ("factor", "gamma", "start_factor")


def make_optimizer(config: Mapping[str, Any]) -> MakeOptimizer:
    """What the section `optimizer` of a configuration describes.

    Raises:
        ConfigError: an optimiser that cannot train these models, or an error of `instantiate`.
    """
    make = instantiate(config, "optimizer")
    cls = get_class(config["_target_"])
    if reason := _OPTIMIZERS.get(cls):
        raise ConfigError(f"optimizer: {cls.__name__} {reason}: choose optimizer=adam")
    _check_number(config, "optimizer", "lr", positive)
    _check_number(config, "optimizer", "momentum", _below_one)
    return make


def make_scheduler(config: Mapping[str, Any], max_epochs: int | None) -> MakeScheduler:
    """What the section `scheduler` of a configuration describes, its key `interval` aside.

    Args:
        config: the section.
        max_epochs: of the Trainer; -1 and None are without end.

    Raises:
        ConfigError: a schedule that a configuration cannot describe, one that needs an end in a
            run that has none, an interval that does not fit, or an error of `instantiate`.
    """
    check_type(interval(config), Interval, "scheduler.interval")
    _check_lengths(config, max_epochs)
    for key, least in _LEAST.items():
        _check_number(config, "scheduler", key, partial(at_least, minimum=least))
    for key in _FACTORS:
        _check_number(config, "scheduler", key, positive)
    node = {key: value for key, value in config.items() if key != "interval"}
    make = instantiate(node, "scheduler")
    cls = get_class(node["_target_"])
    if reason := _SCHEDULERS.get(cls):
        raise ConfigError(f"scheduler: {cls.__name__} {reason}: choose scheduler=cosine")
    for name, parameter in list(inspect.signature(cls).parameters.items())[1:]:
        if parameter.default is parameter.empty and name not in node:
            raise ConfigError(f"scheduler.{name} is missing: {cls.__name__} needs it")
    if issubclass(cls, _BY_STEP) and interval(config) != "step":
        raise ConfigError(f"scheduler: {cls.__name__} counts steps: set scheduler.interval=step")
    if issubclass(cls, ReduceLROnPlateau) and interval(config) != "epoch":
        raise ConfigError(
            f"scheduler: {cls.__name__} waits for {SCORE}, which has a value for each epoch: set "
            "scheduler.interval=epoch"
        )
    return make


def check_steps(scheduler: LRScheduler) -> None:
    """Check that a schedule can step, because torch does not check all of its arguments.

    Args:
        scheduler: of an optimiser that is not trained with.

    Raises:
        ConfigError: it cannot.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimiser has not stepped
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(0.0)
            else:
                scheduler.step()
    except Exception as error:  # of torch, for a value of the wrong type
        line = " ".join(str(error).split())
        raise ConfigError(f"scheduler: {type(scheduler).__name__} cannot step: {line}") from error


def interval(config: Mapping[str, Any]) -> Interval:
    """When the schedule of a section `scheduler` steps; by default at the end of each epoch."""
    return config.get("interval", "epoch")


def check_length(trainer: Trainer) -> None:
    """Check that a schedule of a fixed number of steps is as long as the run.

    Raises:
        ConfigError: it is shorter.
    """
    for one in trainer.lr_scheduler_configs:
        if not isinstance(one.scheduler, OneCycleLR):
            continue
        steps = trainer.estimated_stepping_batches
        if steps > one.scheduler.total_steps:
            raise ConfigError(
                f"scheduler: OneCycleLR ends after {one.scheduler.total_steps:,} steps, and the "
                f"run takes {steps:,}: set scheduler.total_steps={steps}"
                if isfinite(steps)
                else "scheduler: OneCycleLR needs a run that ends: set trainer.max_epochs"
            )


def step_on_plateau(trainer: Trainer) -> None:
    """Tell a schedule that waits for a plateau the value that the epoch has reached."""
    reached = trainer.callback_metrics.get(SCORE)
    for one in trainer.lr_scheduler_configs:
        # A run that is resumed at the end of an epoch does not validate it again.
        if isinstance(one.scheduler, ReduceLROnPlateau) and reached is not None:
            one.scheduler.step(reached)


def _check_number(
    config: Mapping[str, Any], section: str, key: str, check: Callable[[str, float], None]
) -> None:
    """Check the range of a number, if there is one; other types are refused by what takes them."""
    if isinstance(value := config.get(key), int | float) and not isinstance(value, bool):
        try:
            check(f"{section}.{key}", value)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _below_one(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value} is out of range: it must be at least 0 and below 1")


def _check_lengths(config: Mapping[str, Any], max_epochs: int | None) -> None:
    for key, least in _LENGTHS.items():
        if key not in config:
            continue
        value = config[key]
        setting = f"scheduler.{key}={'null' if value is None else value}"
        if value == max_epochs and max_epochs in (None, -1):
            raise ConfigError(
                f"{setting} is trainer.max_epochs, and this run has no last epoch: "
                f"set scheduler.{key} to a number of {interval(config)}s, or choose "
                "scheduler=constant"
            )
        if value == max_epochs and interval(config) == "step":
            raise ConfigError(
                f"{setting} is trainer.max_epochs, and scheduler.interval=step counts steps: set "
                f"scheduler.{key} to a number of steps"
            )
        if key == "total_iters" and str(config.get("_target_")).endswith("ConstantLR"):
            least = 0
        if isinstance(value, int) and value < least:
            raise ConfigError(f"{setting} is out of range: it must be at least {least}")
