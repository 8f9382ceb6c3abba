"""Evaluating a checkpoint: check, compute, write, print."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, get_type_hints

from lightning import Trainer
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor

from vae_lightning.callbacks.tensorboard import logger_of
from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.paths import relative
from vae_lightning.cli.processes import ending_together
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_keys, check_type, compose, instantiate, to_container
from vae_lightning.config.compatibility import check_precision
from vae_lightning.config.trainer_checks import check_processes
from vae_lightning.errors import ConfigError
from vae_lightning.evaluation import report
from vae_lightning.evaluation.bounds_module import BoundsModule
from vae_lightning.evaluation.latents import latent_scores
from vae_lightning.evaluation.likelihood import likelihood_scores
from vae_lightning.evaluation.samples import sample_scores
from vae_lightning.metrics.bounds import has_bound
from vae_lightning.metrics.latents import Score
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import progress, stage

# As many as precision and recall need.
_MIN_IMAGES = 4

_PARTS = ("likelihood", "latents", "samples")


class EvaluateOptions(TypedDict):
    """The keys of `conf/evaluate.yaml` that are its own, with their types."""

    parts: list[Literal["likelihood", "latents", "samples"]]
    split: Literal["test", "val", "train"]
    num_samples: int
    num_images: int | None
    devices: int
    precision: str


_SHARED = ("task_name", "ckpt_path", "output_dir", "seed", "device", "data", "paths")


@dataclass(frozen=True)
class Evaluation:
    """The objects that an evaluation needs.

    Attributes:
        workspace: the model, its data, and the folder of the results.
        options: by the keys of `EvaluateOptions`.
        trainer: Lightning's, which spreads the images over devices.
    """

    workspace: Workspace
    options: dict[str, Any]
    trainer: Trainer


def prepare(config: dict[str, Any]) -> Evaluation:
    """Check an evaluation and build what it needs; nothing is downloaded or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
    """
    hints = get_type_hints(EvaluateOptions)
    check_keys(config, (*_SHARED, *hints))
    for key, hint in hints.items():
        check_type(config[key], hint, key)
    try:
        at_least("num_samples", config["num_samples"], 1)
        at_least("devices", config["devices"], 1)
        if config["num_images"] is not None:
            at_least("num_images", config["num_images"], _MIN_IMAGES)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not config["parts"]:
        raise ConfigError(f"parts is empty: name some of {', '.join(_PARTS)}")
    workspace = Workspace(config)
    data, split = workspace.datamodule, config["split"]
    if (count := data.num_images[split]) == 0:
        raise ConfigError(f"split={split} holds no images in this run")
    scored = min(count, config["num_images"] or count)
    if config["devices"] > scored:
        raise ConfigError(f"devices={config['devices']} would share {scored} images: use fewer")
    if "samples" in config["parts"] and count < _MIN_IMAGES:
        raise ConfigError(
            f"split={split} holds {count} images, and parts=[samples] needs {_MIN_IMAGES}"
        )
    data.check_in_memory(split)
    if data.class_names and {"latents", "samples"} & set(config["parts"]):
        data.check_in_memory("train")  # for classifiers and probes
    check_precision(workspace.model, config["precision"], "precision")
    trainer = instantiate(
        {
            "_target_": "lightning.pytorch.Trainer",
            "accelerator": workspace.device.type,
            "devices": config["devices"],
            "precision": config["precision"],
            "default_root_dir": config["paths"]["run_dir"],
            "enable_model_summary": False,
            "enable_progress_bar": False,
        },
        "trainer",
        logger=False,
        enable_checkpointing=False,
    )
    check_processes(trainer, "devices")
    return Evaluation(workspace, {key: config[key] for key in hints}, trainer)


def evaluate_checkpoint(
    checkpoint: Path,
    run: dict[str, Any],
    devices: int,
    num_test: int,
    loggers: Sequence[Logger],
) -> float | None:
    """Evaluate the checkpoint of a training run with the settings of `conf/evaluate.yaml`.

    Args:
        checkpoint: the file.
        run: the run's resolved configuration: its device, precision and `nll_samples` are used,
            and `trainer.limit_test_batches`, so that the images are those of the run's test.
        devices: how many share the images.
        num_test: images in the test split.
        loggers: of the run.
    """
    folder = Path(run["paths"]["run_dir"]) / "evaluate" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    trainer = run["trainer"]
    accelerator = trainer.get("accelerator", "auto")
    num_images = images_tested(
        trainer.get("limit_test_batches"), num_test, run["data"]["eval_batch_size"], devices
    )
    composed = compose(
        "evaluate",
        [
            f"ckpt_path={quoted(str(checkpoint))}",
            f"num_samples={run['nll_samples']}",
            f"device={accelerator}",
            f"precision={quoted(str(trainer.get('precision', '32-true')))}",
            f"devices={devices}",
            f"num_images={'null' if num_images is None else num_images}",
            f"paths.run_dir={quoted(str(folder))}",
        ],
    )
    return evaluate(prepare(to_container(composed)), loggers)


def images_tested(
    limit: float | None, num_images: int, batch_size: int, processes: int
) -> int | None:
    """How many of the first images Lightning tests; None for all of them.

    Args:
        limit: `trainer.limit_test_batches`: a number of batches, a fraction of them, or None.
        num_images: in the split.
        batch_size: of one process.
        processes: how many share the images.

    Example:
        >>> images_tested(1, 360, batch_size=100, processes=2)
        200
        >>> images_tested(0.5, 360, batch_size=100, processes=1)
        200
    """
    if limit is None:
        return None
    batches = math.ceil(math.ceil(num_images / processes) / batch_size)
    kept = limit if isinstance(limit, int) else int(limit * batches)
    tested = kept * batch_size * processes
    return None if tested >= num_images else max(_MIN_IMAGES, tested)


def evaluate(evaluation: Evaluation, loggers: Sequence[Logger] | None = None) -> float | None:
    """Compute the metrics, write `metrics.json`, scalars and pictures, and print a table.

    Args:
        evaluation: checked.
        loggers: of the run, while it lasts; None for TensorBoard, which shows the results with
            those of the run if they are of all images and in the folder of the run.

    Returns:
        `nll` of the split, in nats, if `parts` has `likelihood`.
    """
    workspace, options, trainer = evaluation.workspace, evaluation.options, evaluation.trainer
    model, device = workspace.model, workspace.device
    with stage(f"reading {workspace.datamodule.source.title}"):
        images, labels = workspace.images(options["split"])
    images, labels = images[: options["num_images"]], labels[: options["num_images"]]
    if trainer.is_global_zero:
        _print_subject(evaluation, len(images))
    scores: dict[str, Score] = {}
    seconds: dict[str, float] = {}
    pictures: dict[str, Tensor] = {}
    bounds = space = None

    if "likelihood" in options["parts"]:
        started = time.perf_counter()
        with progress("images", len(images)) as advance:
            module = BoundsModule(
                model,
                images,
                labels,
                options["num_samples"],
                workspace.seed,
                # The other processes do as many at the same time.
                advance=lambda count: advance(count * trainer.world_size),
            )
            with ending_together(trainer):
                trainer.test(module, verbose=False)
        bounds = module.bounds
        scores |= likelihood_scores(bounds, math.prod(model.image_shape))
        if not has_bound(model):
            # Without a density of the posterior they bound nothing.
            for name in ("nll", "nll_standard_error", "bits_per_dimension"):
                scores.pop(name, None)
        seconds["likelihood"] = time.perf_counter() - started
    if not trainer.is_global_zero:
        return None

    model = model.to(device).eval()
    x, labels = workspace.to_model(images), labels.to(device)
    if "latents" in options["parts"]:
        started = time.perf_counter()
        with stage("use of the latents"):
            scores |= latent_scores(workspace, x, labels)
        seconds["latents"] = time.perf_counter() - started
    if "samples" in options["parts"]:
        started = time.perf_counter()
        with stage("samples and reconstructions"):
            found, pictures, space = sample_scores(workspace, options["split"], x, labels, bounds)
        scores |= found
        seconds["samples"] = time.perf_counter() - started

    tagged = {f"{options['split']}/{name}": value for name, value in scores.items()}
    protocol = report.protocol(workspace, options, len(images))
    protocol |= {"feature_space": space, "seconds": seconds}
    if loggers is None:
        whole = protocol["images"] == protocol["images_in_split"]
        loggers = [logger_of(workspace.checkpoint if whole else None, workspace.folder)]
    with stage("writing"):
        report.write(workspace.folder, tagged, protocol, pictures, loggers)
    report.show(scores, protocol, workspace.checkpoint.config, workspace.folder)
    nll = scores.get("nll")
    return nll if isinstance(nll, float) else None


def _print_subject(evaluation: Evaluation, num_images: int) -> None:
    """Print which images are evaluated, and which checkpoint."""
    workspace, options = evaluation.workspace, evaluation.options
    data, checkpoint = workspace.data, workspace.checkpoint
    Console(highlight=False).print(
        f"[bold]{data.source.title}[/], {_count(num_images, data.num_images[options['split']])} "
        f"of the {options['split']} split · "
        f"{relative(checkpoint.path)}, epoch {checkpoint.epoch + 1}",
        soft_wrap=True,
    )
    if not data.class_names and {"latents", "samples"} & set(options["parts"]):
        print(
            "The images have no classes: no label is read from the latents, and no classifier "
            "compares samples with images."
        )


def _count(scored: int, total: int) -> str:
    return f"{total:,} images" if scored == total else f"{scored:,} of {total:,} images"
