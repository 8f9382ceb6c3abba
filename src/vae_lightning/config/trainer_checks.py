"""Checks of the Trainer's arguments that Lightning does not make, or not before training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch.optim import Optimizer

from vae_lightning.config.guesses import nearest
from vae_lightning.errors import ConfigError
from vae_lightning.utils.rank import started_by_torchrun

# Each process runs the command again; other launchers copy the process, which holds the data.
_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")

# The least values of arguments that count something; null and text have a meaning of their own.
_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": -1,
}

# What a group chooses.
_CHOSEN = {"callbacks": "callbacks", "logger": "logger"}


def check_trainer(trainer: dict[str, Any]) -> None:
    """Check the values of arguments and the strategy.

    Args:
        trainer: the configuration of the Trainer.

    Raises:
        ConfigError: a value is out of range, or a strategy is not supported.
    """
    for key, group in _CHOSEN.items():
        if key in trainer:
            raise ConfigError(f"trainer.{key} has no effect: choose an option of {group}")
    for key, least in _LEAST.items():
        value = trainer.get(key)
        if isinstance(value, int | float) and value < least:
            raise ConfigError(f"trainer.{key}={value} is out of range: at least {least}")
    interval = trainer.get("val_check_interval")
    if isinstance(interval, int | float) and interval <= 0:
        raise ConfigError(
            f"trainer.val_check_interval={interval} is out of range: it must be above 0; "
            "trainer.limit_val_batches=0 trains without validation"
        )
    for least_key, most_key in (("min_epochs", "max_epochs"), ("min_steps", "max_steps")):
        fewest, most = trainer.get(least_key), trainer.get(most_key)
        if isinstance(fewest, int) and isinstance(most, int) and -1 < most < fewest:
            raise ConfigError(
                f"trainer.{least_key}={fewest} is more than trainer.{most_key}={most}: leave one "
                "out"
            )
    strategy = trainer.get("strategy", "auto")
    if strategy in _STRATEGIES or isinstance(strategy, dict):
        return
    available = StrategyRegistry.available_strategies()
    if strategy not in available:
        raise ConfigError(
            f"trainer.strategy={strategy} does not exist: "
            f"{nearest(str(strategy), available, _STRATEGIES)}"
        )
    raise ConfigError(
        f"trainer.strategy={strategy} is not supported: write trainer=ddp for several devices, or "
        "trainer.strategy=auto for one"
    )


def check_amount(config: dict[str, Any]) -> None:
    """Check that a run trains and tests on something, where it is told to.

    Args:
        config: the configuration of a run.

    Raises:
        ConfigError: there are no epochs, steps or batches.
    """
    trainer = config["trainer"]
    if config["train"]:
        for key in ("max_epochs", "max_steps"):
            if trainer.get(key) == 0:
                raise ConfigError(f"trainer.{key}=0 trains nothing: at least 1, or -1 without end")
        if trainer.get("limit_train_batches") == 0:
            raise ConfigError(
                "trainer.limit_train_batches=0 trains nothing: train=false tests a checkpoint"
            )
    if config["test"] and trainer.get("limit_test_batches") == 0:
        raise ConfigError(
            "trainer.limit_test_batches=0 leaves no images for test=true: set test=false"
        )


def check_processes(trainer: Trainer, key: str) -> None:
    """Check that the machine has the cores for the processes that a Trainer starts on the CPU.

    Too many of them run out of memory, or wait for each other without end. Lightning refuses more
    GPUs than there are.

    Args:
        trainer: has started nothing.
        key: of the number of devices, for the message.

    Raises:
        ConfigError: there are fewer cores, or it waits for other machines that nothing starts.
    """
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise ConfigError(
            f"{key}={trainer.num_devices} would start as many processes, and this machine has "
            f"{cores} cores: at most {cores}"
        )
    started = started_by_torchrun()
    if started not in (0, trainer.world_size):
        raise ConfigError(
            f"torchrun has started {started} processes, and {key}={trainer.num_devices} is for "
            f"{trainer.world_size}: set it to what torchrun starts on each machine, with "
            "trainer=ddp for training"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if (
        trainer.num_nodes > 1
        and isinstance(environment, LightningEnvironment)
        and "MASTER_ADDR" not in os.environ
    ):
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes} waits for other machines: start the command on "
            "each, with MASTER_ADDR, MASTER_PORT and NODE_RANK in the environment"
        )


def check_built(trainer: Trainer, optimizer: Optimizer) -> None:
    """Check how a Trainer starts processes, and that it can clip the gradients of an optimiser.

    Raises:
        ConfigError: it starts copies of this process, or cannot clip.
    """
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy is a {type(trainer.strategy).__name__} that copies this process, "
            "which is not supported: write trainer=ddp"
        )
    clipped: Any = trainer.gradient_clip_val
    unscales = getattr(optimizer, "_step_supports_amp_scaling", False)
    if clipped and unscales and trainer.precision in ("16-mixed", "bf16-mixed"):
        raise ConfigError(
            f"trainer.gradient_clip_val={clipped} with trainer.precision={trainer.precision} does "
            "not go with a fused optimizer: choose optimizer.fused=false"
        )


@contextmanager
def lightning_refusals() -> Iterator[None]:
    """Raise what Lightning says of the Trainer's arguments as a `ConfigError`."""
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def check_validation(config: dict[str, Any]) -> None:
    """Check that what a run looks at after each epoch has a value.

    Raises:
        ConfigError: a callback monitors a metric of validation, or the schedule waits for one, and
            the run does not validate.
    """
    data, trainer = config["data"], config["trainer"]
    if data["val_size"] == 0 and data["validation"] == "split":
        reason = "data.val_size=0 leaves none"
    elif trainer.get("limit_val_batches", 1) == 0:
        reason = "trainer.limit_val_batches=0 leaves none"
    else:
        reason = None
    for name, node in config["callbacks"].items():
        if reason and str(node.get("monitor")).startswith("val/"):
            remedy = (
                f"set callbacks.{name}.monitor=null to keep the last epoch"
                if node["_target_"].endswith("Checkpoint")
                else f"set callbacks.{name}=null to do without"
            )
            raise ConfigError(
                f"callbacks.{name}.monitor={node['monitor']} needs validation images, and "
                f"{reason}: {remedy}"
            )
    if not str(config["scheduler"].get("_target_")).endswith("ReduceLROnPlateau"):
        return
    if reason:
        raise ConfigError(
            f"scheduler=plateau needs validation images, and {reason}: choose scheduler=constant"
        )
    if trainer.get("check_val_every_n_epoch", 1) != 1:
        raise ConfigError(
            "scheduler=plateau needs val/elbo after every epoch: set "
            "trainer.check_val_every_n_epoch=1"
        )
