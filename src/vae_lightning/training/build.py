"""Builds a training run from a configuration."""

import gc
from dataclasses import dataclass
from typing import Any, TypedDict, get_type_hints

from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint as CheckpointCallback
from lightning.pytorch.callbacks import ProgressBar

from vae_lightning.callbacks import SaveOnInterrupt
from vae_lightning.callbacks.loggers import check_installed
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.expected import check_expected
from vae_lightning.cli.processes import ending_together
from vae_lightning.config import CONF_DIR, check_keys, check_type, instantiate, nearest
from vae_lightning.config.compatibility import (
    check_accelerator,
    check_parts,
    check_pixels,
    check_precision,
    check_together,
)
from vae_lightning.config.trainer_checks import (
    check_amount,
    check_built,
    check_processes,
    check_trainer,
    check_validation,
    lightning_refusals,
)
from vae_lightning.data import ImageDataModule
from vae_lightning.errors import ConfigError, DivergedError
from vae_lightning.training.initial_weights import InitialWeights, first_weights, take_weights
from vae_lightning.training.module import VAEModule
from vae_lightning.training.resuming import checkpoint_to_resume
from vae_lightning.training.scheduling import check_steps, interval, make_optimizer, make_scheduler
from vae_lightning.training.step_overhead import reduce_overhead


class TrainOptions(TypedDict):
    """The keys of `conf/train.yaml` that are in no group, with their types."""

    task_name: str
    tags: list[str]
    seed: int
    train: bool
    test: bool
    evaluate: bool
    nll_samples: int
    ckpt_path: str | None
    resume: None
    init_from: str | None
    freeze: list[str]
    data_fallback: str | None
    expected: dict[str, dict[str, float | None]] | None


_GROUPS = (
    "data",
    "model",
    "objective",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "logger",
    "paths",
)


@dataclass(frozen=True)
class Run:
    """The objects of a training run.

    Attributes:
        config: resolved, plain dicts and lists.
        module: the LightningModule, with the model and the objective.
        datamodule: the data; nothing is fetched or read yet.
        trainer: Lightning's Trainer.
        resumed: the checkpoint to resume from, or with `train=false` the one to test.
        initial: what the model has taken from the checkpoint of `init_from`; None if nothing.
    """

    config: dict[str, Any]
    module: VAEModule
    datamodule: ImageDataModule
    trainer: Trainer
    resumed: Checkpoint | None
    initial: InitialWeights | None

    def fit(self) -> None:
        """Train, from `resumed` if there is one.

        Raises:
            DivergedError: a term stopped being finite; the message names the last good checkpoint.
        """
        reduce_overhead(self.trainer)
        # These objects live as long as the run; each garbage collection of them takes 0.3 s.
        gc.collect()
        gc.freeze()
        try:
            with ending_together(self.trainer), lightning_refusals():
                self.trainer.fit(
                    self.module,
                    self.datamodule,
                    ckpt_path=self.resumed.path if self.resumed else None,
                    weights_only=True,
                )
        except DivergedError as error:
            raise DivergedError(f"{error}; {_last_good(self.trainer)}") from error
        finally:
            gc.unfreeze()


