"""Put a trained model to work: `python -m vae_lightning.generate ckpt_path=<run> mode=...`."""

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from vae_lightning import command
from vae_lightning.config import check_keys, instantiate
from vae_lightning.errors import ConfigError
from vae_lightning.trained import Studio, check_trained, datamodule_of, device_of

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.generation.mode import Made

_KEYS = ("task_name", "ckpt_path", "output_dir", "seed", "device", "data", "mode", "paths")


def check(config: dict[str, Any]) -> None:
    """Refuse what cannot be made: nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
    """
    check_keys(config, _KEYS)
    model = check_trained(config)
    device_of(config)
    mode = instantiate(config["mode"], "mode")
    try:
        mode.check(model, partial(datamodule_of, config))
    except ValueError as error:
        named = any(str(error).startswith(key) for key in config["mode"])
        raise ConfigError(f"mode{'.' if named else ': '}{error}") from error


def generate(config: dict[str, Any]) -> None:
    """Make what a configuration asks for, and report.

    Args:
        config: resolved, plain dicts and lists.
    """
    from vae_lightning.randomness import fixed_noise

    studio = Studio(config)
    mode = instantiate(config["mode"], "mode")
    studio.folder.mkdir(parents=True, exist_ok=True)
    with fixed_noise(studio.seed, studio.device):
        made = mode.make(studio)
    facts = {"checkpoint": str(studio.checkpoint), "seed": studio.seed, **made.facts}
    (studio.folder / "generate.json").write_text(json.dumps(facts, indent=2) + "\n")
    show(made)


def show(made: "Made") -> None:
    """Print what was made, and where it lies."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if made.table:
        table = Table("", "value", "unit", show_edge=False)
        table.columns[1].justify = "right"
        for row in made.table:
            table.add_row(*row)
        console.print(table)
    for note in made.notes:
        console.print(note, soft_wrap=True)
    for file in made.files:
        console.print(f"wrote  {command.short(file)}", soft_wrap=True)


def main() -> None:
    command.run("generate", check=check, task=generate)


if __name__ == "__main__":
    main()
