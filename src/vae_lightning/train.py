"""Train a model: `python -m vae_lightning.train [key=value ...]`."""

import gc
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from vae_lightning import command
from vae_lightning.config import CONF_DIR, check_keys, check_type, instantiate, nearest
from vae_lightning.errors import ConfigError, DivergedError

if TYPE_CHECKING:  # a run needs them; --help and --cfg answer without
    from lightning import Trainer

    from vae_lightning.data import ImageDataModule
    from vae_lightning.module import VAEModule


class Options(TypedDict):
    """The keys of `conf/train.yaml` itself, with their types."""

    task_name: str
    tags: list[str]
    seed: int
    train: bool
    test: bool
    evaluate: bool
    nll_samples: int
    ckpt_path: str | None
    data_fallback: str | None


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
    """The objects that a configuration describes."""

    module: "VAEModule"
    datamodule: "ImageDataModule"
    trainer: "Trainer"


def build(config: dict[str, Any]) -> Run:
    """Build a run without doing any of it: nothing is fetched or written.

    Args:
        config: resolved, plain dicts and lists.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint, or of another model or a later epoch.
    """
    options = get_type_hints(Options)
    check_keys(config, (*options, *_GROUPS))
    for key, hint in options.items():
        check_type(config[key], hint, key)
    for group in _GROUPS:
        if not isinstance(config[group], dict):
            raise ConfigError(f"{group} is missing: name one of its options, as in {group}=...")
    for group in ("callbacks", "logger"):
        for name, node in config[group].items():
            if not isinstance(node, dict | None):
                raise ConfigError(
                    f"{group}.{name}={node} should be a section, or null to do without"
                )
        # An experiment may tune one that was not chosen.
        config[group] = {
            name: node for name, node in config[group].items() if node and "_target_" in node
        }
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

    settle_lightning()
    from lightning import seed_everything
    from lightning.pytorch.callbacks import Checkpoint, ProgressBar

    from vae_lightning.callbacks.idle import leave_out_idle_hooks
    from vae_lightning.compatibility import check_accelerator, check_parts, check_together
    from vae_lightning.module import VAEModule

    datamodule = instantiate(config["data"], "data")
    check_parts(config)
    check_accelerator(config["trainer"])
    seed_everything(config["seed"], workers=True, verbose=False)
    module = VAEModule(
        model=instantiate(config["model"], "model"),
        objective=instantiate(config["objective"], "objective"),
        optimizer=instantiate(config["optimizer"], "optimizer"),
        scheduler=instantiate(config["scheduler"], "scheduler"),
        seed=config["seed"],
        config=config,
    )
    module.configure_optimizers()
    check_together(module.model, module.objective)
    callbacks = [
        instantiate(node, f"callbacks.{name}") for name, node in config["callbacks"].items()
    ]
    # Lightning would add its own where there is none.
    kinds = {"enable_progress_bar": ProgressBar, "enable_checkpointing": Checkpoint}
    left_out = {
        key: False
        for key, kind in kinds.items()
        if not any(isinstance(callback, kind) for callback in callbacks)
    }
    trainer = instantiate(
        left_out | config["trainer"],
        "trainer",
        callbacks=callbacks,
        logger=[instantiate(node, f"logger.{name}") for name, node in config["logger"].items()],
    )
    leave_out_idle_hooks(callbacks)
    if config["ckpt_path"] is not None:
        from vae_lightning.checkpoint import check_epochs_left, check_same_model

        checkpoint = given(config)
        check_same_model(checkpoint, config["model"])
        if config["train"]:
            check_epochs_left(checkpoint, trainer.max_epochs)
    elif not config["train"]:
        raise ConfigError("train=false needs a checkpoint to test: set ckpt_path")
    if config["train"] and trainer.max_epochs == 0:
        raise ConfigError("trainer.max_epochs=0 trains nothing: at least 1, or -1 without end")
    if config["evaluate"] and config["train"] and "enable_checkpointing" in left_out:
        raise ConfigError("evaluate=true needs a checkpoint: choose callbacks that keep one")
    return Run(module, datamodule, trainer)


def given(config: dict[str, Any]) -> Path:
    """The checkpoint to go on from, of a run's folder the last, or to test, of a folder the best.

    Raises:
        CheckpointError: there is none.
    """
    from vae_lightning.checkpoint import find

    return find(config["ckpt_path"], "last" if config["train"] else "best")


def fit(run: Run, checkpoint: Path | None = None) -> None:
    """Train, from a checkpoint where there is one.

    Raises:
        DivergedError: a loss stopped being finite; the message names the last good checkpoint.
    """
    # What is there now stays: looking through it for garbage takes 0.3 s each time.
    gc.collect()
    gc.freeze()
    try:
        run.trainer.fit(run.module, run.datamodule, ckpt_path=checkpoint, weights_only=True)
    except DivergedError as error:
        raise DivergedError(f"{error}; {_last_good(run.trainer)}") from error
    finally:
        gc.unfreeze()


def train(config: dict[str, Any]) -> float | None:
    """Train, test and report, as a configuration says.

    Args:
        config: resolved, plain dicts and lists.

    Returns:
        `val/elbo` of the best epoch, in nats: what a sweep maximises. None without validation.
    """
    from vae_lightning import report
    from vae_lightning.metrics.latents import Score

    run = build(config)
    module, datamodule, trainer = run.module, run.datamodule, run.trainer
    checkpoint = given(config) if config["ckpt_path"] is not None else None
    run.trainer.callbacks.insert(0, report.Introduction(run))  # type: ignore[attr-defined]
    if checkpoint:
        report.go_on(run, checkpoint, config)
    metrics: dict[str, Score] = {}
    best_score = None
    if config["train"]:
        fit(run, checkpoint)
        metrics.update(report.metrics_of(trainer))
        if module.images_trained:
            images = module.images_trained * trainer.world_size
            metrics |= {"seconds": module.seconds, "images_per_second": images / module.seconds}
        saver: Any = trainer.checkpoint_callback
        checkpoint = (saver.best_model_path or saver.last_model_path or None) if saver else None
        if saver and saver.best_model_score is not None:
            best_score = float(saver.best_model_score)
    if config["test"]:
        trainer.test(module, datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
        metrics.update(report.metrics_of(trainer))
        metrics.update(report.latent_usage(run))
    report.conclude(run, config, metrics, str(checkpoint) if checkpoint else None)
    if config["evaluate"] and checkpoint:
        from vae_lightning.evaluate import evaluate_run

        evaluate_run(str(checkpoint), config)
    return best_score


def _last_good(trainer: "Trainer") -> str:
    saver: Any = trainer.checkpoint_callback
    # After a resume there may be no more than the best of the run before.
    if saver and (path := saver.last_model_path or saver.best_model_path):
        return f"the last good checkpoint is {path}"
    return "no checkpoint was saved before: try a smaller optimizer.lr"


def settle_lightning() -> None:
    """Keep Lightning's advice to programmers from the users of a command."""
    import lightning.pytorch  # sets what is set anew here  # noqa: F401

    # Lightning has torch look for NVIDIA's library whenever it is asked for CUDA, and Adam asks at
    # each step.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        ".*isinstance\\(treespec, LeafSpec\\).*",  # inside lightning's own tree functions
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*You defined a `validation_step` but have no `val_dataloader`.*",
        ".*Detected call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*",
        ".*GPU available but not used.*",
        ".*is smaller than the logging interval.*",
        ".*Total length of .* across ranks is zero.*",
    ):
        warnings.filterwarnings("ignore", message)


def main() -> None:
    command.run("train", check=build, task=train)


if __name__ == "__main__":
    main()