def build(config: dict[str, Any]) -> Run:
    """Build a run; nothing is fetched, read or written.

    Args:
        config: resolved, plain dicts and lists.

    Raises:
        ConfigError: a key, type or value is wrong, or options do not fit together.
        CheckpointError: `ckpt_path` is not a checkpoint, or is of another model or a later epoch;
            or the weights of `init_from` do not fit.
    """
    config = _checked(config)
    check_installed(config["logger"])
    datamodule = instantiate(config["data"], "data")
    check_parts(config)
    check_trainer(config["trainer"])
    check_accelerator(config["trainer"])
    if config["train"]:
        check_validation(config)
    check_amount(config)
    seed_everything(config["seed"], workers=True, verbose=False)
    model = instantiate(config["model"], "model")
    initial = None
    if config["init_from"] is not None and config["ckpt_path"] is None:
        initial = take_weights(model, config["model"], Checkpoint(config["init_from"]))
    module = VAEModule(
        model=model,
        objective=instantiate(config["objective"], "objective"),
        optimizer=make_optimizer(config["optimizer"]),
        scheduler=make_scheduler(config["scheduler"], config["trainer"].get("max_epochs")),
        seed=config["seed"],
        config=config,
        interval=interval(config["scheduler"]),
        frozen=config["freeze"],
        trained=initial.taken if initial else (),
    )
    optimizer, scheduler = module.optimizer_and_scheduler()
    check_steps(scheduler)
    check_together(module.model, module.objective)
    check_pixels(module.model, config["data"]["binarize"])
    check_precision(module.model, config["trainer"].get("precision"), "trainer.precision")
    callbacks = [
        instantiate(node, f"callbacks.{name}") for name, node in config["callbacks"].items()
    ]
    # It ends a step that the others have to have seen.
    callbacks.sort(key=lambda callback: isinstance(callback, SaveOnInterrupt))
    # Lightning adds its own progress bar and checkpoint callback unless it is switched off.
    switches = {"enable_progress_bar": ProgressBar, "enable_checkpointing": CheckpointCallback}
    switched_off = {
        key: False
        for key, kind in switches.items()
        if not any(isinstance(callback, kind) for callback in callbacks)
    }
    loggers = [instantiate(node, f"logger.{name}") for name, node in config["logger"].items()]
    with lightning_refusals():
        trainer = instantiate(
            switched_off | config["trainer"], "trainer", callbacks=callbacks, logger=loggers
        )
    check_built(trainer, optimizer)
    check_processes(trainer, "trainer.devices")
    if config["evaluate"] and config["train"] and "enable_checkpointing" in switched_off:
        raise ConfigError("evaluate=true needs a checkpoint: choose callbacks that keep one")
    if config["evaluate"] and trainer.limit_test_batches == 0:
        raise ConfigError(
            "evaluate=true scores test images, and trainer.limit_test_batches=0 leaves none: leave "
            "one of them out"
        )
    resumed = checkpoint_to_resume(config, trainer.max_epochs, datamodule)
    # In the dictionary that the module saves.
    config["init_from"] = first_weights(config["init_from"], initial, resumed)
    return Run(config, module, datamodule, trainer, resumed, initial)


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, without the callbacks and loggers that were not chosen.

    Raises:
        ConfigError: a key or the type or value of an option is wrong.
    """
    options = get_type_hints(TrainOptions)
    check_keys(config, (*options, *_GROUPS))
    check_expected(config["expected"])
    for key, hint in options.items():
        check_type(config[key], hint, key)
    for group in _GROUPS:
        if not isinstance(config[group], dict):
            raise ConfigError(f"{group} is missing: name one of its options, as in {group}=...")
    _check_added_callbacks(config)
    for group in ("callbacks", "logger"):
        for name, node in config[group].items():
            if not isinstance(node, dict | None):
                raise ConfigError(
                    f"{group}.{name}={node} should be a section, or null to do without"
                )
    fallbacks = [file.stem for file in (CONF_DIR / "data").glob("*.yaml")]
    if config["data_fallback"] not in (None, *fallbacks):
        raise ConfigError(
            f"data_fallback={config['data_fallback']} is not an option of data: "
            f"{nearest(config['data_fallback'], fallbacks)}"
        )
    if config["nll_samples"] < 1:
        raise ConfigError(f"nll_samples={config['nll_samples']} is out of range: at least 1")
    if not 0 <= config["seed"] < 2**32:
        raise ConfigError(f"seed={config['seed']} is out of range: it must be from 0 to 2**32 - 1")
    # An experiment may set keys of a callback that was not chosen.
    chosen = {
        group: {name: node for name, node in config[group].items() if node and "_target_" in node}
        for group in ("callbacks", "logger")
    }
    return {**config, **chosen}


def _check_added_callbacks(config: dict[str, Any]) -> None:
    """Refuse `callbacks=early_stopping`, which would train without the default callbacks."""
    nodes = config["callbacks"]
    # A section without a target tunes a callback that was not chosen; null leaves a chosen one out.
    chosen = [
        name for name, node in nodes.items() if not isinstance(node, dict) or "_target_" in node
    ]
    added = [name for name in ("early_stopping", "averaged_weights", "debug") if name in chosen]
    if config["train"] and added and "checkpoint" not in chosen:
        raise ConfigError(
            f"callbacks={added[0]} replaces the default callbacks: "
            f"write callbacks=[default,{','.join(added)}] to add to them"
        )


def _last_good(trainer: Trainer) -> str:
    saver: Any = trainer.checkpoint_callback
    # After a resume there may only be the best checkpoint of the earlier run.
    if saver and (path := saver.last_model_path or saver.best_model_path):
        return f"the last good checkpoint is {path}"
    return "no checkpoint was saved before: try a smaller optimizer.lr"
