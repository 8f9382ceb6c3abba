"""Time training, evaluation and samples: `python -m vae_lightning.benchmark [key=value ...]`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import fetch_data, run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.benchmarking.run import Benchmark


def prepare(config: dict[str, Any]) -> "Benchmark":
    """Check a benchmark and build its run; see `benchmarking.run.prepare`."""
    from vae_lightning.benchmarking.run import prepare

    return prepare(config)


def benchmark(benchmark: "Benchmark") -> None:
    """Time the project and the baselines in turn, and print medians and ratios."""
    from vae_lightning.benchmarking.run import measure

    measure(benchmark)


def main() -> None:
    run("benchmark", prepare=prepare, task=benchmark, fetch=fetch_data)


if __name__ == "__main__":
    main()
