"""A detection: checked, scored, written, printed; of one run, or of all jobs of a sweep."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_keys, check_section, nearest
from vae_lightning.detection.inputs import Sources, check_sources
from vae_lightning.detection.report import show, write
from vae_lightning.detection.results import find_anomalies, score_names
from vae_lightning.detection.scores import UNITS, check_scores
from vae_lightning.detection.sweep import check_jobs, jobs_of, rows_of, show_table, write_table
from vae_lightning.errors import ConfigError
from vae_lightning.utils.checks import at_least

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
class Detection:
    """What a detection needs.

    Attributes:
        config: resolved.
        runs: the model to score with, and where its images come from; of a sweep, those of each job
            that has finished.
        unfinished: jobs of a sweep that have not.
        is_sweep: whether `ckpt_path` is the folder of a sweep.
    """

    config: dict[str, Any]
    runs: Sequence[tuple[Workspace, Sources]]
    unfinished: Sequence[Path] = ()
    is_sweep: bool = False


def prepare(config: dict[str, Any]) -> Detection:
    """Refuse what cannot be scored: nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
        DataError: the user's own images cannot be read.
    """
    check_keys(config, _KEYS)
    _check_options(config["detect"])
    finished, unfinished = jobs_of(config["ckpt_path"])
    if unfinished and not finished:
        raise ConfigError(f"{config['ckpt_path']}: none of its {len(unfinished)} jobs has finished")
    if not finished:
        return Detection(config, [_prepare_run(config)])
    if config["input"] is not None:
        raise ConfigError("input is scored by one run: name one, not the folder of a multirun")
    runs = [_prepare_run(config | {"ckpt_path": str(job)}) for job in finished]
    check_jobs(finished, [workspace.checkpoint for workspace, _ in runs], config["against"])
    return Detection(config, runs, unfinished, is_sweep=True)


def detect(detection: Detection) -> None:
    """Score the images, write the results, and print them."""
    folder = Path(detection.config["paths"]["run_dir"])
    if not detection.is_sweep:
        ((workspace, sources),) = detection.runs
        result = find_anomalies(workspace, sources)
        show(result, write(folder, result))
        return
    if detection.unfinished:
        names = ", ".join(job.name for job in detection.unfinished)
        print(f"warning: left out because they have not finished: {names}", file=sys.stderr)
    results = []
    for number, (workspace, sources) in enumerate(detection.runs, start=1):
        result = find_anomalies(workspace, sources)
        job = Path(workspace.config["ckpt_path"]).name
        write(folder / job, result)
        results.append(result)
        areas = [
            f"{scored.title} {scored.quality.auroc:.3f}"
            for scored in result.scored
            if scored.quality
        ]
        total = len(detection.runs)
        print(f"{number} of {total}  {job}  AUROC: {', '.join(areas)}", flush=True)
    rows = rows_of(results, detection.config["against"])
    protocols = [result.protocol for result in results]
    show_table(rows, protocols, write_table(folder, rows, protocols))


def _check_options(options: dict[str, Any]) -> None:
    check_section(options, DetectOptions, "detect")
    names = [options["score"]] if isinstance(options["score"], str) else options["score"]
    if not names:
        raise ConfigError(f"detect.score is empty: name some of {', '.join(UNITS)}")
    for name in names:
        if name not in UNITS:
            raise ConfigError(f"detect.score={name} is not one: {nearest(name, UNITS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"detect.score={names} names one twice")
    try:
        at_least("detect.num_samples", options["num_samples"], 1)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not 0 < options["false_positive_rate"] < 1:
        raise ConfigError(
            f"detect.false_positive_rate={options['false_positive_rate']} is out of range: "
            "it must be above 0 and below 1"
        )


def _prepare_run(config: dict[str, Any]) -> tuple[Workspace, Sources]:
    workspace = Workspace(config)
    try:
        check_scores(score_names(config), workspace.model)
    except ValueError as error:
        raise ConfigError(f"detect.score: {error}") from error
    sources = check_sources(workspace)
    data = workspace.datamodule
    count, rate = data.num_images["val"], config["detect"]["false_positive_rate"]
    if count == 0:
        raise ConfigError(
            "the run held no validation images out (data.val_size=0), and the threshold is "
            "calibrated on them: train with data.val_size above 0"
        )
    if data.protocol.validation == "test" and config["input"] is None:
        raise ConfigError(
            "the run validates on the test split (data.validation=test), so that no threshold can "
            "be calibrated beside it: train with data.validation=split, or set input"
        )
    if rate * count < 1 - 1e-6:
        raise ConfigError(
            f"detect.false_positive_rate={rate} is out of range: {count:,} validation images "
            f"resolve no share below {1 / count:.2g}"
        )
    return workspace, sources
