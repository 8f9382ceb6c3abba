"""One run of `generate`: checked, executed, written, printed."""

import json
from dataclasses import dataclass
from typing import Any

from vae_lightning.cli.paths import relative
from vae_lightning.cli.tables import value_table
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_keys, instantiate
from vae_lightning.errors import ConfigError
from vae_lightning.generation.mode import Mode, ModeResult
from vae_lightning.utils.progress import stage
from vae_lightning.utils.random_state import fixed_noise

_KEYS = ("task_name", "ckpt_path", "output_dir", "seed", "device", "data", "mode", "paths")


@dataclass(frozen=True)
class Generation:
    """A run of a mode that has been checked.

    Attributes:
        workspace: the model, its data, and the folder of the results.
        mode: what to do; it keeps the image files that its check has read.
    """

    workspace: Workspace
    mode: Mode


def prepare(config: dict[str, Any]) -> Generation:
    """Check a configuration; nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is not a checkpoint.
        DataError: an image file cannot be read.
    """
    check_keys(config, _KEYS)
    workspace = Workspace(config)
    mode = instantiate(config["mode"], "mode")
    try:
        mode.check(workspace.model, lambda: workspace.datamodule)
    except ValueError as error:
        has_key = any(str(error).startswith(key) for key in config["mode"])
        raise ConfigError(f"mode{'.' if has_key else ': '}{error}") from error
    return Generation(workspace, mode)


def generate(generation: Generation) -> None:
    """Run the mode, write its files and `generate.json`, and print the results."""
    workspace = generation.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with stage("generating"), fixed_noise(workspace.seed, workspace.device):
        result = generation.mode.make(workspace)
    facts = {
        "checkpoint": str(workspace.checkpoint.path),
        "seed": workspace.seed,
        **result.facts,
    }
    (workspace.folder / "generate.json").write_text(
        json.dumps(facts, indent=2) + "\n", encoding="utf-8"
    )
    show(result)


def show(result: ModeResult) -> None:
    """Print the table, the notes and the names of the files."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if result.table:
        console.print(value_table(result.table))
    for note in result.notes:
        console.print(note, soft_wrap=True)
    for file in result.files:
        console.print(f"wrote  {relative(file)}", soft_wrap=True)
