"""The command line that resumes a run."""

import shlex
import sys
from pathlib import Path

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.overrides import is_sweep, parse

# The resumed run gets its own folder.
_DROPPED = ("ckpt_path=", "hydra.run.dir=", "hydra.sweep.dir=")


def resume_command(checkpoint: Path) -> str:
    """The shell command that resumes from a checkpoint with the settings of the current run."""
    from hydra.core.hydra_config import HydraConfig

    arguments = sys.argv[1:]
    if HydraConfig.initialized() and is_sweep(HydraConfig.get()):
        # Only this job, even if a file of hparams_search/ describes a sweep.
        flags = [item for item in parse(arguments).flags if item not in ("-m", "--multirun")]
        arguments = [*flags, *HydraConfig.get().overrides.task, "hydra.mode=RUN"]
    arguments = [item for item in arguments if not item.lstrip("+").startswith(_DROPPED)]
    spec = sys.modules["__main__"].__spec__
    # A script or a notebook that calls the command from Python is another module.
    command = spec is not None and spec.name.startswith("vae_lightning.")
    module = spec.name if spec and command else "vae_lightning.train"
    setting = f"ckpt_path={quoted(str(checkpoint))}"
    return shlex.join(["python", "-m", module, *arguments, setting])
