"""A job on several devices: a command of its own, because Lightning starts it once per device."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.job_state import score
from vae_lightning.cli.paths import start_folder
from vae_lightning.errors import UserError

# Set in a process that submitit has started.
_SUBMITIT = "SUBMITIT_EXECUTOR"


class JobProcessError(UserError):
    """A job has failed in a process of its own, which has printed why."""


def needs_processes(config: dict[str, Any]) -> bool:
    """Whether a run starts its command line again for each device.

    Args:
        config: resolved.
    """
    trainer = config.get("trainer")
    if trainer is None or (trainer.get("devices"), trainer.get("num_nodes", 1)) == (1, 1):
        return False
    from vae_lightning.config.compatibility import processes_started

    return processes_started(trainer) > 1


def run_in_process(command: str, folder: Path, checkpoint: str | None, quiet: bool) -> float | None:
    """Run the current job of a sweep as a command of its own.

    Args:
        command: such as `train`.
        folder: of the job.
        checkpoint: to go on from.
        quiet: print nothing; its output is in its log.

    Returns:
        `val/elbo` of the checkpoint that is kept.

    Raises:
        JobProcessError: it has failed.
    """
    from hydra.core.hydra_config import HydraConfig

    settings = HydraConfig.get()
    # The folder of --config-dir.
    places = [one for one in settings.overrides.hydra if one.startswith("hydra.searchpath=")]
    overrides = [*settings.overrides.task, *places, f"hydra.run.dir={quoted(str(folder))}"]
    if checkpoint is not None:
        overrides.append(f"ckpt_path={quoted(checkpoint)}")
    arguments = [sys.executable, "-m", f"vae_lightning.{command}", *overrides]
    stream = subprocess.DEVNULL if quiet else None
    # Signals of a cluster are for submitit, in this process, which may queue the job again.
    on_cluster = os.environ.get(_SUBMITIT) is not None
    environment = {name: value for name, value in os.environ.items() if name != _SUBMITIT}
    with subprocess.Popen(
        arguments,
        cwd=start_folder(),
        stdout=stream,
        stderr=stream,
        env=environment,
        start_new_session=on_cluster,
    ) as process:
        try:
            status = process.wait()
        except BaseException as interrupt:
            if on_cluster or type(interrupt) is not KeyboardInterrupt:  # else Ctrl-C reaches it too
                process.terminate()
            process.wait()  # it saves a checkpoint
            raise
    if status != 0:
        raise JobProcessError(_reason(folder / f"{command}.log", status))
    return score(folder)


def _reason(log: Path, status: int) -> str:
    """The last error in a log, or the status of a process that has left none."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else f"its process ended with status {status}"
