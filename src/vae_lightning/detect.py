"""Score images for anomaly: `python -m vae_lightning.detect ckpt_path=<run>`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from vae_lightning import command
from vae_lightning.checks import at_least
from vae_lightning.config import check_keys, check_section, nearest
from vae_lightning.errors import ConfigError
from vae_lightning.trained import Studio, check_trained, datamodule_of, device_of

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.detection.findings import Findings

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


class Options(TypedDict):
    """The keys of the section `detect`, with their types."""

    score: str | list[str]
    num_samples: int
    false_positive_rate: float


def check(config: dict[str, Any]) -> None:
    """Refuse what cannot be scored: nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
        DataError: the user's own images cannot be read.
    """
    from vae_lightning.detection.sweep import check_jobs, jobs_of

    check_keys(config, _KEYS)
    _check_options(config["detect"])
    device_of(config)
    done, left = jobs_of(config["ckpt_path"])
    if left and not done:
        raise ConfigError(f"{config['ckpt_path']}: none of its {len(left)} jobs has finished")
    if done and config["input"] is not None:
        raise ConfigError("input is scored by one run: name one, not the folder of a multirun")
    for job in done:
        _check_run(config | {"ckpt_path": str(job)})
    if done:
        check_jobs(done, config["against"])
    else:
        _check_run(config)


def _check_options(options: dict[str, Any]) -> None:
    from vae_lightning.detection.scores import UNITS

    check_section(options, Options, "detect")
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


def _check_run(config: dict[str, Any]) -> None:
    from vae_lightning.detection.findings import score_names
    from vae_lightning.detection.scores import check_scores
    from vae_lightning.detection.subjects import check_subjects, other_data

    model = check_trained(config)
    try:
        check_scores(score_names(config), model)
    except ValueError as error:
        raise ConfigError(f"detect.score: {error}") from error
    check_subjects(config, model.image_shape)
    data = datamodule_of(config)
    if config["against"] is not None:
        other_data(config["against"], data)
    count, rate = data.num_images["val"], config["detect"]["false_positive_rate"]
    if count == 0:
        raise ConfigError(
            "the run held no validation images out (data.val_size=0), and the threshold is "
            "calibrated on them: train with data.val_size above 0"
        )
    if data.protocol.validation == "test" and config["input"] is None:
        raise ConfigError(
            "the run validates on the test split (data.validation=test), so that no threshold can "
            "be calibrated beside it: train with data.validation=held_out, or set input"
        )
    if rate * count < 1 - 1e-6:
        raise ConfigError(
            f"detect.false_positive_rate={rate} is out of range: {count:,} validation images "
            f"resolve no share below {1 / count:.2g}"
        )


def detect(config: dict[str, Any]) -> None:
    """Score what a configuration names, write and report.

    Args:
        config: resolved, plain dicts and lists.
    """
    from vae_lightning.detection.report import show, write
    from vae_lightning.detection.sweep import jobs_of

    done, left = jobs_of(config["ckpt_path"])
    if done:
        _detect_jobs(config, done, left)
        return
    findings = _find(config)
    show(findings, write(Path(config["paths"]["run_dir"]), findings))


def _detect_jobs(config: dict[str, Any], done: list[Path], left: list[Path]) -> None:
    import sys

    from vae_lightning.detection.report import write
    from vae_lightning.detection.sweep import rows_of, show_table, write_table

    if left:
        names = ", ".join(job.name for job in left)
        print(f"warning: left out because they have not finished: {names}", file=sys.stderr)
    folder, found = Path(config["paths"]["run_dir"]), []
    for number, job in enumerate(done, start=1):
        findings = _find(config | {"ckpt_path": str(job)})
        write(folder / job.name, findings)
        found.append(findings)
        areas = [
            f"{scored.title} {scored.quality.auroc:.3f}"
            for scored in findings.scored
            if scored.quality
        ]
        print(f"{number} of {len(done)}  {job.name}  AUROC: {', '.join(areas)}", flush=True)
    rows, protocols = rows_of(found, config["against"]), [each.protocol for each in found]
    show_table(rows, protocols, write_table(folder, rows, protocols))


def _find(config: dict[str, Any]) -> "Findings":
    from vae_lightning.detection.findings import find_anomalies

    return find_anomalies(Studio(config))


def main() -> None:
    command.run("detect", check=check, task=detect)


if __name__ == "__main__":
    main()
