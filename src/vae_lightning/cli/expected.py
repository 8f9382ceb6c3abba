"""The results that an experiment is expected to reach, and whether a run has reached them."""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from vae_lightning.cli.error_messages import quoted
from vae_lightning.config import check_section, compose, to_container
from vae_lightning.errors import ConfigError

# Settings that results do not depend on, or whose influence the tolerances allow for.
_FREE = (
    "callbacks.interrupt.", "callbacks.model_summary.", "callbacks.pictures.",
    "callbacks.progress_bar.", "callbacks.tensorboard.", "ckpt_path", "data.cache",
    "data.eval_batch_size", "data.max_resident_gb", "data.num_workers", "data.path", "data.root",
    "data.seed", "data_fallback", "evaluate", "expected", "logger.", "nll_samples", "paths.",
    "seed", "tags", "task_name", "test", "trainer.accelerator", "trainer.deterministic",
    "trainer.enable_", "trainer.log_every_n_steps", "trainer.num_sanity_val_steps",
    "trainer.profiler",
)  # fmt: skip


class Expected(TypedDict):
    """The keys of a metric in the section `expected`, with their types.

    `value` is the mean over `seeds` seeds; another run should be within `tolerance` of it. Metrics
    of `evaluate` have the `num_samples` and `num_images` that they were computed with.
    """

    value: float
    tolerance: float
    seeds: int
    num_samples: int | None
    num_images: int | None


def check_expected(expected: Any) -> None:
    """Check the section `expected`.

    Raises:
        ConfigError: a key or a type is wrong.
    """
    if not isinstance(expected, dict | None):
        raise ConfigError(f"expected={expected} should be a section, or null")
    for metric, entry in (expected or {}).items():
        check_section(entry, Expected, f"expected.{metric}")


def changed_settings(config: Mapping[str, Any]) -> list[str]:
    """The settings of a run that its results depend on and that its experiment has otherwise.

    Args:
        config: of the run, which is the current job of Hydra; resolved.

    Returns:
        such as `trainer.max_epochs=1`; names of classes come last.
    """
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    if experiment is None:
        return []
    searchpath = ",".join(quoted(place) for place in HydraConfig.get().searchpath)
    own = compose(
        "train",
        [
            f"experiment={experiment}",
            f"hydra.searchpath=[{searchpath}]",
            f"paths.run_dir={quoted(config['paths']['run_dir'])}",
        ],
    )
    now, before = dict(_flat(config)), dict(_flat(to_container(own)))
    keys = sorted(now.keys() | before.keys(), key=lambda key: ("._" in key, key))
    return [
        f"{key}={now.get(key)}"
        for key in keys
        if now.get(key) != before.get(key) and not key.startswith(_FREE)
    ]


def comparisons(
    expected: Mapping[str, Mapping[str, Any]] | None,
    metrics: Mapping[str, Any],
    num_samples: int | None = None,
    num_images: int | None = None,
) -> list[str]:
    """A line for each metric that was expected and is there.

    Args:
        expected: by metric.
        metrics: those of the run.
        num_samples: of `evaluate`; None for the metrics of training.
        num_images: the same; also None if all images were scored.

    Example:
        >>> entry = {"value": -97.2, "tolerance": 1.0, "seeds": 3}
        >>> comparisons({"test/elbo": entry}, {"test/elbo": -97.9})
        ['test/elbo -97.20 ± 1.00 (3 seeds); this run: -97.90, within it']
    """
    lines = []
    for metric, entry in (expected or {}).items():
        conditions = entry.get("num_samples"), entry.get("num_images")
        if metric not in metrics or conditions != (num_samples, num_images):
            continue
        value, reached = entry["value"], metrics[metric]
        seeds = "1 seed" if entry["seeds"] == 1 else f"{entry['seeds']} seeds"
        verdict = "within it" if abs(reached - value) <= entry["tolerance"] else "OUTSIDE of it"
        lines.append(
            f"{metric} {value:.2f} ± {entry['tolerance']:.2f} ({seeds}); "
            f"this run: {reached:.2f}, {verdict}"
        )
    return lines


def settings_of_evaluate(expected: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
    """What `evaluate` has to be given so that its metrics can be compared."""
    return [
        f"{metric} {entry['value']:.2f} ± {entry['tolerance']:.2f}: run evaluate "
        f"num_samples={entry['num_samples']}"
        + ("" if (count := entry.get("num_images")) is None else f" num_images={count}")
        for metric, entry in (expected or {}).items()
        if entry.get("num_samples") is not None
    ]


def _flat(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values by their keys, without sections that tune a callback that was not chosen."""
    if not isinstance(node, Mapping):
        yield path, node
        return
    if path.startswith("callbacks.") and path.count(".") == 1 and "_target_" not in node:
        return
    for name, child in node.items():
        yield from _flat(child, f"{path}.{name}" if path else str(name))
