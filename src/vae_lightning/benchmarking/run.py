"""The benchmark: training, evaluation and sampling, timed in alternation with their baselines.

The baselines have the default run's network (784-400-20-400-784, Bernoulli) whatever is
configured, and use the same images and batch size.
"""

import contextlib
import io
import json
import resource
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vae_lightning.benchmarking import baselines, scaling
from vae_lightning.benchmarking.baselines import EpochsInTurn, HandWrittenLoop, seconds_of
from vae_lightning.config import check_type, compose, nearest
from vae_lightning.data.batches import ResidentBatches
from vae_lightning.errors import ConfigError
from vae_lightning.generation.sampling import sample_batches
from vae_lightning.generation.writers import in_background, npz_writer
from vae_lightning.metrics import ImageBounds
from vae_lightning.models import Model
from vae_lightning.training.build import Run, build
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import stage

_COUNTS = ("rounds", "nll_images", "samples")
_OWN_KEYS = (*_COUNTS, "measure", "scaling")
_MEASURES = ("baselines", "scaling")
# K of the nll that is timed.
NUM_SAMPLES = 5000


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that is ready to run.

    Attributes:
        config: resolved.
        run: the training run that is timed.
    """

    config: dict[str, Any]
    run: Run


def prepare(config: dict[str, Any]) -> Benchmark:
    """Check the configuration and build the run; nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value is wrong; see `training.build`.
    """
    if config["measure"] not in _MEASURES:
        hint = nearest(str(config["measure"]), _MEASURES)
        raise ConfigError(f"measure={config['measure']} does not exist: {hint}")
    for key in _COUNTS:
        check_type(config[key], int, key)
        try:
            at_least(key, config[key], 1)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    if config["measure"] == "baselines" and config["model"]["image_shape"] != [1, 28, 28]:
        raise ConfigError("the benchmark's networks are for images of 28x28 pixels: use data=mnist")
    run = build(_of_train(config))
    if config["measure"] == "scaling":
        scaling.check(config["scaling"], run.datamodule.num_images["train"])
    return Benchmark(config, run)


def measure(benchmark: Benchmark) -> None:
    """Time everything `rounds` times in alternation, and print medians and ratios, or exponents.

    Raises:
        ConfigError: the images do not fit into memory.
    """
    console = Console(highlight=False)
    config, run = benchmark.config, benchmark.run
    if config["measure"] == "scaling":
        scaling.measure(config, _of_train(config))
        return
    with stage(f"reading {run.datamodule.source.title}"):
        run.datamodule.prepare_data()
        run.datamodule.setup("fit")
    batches = run.datamodule.train_dataloader()
    if not isinstance(batches, ResidentBatches):
        raise ConfigError("the benchmark times images that fit into memory: use data=mnist")
    device = run.trainer.strategy.root_device
    images = batches.images.to(device)
    count = config["nll_images"]
    console.print(
        f"{len(images):,} images in batches of {batches.batch_size} on {device}; "
        f"{config['rounds']} {'round' if config['rounds'] == 1 else 'rounds'}"
    )
    training = _rounds(
        config["rounds"],
        lambda: _epochs_in_turn(config, images, batches.batch_size),
        lambda: {"textbook script": [baselines.textbook_epoch(batches)]},
    )
    console.print(f"nll of {count} images with K = {NUM_SAMPLES:,}")
    evaluation = _rounds(
        config["rounds"],
        lambda: {"nll": [_nll_seconds(run.module.model, images[:count])]},
        lambda: {"matrix products": [baselines.decoder_products(count, NUM_SAMPLES, device)]},
    )
    samples = config["samples"]
    console.print(f"{samples:,} samples")
    sampling = _rounds(
        config["rounds"],
        lambda: _sampling_seconds(run.module.model.to(device).eval(), samples),
        lambda: {"matrix products": [baselines.decoder_products(samples, 1, device)]},
    )
    _report(config, training, len(images), evaluation, sampling)


# By what was timed: for each round, the durations in seconds.
_Seconds = dict[str, list[list[float]]]


def _rounds(rounds: int, *tasks: Callable[[], dict[str, list[float]]]) -> _Seconds:
    seconds: _Seconds = defaultdict(list)
    for number in range(rounds):
        with stage(f"round {number + 1} of {rounds}"):
            for task in tasks:
                for name, taken in task().items():
                    seconds[name].append(taken)
        times = "  ".join(
            f"{name} {statistics.median(taken[-1]):.2f} s" for name, taken in seconds.items()
        )
        Console(highlight=False).print(f"round {number + 1}  {times}")
    return seconds


def _of_train(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _OWN_KEYS}


def _epochs_in_turn(
    config: dict[str, Any], images: Tensor, batch_size: int
) -> dict[str, list[float]]:
    """The project's run, with its callbacks and logging, and the hand-written loop.

    They alternate epoch by epoch, so that both run under the same load of the machine.

    Returns:
        seconds of each epoch of both.
    """
    baseline = HandWrittenLoop(images, batch_size)
    turns = EpochsInTurn(lambda: seconds_of(baseline.epoch, images.device))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = build(_moved(_of_train(config), config["paths"]["run_dir"], folder))
        run.trainer.callbacks.append(turns)  # type: ignore[attr-defined]
        run.fit()
    return {
        "vae_lightning": turns.own_seconds,
        "hand-written loop": turns.baseline_seconds,
    }


def _moved(node: Any, before: str, after: str) -> Any:
    if isinstance(node, dict):
        return {key: _moved(value, before, after) for key, value in node.items()}
    return node.replace(before, after) if isinstance(node, str) else node


def _nll_seconds(model: Model, images: Tensor) -> float:
    """Time the project's nll of some images."""
    model = model.to(images.device).eval()
    metric = ImageBounds(NUM_SAMPLES, seed=0).to(images.device)
    indices = torch.arange(len(images))
    return seconds_of(lambda: metric.update(model, images / 255, indices), images.device)


