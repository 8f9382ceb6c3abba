"""Compare runs: `python -m vae_lightning.summarize <folder> [<folder> ...] [key=value ...]`."""

import sys
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import run

if TYPE_CHECKING:  # --help and --cfg answer without
    from vae_lightning.summarizing.run import Summary


def prepare(config: dict[str, Any]) -> "Summary":
    """Read the runs; see `summarizing.run.prepare`."""
    from vae_lightning.summarizing.run import prepare

    return prepare(config)


def summarize(summary: "Summary") -> None:
    """Print the leaderboard, and write its files and pictures."""
    from vae_lightning.summarizing.run import summarize

    summarize(summary)


def main() -> None:
    from vae_lightning.summarizing.arguments import as_overrides

    sys.argv[1:] = as_overrides(sys.argv[1:])
    run("summarize", prepare=prepare, task=summarize, own_folder=False)


if __name__ == "__main__":
    main()
