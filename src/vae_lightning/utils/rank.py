"""Which of the processes of a run this one is, and the folder that they share."""

import os
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from vae_lightning.errors import ConfigError

if TYPE_CHECKING:  # loaded by what runs, not by --help
    from torch.distributed.distributed_c10d import Store

# Set by torchrun, by Lightning for the processes that it starts, and by SLURM's srun.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")

_number = count()


def rank() -> int:
    """The number of this process among those of the run, from 0."""
    return next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)


def started_by_torchrun() -> int:
    """How many processes torchrun has started, on all machines; 0 if it has not started this."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def of_first_process(text: str) -> str:
    """The text of the first process, in all processes that torchrun or SLURM's srun has started.

    Those that Lightning starts are given theirs on the command line.

    Raises:
        ConfigError: srun was called with an option that Lightning does not support.
    """
    store = _store()
    if store is None:
        return text
    key = f"vae_lightning/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_number)}"
    if rank() == 0:
        store.set(key, text)
        return text
    return store.get(key).decode()


@cache
def _store() -> "Store | None":
    """Values that all processes can read; None if this one was started alone, or by Lightning."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    if started_by_torchrun() > 1:
        # That of torchrun itself.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, is_master=False, wait_for_workers=False)
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1 and "LOCAL_RANK" not in os.environ:
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        try:
            environment = SLURMEnvironment()
        except RuntimeError as error:  # of options of srun that Lightning does not support
            raise ConfigError(" ".join(str(error).split())) from error
        # Lightning uses the port itself later on.
        address, port = environment.main_address, environment.main_port + 1
        return TCPStore(address, port, tasks, is_master=rank() == 0)
    return None
