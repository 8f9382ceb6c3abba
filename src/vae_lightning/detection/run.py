"""The task of `detect`: score images with one run, or with each job of a multirun."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_keys, check_section, nearest
from vae_lightning.detection.inputs import InputSource, check_inputs
from vae_lightning.detection.report import print_report, write_results
from vae_lightning.detection.results import score_images, score_names
from vae_lightning.detection.scores import UNITS, check_scores
from vae_lightning.detection.sweep import (
    check_jobs,
    find_jobs,
    print_table,
    table_rows,
    write_table,
)
from vae_lightning.errors import ConfigError
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import stage

_KEYS = (
    "task_name",
    "ckpt_path",
    "output_dir",
    "seed",
    "device",
    "data",
    "input",
    "fit",
    "against",
    "detect",
    "paths",
)


class DetectOptions(TypedDict):
    """The keys of the section `detect`, with their types."""

    score: str | list[str]
    num_samples: int
    false_positive_rate: float


@dataclass(frozen=True)
class DetectionRun:
    """A training run to score images with.

    Attributes:
        workspace: its model and data.
        source: of the images to score.
    """

    workspace: Workspace
    source: InputSource


@dataclass(frozen=True)
class Detection:
    """A checked configuration, with what the check has read.

    Attributes:
        config: resolved.
        runs: one run, or the finished jobs of a multirun.
        unfinished: folders of the other jobs.
        is_multirun: whether `ckpt_path` is the folder of a multirun.
    """

    config: dict[str, Any]
    runs: Sequence[DetectionRun]
    unfinished: Sequence[Path] = ()
    is_multirun: bool = False


def prepare(config: dict[str, Any]) -> Detection:
    """Check a configuration. Nothing is downloaded or written.

    Raises:
        ConfigError: a key, type or value does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
        DataError: the images of `input` cannot be read.
    """
    check_keys(config, _KEYS)
    _check_options(config["detect"])
    finished, unfinished = find_jobs(config["ckpt_path"])
    if unfinished and not finished:
        raise ConfigError(f"{config['ckpt_path']}: none of its {len(unfinished)} jobs has finished")
    if not finished:
        return Detection(config, [_prepare_run(config)])
    if config["input"] is not None:
        raise ConfigError(
            "input is scored with one run: set ckpt_path to a run, not to the folder of a multirun"
        )
    runs = [_prepare_run(config | {"ckpt_path": str(job)}) for job in finished]
    check_jobs(finished, [run.workspace.checkpoint for run in runs], config["against"])
    return Detection(config, runs, unfinished, is_multirun=True)


def detect(detection: Detection) -> None:
    """Score the images, write the results and print them."""
    folder = Path(detection.config["paths"]["run_dir"])
    if not detection.is_multirun:
        (run,) = detection.runs
        with stage("scoring"):
            result = score_images(run.workspace, run.source)
        with stage("drawing"):
            files = write_results(folder, result)
        print_report(result, files)
        return
    if detection.unfinished:
        names = ", ".join(job.name for job in detection.unfinished)
        print(f"warning: left out because they have not finished: {names}", file=sys.stderr)
    results = []
    multirun = Path(detection.config["ckpt_path"]).expanduser()
    total = len(detection.runs)
    for number, run in enumerate(detection.runs, start=1):
        job = Path(run.workspace.config["ckpt_path"]).relative_to(multirun)
        with stage(f"job {number} of {total}"):
            result = score_images(run.workspace, run.source)
            write_results(folder / job, result)
        results.append(result)
        areas = [
            f"{score.title} {score.metrics.auroc:.3f}" for score in result.scores if score.metrics
        ]
        print(f"{number} of {total}  {job}  AUROC: {', '.join(areas)}", flush=True)
    rows = table_rows(results, detection.config["against"])
    protocols = [result.protocol for result in results]
    print_table(rows, protocols, write_table(folder, rows, protocols))


def _check_options(options: dict[str, Any]) -> None:
    check_section(options, DetectOptions, "detect")
    names = [options["score"]] if isinstance(options["score"], str) else options["score"]
    if not names:
        raise ConfigError(f"detect.score is empty: name some of {', '.join(UNITS)}")
    for name in names:
        if name not in UNITS:
            raise ConfigError(f"detect.score={name} is not a score: {nearest(name, UNITS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"detect.score={names} names a score twice")
    try:
        at_least("detect.num_samples", options["num_samples"], 1)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not 0 < options["false_positive_rate"] < 1:
        raise ConfigError(
            f"detect.false_positive_rate={options['false_positive_rate']} is out of range: "
            "it must be above 0 and below 1"
        )


def _prepare_run(config: dict[str, Any]) -> DetectionRun:
    workspace = Workspace(config)
    try:
        check_scores(score_names(config), workspace.model)
    except ValueError as error:
        raise ConfigError(f"detect.score: {error}") from error
    source = check_inputs(workspace)
    data = workspace.datamodule
    count, rate = data.num_images["val"], config["detect"]["false_positive_rate"]
    if count == 0:
        raise ConfigError(
            "the run has no validation images (data.val_size=0), and the threshold is calibrated "
            "on them: train with data.val_size above 0"
        )
    if data.protocol.validation == "test" and config["input"] is None:
        raise ConfigError(
            "the run validates on the test split (data.validation=test), so its threshold would be "
            "calibrated on the images to score: train with data.validation=split, or set input"
        )
    if rate * count < 1 - 1e-6:
        raise ConfigError(
            f"detect.false_positive_rate={rate} is out of range: {count:,} validation images "
            f"resolve no rate below {1 / count:.2g}: choose "
            f"detect.false_positive_rate={math.ceil(1000 / count) / 1000:g} or more"
        )
    return DetectionRun(workspace, source)
