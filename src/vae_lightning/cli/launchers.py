"""What Hydra's launchers need: a package, a cluster, and jobs of one task each."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vae_lightning.cli.signals import terminate_as_interrupt
from vae_lightning.errors import ConfigError

# In the folder of a sweep, as the settings of its launchers have it.
_SUBMITIT_FOLDER = ".submitit"
_GROUP = "hydra/launcher"
# The options of the group that packages add: the package, and the extra that installs it.
_PACKAGES = {
    "joblib": ("hydra-joblib-launcher", "sweep"),
    "submitit_local": ("hydra-submitit-launcher", "sweep"),
    "submitit_slurm": ("hydra-submitit-launcher", "sweep"),
    "ray": ("hydra-ray-launcher", "ray"),
}


def missing_launcher(group: str, option: str) -> str | None:
    """The message for an option whose package is not installed; None for other options."""
    if group != _GROUP or option not in _PACKAGES:
        return None
    package, extra = _PACKAGES[option]
    name = option.replace("submitit_slurm", "slurm")
    return (
        f"{group}={name} needs {package}, not installed here: "
        f"pip install -e '.[{extra}]' in the folder of the project"
    )


def check_available(launcher: Any) -> None:
    """Check that a launcher can start jobs on this machine.

    Args:
        launcher: the settings under `hydra.launcher`.

    Raises:
        ConfigError: its package or cluster is missing, or it would start several tasks for a job.
    """
    module, _, kind = str(launcher._target_).rpartition(".")
    if kind == "RayLauncher" and not _is_installed(module):
        raise ConfigError(missing_launcher(_GROUP, "ray") or "")
    if kind == "SlurmLauncher" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise ConfigError(
            f"{_GROUP}=slurm needs the commands sbatch and srun, not found here: run it on a login "
            "node of the cluster"
        )
    for key in ("nodes", "tasks_per_node"):
        if launcher.get(key, 1) != 1:
            raise ConfigError(
                f"hydra.launcher.{key}={launcher[key]} would start each job several times: a job "
                "of a sweep has one task on one node; for several devices, set trainer.devices"
            )


def prepare_process() -> None:
    """Change what SLURM and submitit have set in the process of a job."""
    if "SLURM_NTASKS" in os.environ:
        # A job is a single task. Lightning would take the tasks for its own processes, and queue
        # the job again itself; it documents this name as the way to prevent that.
        os.environ["SLURM_JOB_NAME"] = "interactive"
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        terminate_as_interrupt()  # submitit ignores SIGTERM


def submitted(sweep: Path) -> set[str]:
    """The names of the jobs of a sweep that submitit has handed over: numbers of processes or jobs.

    Args:
        sweep: its folder.
    """
    jobs = (sweep / _SUBMITIT_FOLDER).glob("[0-9]*/*_submitted.pkl")
    return {file.parent.name for file in jobs}


def wait_for_submitted(kind: str, sweep: Path, names: set[str]) -> None:
    """Wait for jobs of submitit, which itself stops waiting at the first one without a result.

    Args:
        kind: of launcher, by the name of its class.
        sweep: the folder of the sweep.
        names: of the jobs, as `submitted` gives them.
    """
    for name in names:
        if kind == "LocalLauncher":
            _wait_for_process(int(name))
        elif kind == "SlurmLauncher":
            from submitit import SlurmJob

            SlurmJob(sweep / _SUBMITIT_FOLDER / "%j", name).wait()


def leave_submitted(kind: str, names: set[str]) -> None:
    """Stop the jobs of submitit on this machine, and wait; say how to end those on a cluster.

    Args:
        kind: of launcher, by the name of its class.
        names: of the jobs, as `submitted` gives them.
    """
    if kind == "LocalLauncher":
        for name in names:
            with suppress(ChildProcessError):
                if os.waitpid(int(name), os.WNOHANG) == (0, 0):  # it runs
                    os.kill(int(name), signal.SIGTERM)
        for name in names:
            _wait_for_process(int(name))
    elif kind == "SlurmLauncher" and names:
        numbers = sorted({name.partition("_")[0] for name in names})
        print(
            f"The jobs on the cluster go on. To end them:\n  scancel {' '.join(numbers)}",
            file=sys.stderr,
        )


def _wait_for_process(pid: int) -> None:
    with suppress(ChildProcessError):  # it has ended
        os.waitpid(pid, 0)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
