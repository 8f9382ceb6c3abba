"""Paths as users write and read them: from the folder where they typed the command."""

from pathlib import Path

from vae_lightning.cli.error_messages import quoted


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


def quote_paths(override: str) -> str:
    """Quote the value of an override, or each of several values, if it is a path.

    Hydra cannot read all characters of paths, such as the second `=` of
    `ckpt_path=sweep/0_seed=1`. Paths are existing files and folders, and new ones inside of a
    folder whose name needs quotes.
    """
    key, equals, value = override.partition("=")
    parts = [value] if _is_path(value) else value.split(",")
    return f"{key}{equals}" + ",".join(quoted(part) if _is_path(part) else part for part in parts)


def _is_path(text: str) -> bool:
    try:
        path = Path(text).expanduser()
        if path.exists():
            return text != ""
        existing = next((folder for folder in path.parents if folder.exists()), None)
    except (OSError, RuntimeError):  # a name that is too long, or ~nobody
        return False
    if existing is None or _is_plain(str(existing)):
        return False
    return _is_plain(str(path.relative_to(existing)))


def _is_plain(text: str) -> bool:
    return quoted(text) == text
