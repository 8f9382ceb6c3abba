"""Paths as users write and read them: from the folder where they typed the command."""

from pathlib import Path


def start_folder() -> Path:
    """The working directory of the command; with `hydra.job.chdir=true`, jobs have another."""
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized():
        return Path(HydraConfig.get().runtime.cwd)
    return Path.cwd()


def relative(path: str | Path) -> Path:
    """A path relative to the folder of the command if it is inside; otherwise the path itself."""
    here, full = start_folder(), Path(path).absolute()
    return full.relative_to(here) if full.is_relative_to(here) else Path(path)
