"""Search for hyperparameters: `python -m vae_lightning.search 'optimizer.lr=interval(...)'`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import fetch_data, run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.searching.settings import Search


def prepare(config: dict[str, Any]) -> "Search":
    """Check a search and the ends of its space; see `searching.settings.prepare`."""
    from vae_lightning.searching.settings import prepare

    return prepare(config)


def search(settings: "Search") -> float | None:
    """Run the trials, and compare them.

    Returns:
        the best value of a trial: `val/elbo`, in nats.
    """
    from vae_lightning.searching.run import search

    return search(settings)


def main() -> None:
    from vae_lightning.searching.command_line import as_search

    run("search", prepare=prepare, task=search, fetch=fetch_data, rewrite=as_search)


if __name__ == "__main__":
    main()
