"""Generate with a trained model: `python -m vae_lightning.generate ckpt_path=<run> mode=...`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.generation.run import Generation


def prepare(config: dict[str, Any]) -> "Generation":
    """Check the configuration; see `generation.run.prepare`."""
    from vae_lightning.generation.run import prepare

    return prepare(config)


def generate(generation: "Generation") -> None:
    """Generate, write and report."""
    from vae_lightning.generation.run import generate

    generate(generation)


def main() -> None:
    run("generate", prepare=prepare, task=generate)


if __name__ == "__main__":
    main()
