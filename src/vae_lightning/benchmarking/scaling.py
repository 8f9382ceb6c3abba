"""How the time of training grows with the images, the width, the latent dimensions and K.

Each is varied alone, from the configured run. Times are fitted by t = a + b x^p: a does not depend
on x, such as what Lightning and Python take in each step, and p is the exponent of what does.
"""

import copy
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from rich.console import Console
from rich.table import Table

from vae_lightning.config import check_type
from vae_lightning.errors import ConfigError
from vae_lightning.training.build import build
from vae_lightning.utils.progress import progress

# What is varied, and its name in the table and the picture.
AXES = {
    "images": "images in an epoch",
    "width": "width of layers",
    "latent_dim": "latent dimensions",
    "num_samples": "posterior samples",
}
_MIN_VALUES = 4  # the curve has three parameters


@dataclass
class Curve:
    """The times along one axis, and the curve that fits them.

    Attributes:
        axis: a key of `AXES`.
        unit: of the times: `epoch` or `step`.
        values: x.
        seconds: for each value, one time for each round.
        fixed, factor, exponent: a, b and p, with seconds as the unit of time.
        error: the standard error of p.
        residual: the largest difference of a median from the curve, relative to the median.
    """

    axis: str
    unit: str
    values: list[int]
    seconds: list[list[float]] = field(default_factory=list)
    fixed: float = 0.0
    factor: float = 0.0
    exponent: float = 0.0
    error: float = 0.0
    residual: float = 0.0

    @property
    def medians(self) -> list[float]:
        """The median of the rounds, for each value, in seconds."""
        return [statistics.median(taken) for taken in self.seconds]

    def at(self, value: float) -> float:
        """The fitted time in seconds."""
        return self.fixed + self.factor * value**self.exponent

    def fit(self) -> None:
        """Fit a, b and p to the medians by least squares of relative differences."""
        from scipy.optimize import curve_fit

        x, t = torch.tensor(self.values).double().numpy(), torch.tensor(self.medians).numpy()
        most, longest = x.max(), t.max()

        def logarithm(x: Any, fixed: float, factor: float, exponent: float) -> Any:
            return torch.log(
                torch.from_numpy(fixed + factor * (x / most) ** exponent).clamp_min(1e-12)
            ).numpy()

        start = (0.5 * t.min() / longest, 1.0, 1.0)
        (fixed, factor, exponent), covariance = curve_fit(
            logarithm,
            x,
            torch.log(torch.from_numpy(t / longest)).numpy(),
            start,
            bounds=([0, 0, 0], [t.min() / longest, 2, 4]),
        )
        self.fixed, self.exponent = float(fixed * longest), float(exponent)
        self.factor = float(factor * longest / most**exponent)
        self.error = float(math.sqrt(covariance[2, 2]))
        pairs = zip(self.values, self.medians, strict=True)
        self.residual = max(abs(self.at(value) / median - 1) for value, median in pairs)


class _SecondEpoch(Callback):
    """Times the second epoch; the first one warms up."""

    def __init__(self) -> None:
        self.seconds = math.nan

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        _synchronize(trainer)
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        _synchronize(trainer)
        self.seconds = time.perf_counter() - self._started


def check(scaling: Any, num_images: int) -> None:
    """Check the values of `scaling`.

    Args:
        scaling: a section of the benchmark's configuration.
        num_images: in the training split.

    Raises:
        ConfigError: one is missing, or they are too few or not positive, or more than there are.
    """
    check_type(scaling["steps"], int, "scaling.steps")
    if scaling["steps"] < 1:
        raise ConfigError(f"scaling.steps={scaling['steps']} is out of range: at least 1")
    for axis in AXES:
        check_type(scaling[axis], list[int], f"scaling.{axis}")
        if len(set(scaling[axis])) < _MIN_VALUES or min(scaling[axis]) < 1:
            raise ConfigError(
                f"scaling.{axis}={scaling[axis]} should be {_MIN_VALUES} numbers or more, from 1"
            )
    if max(scaling["images"]) > num_images:
        raise ConfigError(
            f"scaling.images={scaling['images']} needs more than the {num_images:,} training images"
        )


