"""Write a trained model for other programs: `python -m vae_lightning.export ckpt_path=<run>`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.cli.workspace import Workspace


def prepare(config: dict[str, Any]) -> "Workspace":
    """Check an export and load the model; see `exporting.run.prepare`."""
    from vae_lightning.exporting.run import prepare

    return prepare(config)


def export(workspace: "Workspace") -> None:
    """Write the files, check them against the model, and report."""
    from vae_lightning.exporting.run import export

    export(workspace)


def main() -> None:
    run("export", prepare=prepare, task=export)


if __name__ == "__main__":
    main()
