"""What a resumed run takes from a checkpoint, where its optimiser or schedule has changed."""

import warnings
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config.older_versions import updated
from vae_lightning.data import ImageDataModule
from vae_lightning.errors import ConfigError
from vae_lightning.training.scheduling import MakeOptimizer, interval


def checkpoint_to_resume(
    config: dict[str, Any], max_epochs: int | None, datamodule: ImageDataModule
) -> Checkpoint | None:
    """The checkpoint of `ckpt_path`; of a folder, the last one to resume or the best one to test.

    Args:
        config: of the run.
        max_epochs: of the Trainer; -1 and None are without end.
        datamodule: the data of the run.

    Raises:
        ConfigError: nothing is trained and there is no checkpoint to test.
        CheckpointError: it does not exist, or is of another model or a later epoch.
    """
    if config["ckpt_path"] is None:
        if not config["train"]:
            raise ConfigError("train=false needs a checkpoint to test: set ckpt_path")
        return None
    checkpoint = Checkpoint(config["ckpt_path"], "last" if config["train"] else "best")
    checkpoint.check_same_model(config["model"])
    checkpoint.check_same_data(datamodule)
    if config["train"]:
        checkpoint.check_epochs_left(max_epochs)
    return checkpoint


def configure_resumed(
    checkpoint: dict[str, Any],
    config: dict[str, Any],
    make_optimizer: MakeOptimizer,
    optimizer: Optimizer,
    scheduler: LRScheduler,
) -> str | None:
    """Replace the optimiser's options and the schedule in a checkpoint by the configured ones.

    The checkpoint holds those of the earlier run, whose schedule may have ended sooner. The
    optimiser's state and the number of epochs and steps done are kept. Where another optimiser has
    been chosen, its state starts anew.

    Args:
        checkpoint: as it was saved; changed in place.
        config: of the resumed run.
        make_optimizer: makes the optimiser of some parameters.
        optimizer: that of the resumed run, which has taken no step.
        scheduler: its schedule, which has taken no step either.

    Returns:
        A line for the user where the optimiser's state starts anew, otherwise None.
    """
    earlier = updated(checkpoint["config"])
    saved = checkpoint["optimizer_states"][0]
    _catch_up(scheduler, optimizer, checkpoint, earlier, config)
    checkpoint["lr_schedulers"] = [scheduler.state_dict()]
    if reason := _unfit(saved["state"], earlier, config, make_optimizer):
        checkpoint["optimizer_states"] = [optimizer.state_dict()]
        return f"the optimiser starts anew: {reason}"
    saved["param_groups"] = optimizer.state_dict()["param_groups"]
    return None


def _unfit(
    state: dict[int, dict[str, Any]],
    earlier: dict[str, Any],
    config: dict[str, Any],
    make_optimizer: MakeOptimizer,
) -> str | None:
    """Why the state of the earlier optimiser cannot be used, or None."""
    frozen, freezes = ({*one.get("freeze", [])} for one in (earlier, config))
    if frozen != freezes:
        return f"freeze was [{','.join(sorted(frozen))}]"
    kept = {key for entries in state.values() for key in entries}
    if not kept:
        return None
    before, now = (_name(one, "optimizer") for one in (earlier, config))
    if before != now:
        return f"the checkpoint holds the state of {before}, not of {now}"
    # An option such as amsgrad adds to the state.
    weight = torch.nn.Parameter(torch.zeros(1, 1))
    weight.grad = torch.zeros(1, 1)
    trial = make_optimizer([weight])
    trial.step()
    if kept != trial.state[weight].keys():
        return "the state in the checkpoint does not fit its options"
    return None


def _catch_up(
    scheduler: LRScheduler,
    optimizer: Optimizer,
    checkpoint: dict[str, Any],
    earlier: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Bring a new schedule to where the checkpoint was saved."""
    saved = checkpoint["lr_schedulers"][0]
    if not isinstance(scheduler, ReduceLROnPlateau):
        with warnings.catch_warnings():
            # The optimiser takes no steps here.
            warnings.filterwarnings("ignore", ".*`lr_scheduler.step\\(\\)` before.*")
            for _ in range(_steps_done(checkpoint, earlier, config)):
                scheduler.step()
        return
    if _name(earlier, "scheduler") != "ReduceLROnPlateau":
        return
    for key in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
        setattr(scheduler, key, saved[key])
    # A learning rate that is set anew replaces the reduced one.
    if earlier["optimizer"].get("lr") == config["optimizer"].get("lr"):
        scheduler._last_lr = saved["_last_lr"]
        for group, rate in zip(optimizer.param_groups, saved["_last_lr"], strict=True):
            group["lr"] = rate


def _steps_done(checkpoint: dict[str, Any], earlier: dict[str, Any], config: dict[str, Any]) -> int:
    """How many steps the schedule of a resumed run has done: of the optimiser, or epochs."""
    before, now = (interval(one.get("scheduler", {})) for one in (earlier, config))
    if before == now:
        return checkpoint["lr_schedulers"][0]["last_epoch"]
    if now == "step":
        return checkpoint["global_step"]
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return checkpoint["epoch"] + batches["is_last_batch"]


def _name(config: dict[str, Any], group: str) -> str:
    return config.get(group, {}).get("_target_", "").rpartition(".")[2]
