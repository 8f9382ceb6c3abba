"""Jobs side by side: how many at once, and the threads and devices of each."""

import os
from dataclasses import dataclass
from typing import Any

from vae_lightning.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """What a job may use while others run on the same machine.

    Attributes:
        jobs_at_once: how many run at the same time; None if the launcher decides.
        threads: of a job; None leaves them to torch and the launcher.
        devices: CUDA devices that the jobs are spread over, one for each; 0 for none.
    """

    jobs_at_once: int | None = None
    threads: int | None = None
    devices: int = 0

    def take(self, number: int) -> None:
        """Limit the threads of this process, and let it see one device.

        A process keeps its device for the jobs after the first one.

        Args:
            number: of the job.
        """
        if self.devices > 1:
            visible = visible_devices(self.devices)  # of later jobs, only the one that was chosen
            os.environ["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)


def share_of(launcher: Any, num_jobs: int, devices: int) -> Share:
    """The share of a job under a launcher.

    Args:
        launcher: the settings under `hydra.launcher`.
        num_jobs: of the sweep.
        devices: CUDA devices that jobs of one device can be spread over; 0 for jobs that use none.

    Raises:
        ConfigError: the launcher's settings start no job.
    """
    kind = str(launcher._target_).rpartition(".")[2]
    cores = num_cores()
    if kind == "JoblibLauncher":
        asked = launcher.n_jobs
        if not isinstance(asked, int) or asked == 0:
            raise ConfigError(
                f"hydra.launcher.n_jobs={asked} starts no job: at least 1, or -1 for as many as "
                "there are devices or cores"
            )
        if asked < 0:
            asked = max(1, (devices or cores) + 1 + asked)
        at_once = min(asked, num_jobs)
        return Share(at_once, max(1, cores // at_once), devices)
    if kind == "LocalLauncher":  # of submitit, which starts all jobs at once
        threads = launcher.cpus_per_task or max(1, cores // num_jobs)
        return Share(num_jobs, threads, 0 if launcher.gpus_per_node else devices)
    if kind == "SlurmLauncher":
        return Share(None, launcher.cpus_per_task)
    if kind == "RayLauncher":
        wanted = launcher.ray.remote.get("num_cpus", 1)
        return Share(None, max(1, int(wanted)))
    return Share()


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_devices(trainer: dict[str, Any]) -> int:
    """The CUDA devices that runs of one device can be spread over; 0 for runs that use none.

    Args:
        trainer: the configuration of the Trainer.
    """
    if trainer.get("devices") != 1 or trainer.get("accelerator") not in ("auto", "gpu", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


def visible_devices(count: int) -> list[str]:
    """The names of the CUDA devices that this process sees.

    Args:
        count: how many there are.
    """
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(count)]