def _sampling_seconds(model: Model, count: int) -> dict[str, list[float]]:
    """Time samples as bytes in memory, and the same samples written to disk."""
    block_size = compose("generate", ["paths.run_dir=unused"]).mode.block_size

    def make() -> None:
        for _ in sample_batches(model, model.sample_latents, count, None, block_size):
            pass

    def make_and_write() -> None:
        batches = sample_batches(model, model.sample_latents, count, None, block_size)
        first = next(batches)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.npz"
            with npz_writer(path, count, first) as write, in_background(write) as write_later:
                for batch in chain([first], batches):
                    write_later(batch)

    return {
        "samples": [seconds_of(make, model.device)],
        "samples written": [seconds_of(make_and_write, model.device)],
    }


def _report(
    config: dict[str, Any],
    training: _Seconds,
    num_images: int,
    evaluation: _Seconds,
    sampling: _Seconds,
) -> None:
    console = Console(highlight=False)
    own, baseline = training["vae_lightning"], training["hand-written loop"]
    # What happens once per run counts in the mean over epochs, but not in the median.
    epoch, run = _ratio(_each(own), _each(baseline)), _ratio(_mean(own), _mean(baseline))
    ratios = {"vae_lightning": 1.0, "hand-written loop": 1 / epoch}
    ratios["textbook script"] = _ratio(_median(training["textbook script"]), _median(own))
    table = Table("", "seconds per epoch", "images per second", "ratio", show_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    result: dict[str, Any] = {}
    for name, ratio in ratios.items():
        median = statistics.median(_each(training[name]))
        result[name] = {"seconds": training[name], "median": median, "ratio": ratio}
        table.add_row(name, f"{median:.2f}", f"{num_images / median:,.0f}", f"{ratio:.2f}")
    console.print(table)
    # Kilobytes on Linux, bytes on a Mac.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    timed = ((evaluation, "nll"), (sampling, "samples"), (sampling, "samples written"))
    nll, in_memory, written = (
        _ratio(_each(seconds[name]), _each(seconds["matrix products"])) for seconds, name in timed
    )
    result |= {"overhead": epoch, "overhead_of_a_run": run, "peak_gigabytes": peak}
    result |= {"nll_ratio": nll, "samples_ratio": in_memory, "samples_written_ratio": written}
    result |= {"evaluation": evaluation, "sampling": sampling}
    console.print(
        f"An epoch with validation, pictures and logging takes {epoch:.2f} times the "
        f"hand-written loop; {run:.2f} times with what happens once in a run. nll with K = "
        f"{NUM_SAMPLES:,} takes {nll:.2f} times the decoder's matrix products alone; "
        f"{config['samples']:,} samples take {in_memory:.2f} times theirs, and {written:.2f} times "
        f"with writing them to disk. Peak memory of all: {peak:.2f} GB."
    )
    path = Path(config["paths"]["run_dir"]) / "benchmark.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console.print(f"run  {path.parent}", soft_wrap=True)


def _each(rounds: list[list[float]]) -> list[float]:
    return [seconds for taken in rounds for seconds in taken]


def _mean(rounds: list[list[float]]) -> list[float]:
    return [statistics.mean(taken) for taken in rounds]


def _median(rounds: list[list[float]]) -> list[float]:
    return [statistics.median(taken) for taken in rounds]


def _ratio(taken: list[float], others: list[float]) -> float:
    # Each is compared with what ran next to it, since the machine's load may change.
    return statistics.median(a / b for a, b in zip(taken, others, strict=True))