def measure(config: dict[str, Any], of_train: dict[str, Any]) -> list[Curve]:
    """Time all values `rounds` times in turn, fit the curves, print a table and draw a picture.

    Args:
        config: of the benchmark.
        of_train: of the run that is varied.
    """
    curves = [
        Curve(axis, "epoch" if axis == "images" else "step", sorted(set(config["scaling"][axis])))
        for axis in AXES
    ]
    for curve in curves:
        curve.seconds = [[] for _ in curve.values]
    total = config["rounds"] * sum(len(curve.values) for curve in curves)
    with progress("runs", total) as advance:
        for _ in range(config["rounds"]):
            for curve in curves:
                for value, taken in zip(curve.values, curve.seconds, strict=True):
                    taken.append(_seconds(of_train, curve, value, config["scaling"]["steps"]))
                    advance(1)
    for curve in curves:
        curve.fit()
    folder = Path(config["paths"]["run_dir"])
    device = _device(of_train)
    _report(curves, device)
    written = {"device": device, "threads": torch.get_num_threads()}
    written |= {curve.axis: asdict(curve) for curve in curves}
    (folder / "scaling.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    draw(curves, folder / "scaling.png")
    Console(highlight=False).print(f"run  {folder}", soft_wrap=True)
    return curves


def _seconds(of_train: dict[str, Any], curve: Curve, value: int, steps: int) -> float:
    """The time of an epoch, or of a step, in seconds."""
    config = copy.deepcopy(of_train)
    config |= {"callbacks": {}, "logger": {}, "test": False, "evaluate": False}
    model, batch_size = config["model"], config["data"]["batch_size"]
    if curve.axis == "images":
        steps = max(1, value // batch_size)
    elif curve.axis == "width":
        for part in ("encoder", "decoder"):
            model[part]["hidden"] = [value for _ in model[part]["hidden"]]
    elif curve.axis == "latent_dim":
        model["latent_dim"] = value
    else:
        config["objective"]["num_samples"] = value
    limits = {"max_epochs": 2, "limit_train_batches": steps, "limit_val_batches": 0}
    config["trainer"] |= {**limits, "log_every_n_steps": 50}
    run = build(config)
    clock = _SecondEpoch()
    run.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    run.fit()
    return clock.seconds / (1 if curve.unit == "epoch" else steps)


def _device(of_train: dict[str, Any]) -> str:
    return str(build(of_train).trainer.strategy.root_device)


def _synchronize(trainer: Trainer) -> None:
    device = trainer.strategy.root_device
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def _report(curves: Sequence[Curve], device: str) -> None:
    console = Console(highlight=False)
    columns = ("", "from", "time", "exponent", "off by")
    table = Table(*columns, show_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for curve in curves:
        first, last = curve.medians[0], curve.medians[-1]
        scale, unit = (1, "s") if curve.unit == "epoch" else (1000, "ms")
        table.add_row(
            AXES[curve.axis],
            f"{curve.values[0]:,} to {curve.values[-1]:,}",
            f"{scale * first:.3g} to {scale * last:.3g} {unit}",
            f"{curve.exponent:.2f} ± {curve.error:.2f}",
            f"{curve.residual:.0%}",
        )
    console.print(table)
    threads = torch.get_num_threads()
    console.print(
        f"Times of an epoch for images, otherwise of a step, on {device} with {threads} "
        f"{'thread' if threads == 1 else 'threads'}, fitted by a + b x^p: a is fixed, p the "
        "exponent with its standard error. The last column is the largest difference between a "
        "time and its fit."
    )


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw the times and the fitted curves, a panel for each axis, with logarithmic scales."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, curve in zip(figure.subplots(2, 2).flat, curves, strict=True):
        scale, unit = (1, "seconds") if curve.unit == "epoch" else (1000, "milliseconds")
        medians = [scale * seconds for seconds in curve.medians]
        ranges = [
            [scale * (statistics.median(taken) - min(taken)) for taken in curve.seconds],
            [scale * (max(taken) - statistics.median(taken)) for taken in curve.seconds],
        ]
        ratio = curve.values[-1] / curve.values[0]
        dense = [curve.values[0] * ratio ** (i / 100) for i in range(101)]
        last = scale * curve.factor * curve.values[-1] ** curve.exponent
        fraction = f"(x / {curve.values[-1]:,})"
        label = f"{scale * curve.fixed:.1f} + {last:.3g} {fraction}^{curve.exponent:.2f}"
        axes.plot(dense, [scale * curve.at(x) for x in dense], color="C0", label=label)
        axes.errorbar(curve.values, medians, ranges, fmt="o", color="0.15", ms=4, capsize=2)
        axes.set(xscale="log", yscale="log", xlabel=AXES[curve.axis])
        axes.set_ylabel(f"{unit} per {curve.unit}")
        axes.set_xticks(curve.values, [f"{value:,}" for value in curve.values])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110)
