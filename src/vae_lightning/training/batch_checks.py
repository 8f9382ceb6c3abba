"""Checks of the Trainer's arguments that count batches, once the data is read."""

from typing import Any

from lightning import Trainer

from vae_lightning.data import ImageDataModule
from vae_lightning.errors import ConfigError


def check_batches(trainer: Trainer) -> None:
    """Check, before the first step, that what a run is limited to is a batch at least.

    Raises:
        ConfigError: a fraction of the batches is less than one, validation is due after more
            batches than an epoch has, or a process has no image to train on.
    """
    state: Any = trainer
    data: ImageDataModule = state.datamodule
    if (images := data.num_images["train"]) < trainer.world_size:
        raise ConfigError(
            f"{trainer.world_size} processes cannot divide {images} training images: use fewer "
            "trainer.devices"
        )
    loaders = {
        "train": data.train_dataloader,
        "val": data.val_dataloader,
        "test": data.test_dataloader,
    }
    counts = {stage: len(loader()) for stage, loader in loaders.items()}
    for stage, count in counts.items():
        key = f"limit_{stage}_batches"
        if state.overfit_batches and stage != "test":
            key = "overfit_batches"
        limit = getattr(state, key)
        if isinstance(limit, float) and 0 < limit < 1 and count > 0 and int(limit * count) < 1:
            raise ConfigError(
                f"trainer.{key}={limit} of {count} {stage} batches is less than one: set it to a "
                "number of batches, such as 1"
            )
    limit = state.limit_train_batches
    batches = (
        min(counts["train"], limit) if isinstance(limit, int) else int(counts["train"] * limit)
    )
    every = state.val_check_interval
    if (
        isinstance(every, int)
        and every > batches > 0
        and state.check_val_every_n_epoch is not None
        and state.limit_val_batches
        and counts["val"]
    ):
        raise ConfigError(
            f"trainer.val_check_interval={every} is more than the {batches} batches of an epoch: "
            "set trainer.check_val_every_n_epoch=null to count the batches of all epochs"
        )
