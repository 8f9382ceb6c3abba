"""The commands as functions: the same settings, errors that are raised, and what they leave."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from vae_lightning.api.overrides import override
from vae_lightning.api.process import kept_state
from vae_lightning.api.runs import Result, Run
from vae_lightning.errors import ConfigError

Checkpointed = str | PathLike[str]


def train(*overrides: str, **settings: Any) -> Run:
    """Train a model, test it and report, as `python -m vae_lightning.train`.

    Args:
        overrides: as on the command line, such as `"experiment=vampprior"`.
        settings: the same by keyword, for keys and groups without a dot, such as `data="digits"`.

    Returns:
        the run: its folder, metrics, model and data.

    Raises:
        UserError: what the command line reports in one line, before anything is written; or the run
            has failed, and its folder keeps what was saved.

    Example:
        >>> import vae_lightning as vl
        >>> run = vl.train("model.latent_dim=2", "trainer.max_epochs=1", data="digits")
        scikit-learn digits: 1,300 training, ...
        >>> run.metrics["test/elbo"] < -run.metrics["test/rate"]
        True
        >>> run.model.sample(3).shape
        torch.Size([3, 1, 28, 28])
    """
    from vae_lightning.cli.command import fetch_data
    from vae_lightning.train import prepare
    from vae_lightning.train import train as task

    return Run(_call("train", overrides, settings, prepare, task, fetch_data))


def evaluate(run: Checkpointed, *overrides: str, **settings: Any) -> Result:
    """Measure a trained model, as `python -m vae_lightning.evaluate`.

    Args:
        run: a `Run`, the folder of one, or a checkpoint.
        overrides: as on the command line, such as `"data.root=images"`.
        settings: the same by keyword, such as `num_samples=500`.

    Returns:
        the folder of the results, and the metrics.

    Raises:
        UserError: as for `train`.

    Example:
        >>> import vae_lightning as vl
        >>> run = vl.train("trainer.max_epochs=1", data="digits")
        scikit-learn digits: 1,300 training, ...
        >>> result = vl.evaluate(run, parts=["likelihood"], num_samples=10)
        scikit-learn digits, 360 images of the test split ...
        >>> result.metrics["test/nll"] < -result.metrics["test/elbo"]
        True
    """
    from vae_lightning.evaluate import evaluate as task
    from vae_lightning.evaluate import prepare

    return Result(_call("evaluate", overrides, {"ckpt_path": run, **settings}, prepare, task))


def generate(run: Checkpointed, *overrides: str, **settings: Any) -> Result:
    """Write samples, reconstructions, interpolations ..., as `python -m vae_lightning.generate`.

    Args:
        run: a `Run`, the folder of one, or a checkpoint.
        overrides: as on the command line, such as `"mode.count=16"`.
        settings: the same by keyword, such as `mode="reconstruct"`.

    Returns:
        the folder of the results, and their files.

    Raises:
        UserError: as for `train`.
    """
    from vae_lightning.generate import generate as task
    from vae_lightning.generate import prepare

    return Result(_call("generate", overrides, {"ckpt_path": run, **settings}, prepare, task))


def detect(run: Checkpointed, *overrides: str, **settings: Any) -> Result:
    """Score images for anomaly, as `python -m vae_lightning.detect`.

    Args:
        run: a `Run`, the folder of one or of a sweep, or a checkpoint.
        overrides: as on the command line, such as `"detect.score=nll"`.
        settings: the same by keyword, such as `input="photos"`.

    Returns:
        the folder of the results, and the metrics of each score.

    Raises:
        UserError: as for `train`.
    """
    from vae_lightning.detect import detect as task
    from vae_lightning.detect import prepare

    return Result(_call("detect", overrides, {"ckpt_path": run, **settings}, prepare, task))


def export(run: Checkpointed, *overrides: str, **settings: Any) -> Result:
    """Write ONNX and safetensors files, as `python -m vae_lightning.export`.

    Args:
        run: a `Run`, the folder of one, or a checkpoint.
        overrides: as on the command line.
        settings: the same by keyword, such as `output_dir="exported"`.

    Returns:
        the folder of the results, and their files.

    Raises:
        UserError: as for `train`.
    """
    from vae_lightning.export import export as task
    from vae_lightning.export import prepare

    return Result(_call("export", overrides, {"ckpt_path": run, **settings}, prepare, task))


def _call(
    name: str,
    overrides: tuple[str, ...],
    settings: dict[str, Any],
    prepare: Callable[[dict[str, Any]], Any],
    task: Callable[[Any], float | None],
    fetch: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Run one job of a command, and return its folder.

    Raises:
        ConfigError: a flag, several values of a key, or several processes.
        UserError: as the command.
    """
    from vae_lightning.cli.lightning_settings import quiet_lightning
    from vae_lightning.cli.overrides import parse, without_sweeps
    from vae_lightning.cli.running import Command
    from vae_lightning.config.resolvers import register_resolvers

    arguments = [*overrides, *(override(key, value) for key, value in settings.items())]
    for argument in arguments:
        if argument.startswith("-") and not argument.startswith("--config-dir="):
            raise ConfigError(
                f"{argument} is a flag of the command line: vae_lightning.{name} takes settings, "
                'as in "seed=1", and runs one job'
            )

    def prepare_here(config: dict[str, Any]) -> Any:
        _check_one_process(name, config)
        return prepare(config)

    with kept_state(arguments):
        register_resolvers()
        quiet_lightning()
        line = parse(arguments)
        shared = without_sweeps(line.overrides)
        if several := [item for item in line.overrides if item not in shared]:
            raise ConfigError(
                f"{several[0]} has several values: vae_lightning.{name} runs one job; call it once "
                "for each value"
            )
        return Command(name, prepare_here, task, fetch, one_job=True).run_jobs(line)


def _check_one_process(name: str, config: dict[str, Any]) -> None:
    from vae_lightning.config.compatibility import processes_started

    key = "trainer.devices" if "trainer" in config else "devices"
    devices = processes_started(config["trainer"]) if "trainer" in config else config.get(key, 1)
    if isinstance(devices, int) and devices > 1:
        raise ConfigError(
            f"vae_lightning.{name} runs in one process, and {devices} devices take one each: set "
            f"{key}=1, or use the command line"
        )
