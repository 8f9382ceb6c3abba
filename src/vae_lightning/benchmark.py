"""Time a training epoch against two rivals: `python -m vae_lightning.benchmark [key=value ...]`.

The rivals have the default run's network (784-400-20-400-784, Bernoulli) whatever is configured,
and train on the same images with the same batch size, so that a ratio compares like with like.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning import command
from vae_lightning.checks import at_least
from vae_lightning.config import check_type
from vae_lightning.errors import ConfigError
from vae_lightning.train import build, fit

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    import torch
    from torch import Tensor, nn

    from vae_lightning.data.batches import ResidentBatches


def check(config: dict[str, Any]) -> None:
    """Refuse what cannot be timed; see `train.build`."""
    check_type(config["rounds"], int, "rounds")
    try:
        at_least("rounds", config["rounds"], 1)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if config["model"]["image_shape"] != [1, 28, 28]:
        raise ConfigError("the benchmark's networks are for images of 28x28 pixels: use data=mnist")
    build(_of_train(config))


def benchmark(config: dict[str, Any]) -> None:
    """Time one epoch of each in turn, `rounds` times, and print the medians and ratios."""
    from rich.console import Console

    console = Console(highlight=False)
    run = build(_of_train(config))
    run.datamodule.prepare_data()
    run.datamodule.setup("fit")
    batches = run.datamodule.train_dataloader()
    device = run.trainer.strategy.root_device
    images = batches.images.to(device)
    epochs = config["trainer"]["max_epochs"]
    rivals: dict[str, Callable[[], float]] = {
        "vae_lightning": lambda: _own_epoch(config),
        "hand-written loop": lambda: _hand_written_epoch(images, batches.batch_size, epochs),
        "textbook script": lambda: _textbook_epoch(batches),
    }
    console.print(
        f"{len(images):,} images in batches of {batches.batch_size} on {device}; "
        f"{config['rounds']} rounds of each in turn"
    )
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(config["rounds"]):
        for name, epoch in rivals.items():
            seconds[name].append(epoch())
        times = "  ".join(f"{name} {taken[-1]:.2f} s" for name, taken in seconds.items())
        console.print(f"round {number + 1}  {times}")
    _conclude(config, seconds, len(images))


def _of_train(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "rounds"}


def _own_epoch(config: dict[str, Any]) -> float:
    """The project's run, with its callbacks and logging: mean seconds of an epoch."""
    import contextlib
    import io

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        moved = _moved(_of_train(config), config["paths"]["run_dir"], folder)
        run = build(moved)
        fit(run)
        return run.module.seconds / run.trainer.current_epoch


def _moved(node: Any, before: str, after: str) -> Any:
    if isinstance(node, dict):
        return {key: _moved(value, before, after) for key, value in node.items()}
    return node.replace(before, after) if isinstance(node, str) else node


def _hand_written_epoch(images: "Tensor", batch_size: int, epochs: int) -> float:
    """What one would write for this model and nothing else: resident tensors, a fused Adam."""
    import torch
    from torch.nn import functional as F

    network = _network().to(images.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    flat = images.flatten(1)

    def train() -> None:
        for chosen in torch.randperm(len(flat), device=flat.device).split(batch_size):
            x = flat[chosen].float() / 255
            logits, rate = _forward(network, x)
            distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            loss = (distortion + rate) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return statistics.mean(_seconds(train, images.device) for _ in range(epochs))


def _textbook_epoch(batches: "ResidentBatches") -> float:
    """What tutorials write: a transform for each image, a DataLoader, `.item()` at every step."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import MNIST, VisionDataset

    device = batches.images.device

    class Pictures(MNIST):
        """Torchvision's data set as it stands, on the images of any source."""

        def __init__(self) -> None:
            VisionDataset.__init__(self, root="", transform=transform)
            self.data, self.targets = batches.images.squeeze(1).cpu(), batches.labels.cpu()

    transform = transforms.Compose([transforms.ToTensor(), transforms.Lambda(torch.flatten)])
    loader: Any = DataLoader(Pictures(), batch_size=batches.batch_size, shuffle=True)
    network = _network().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def epoch() -> None:
        total = 0.0
        for x, _ in loader:
            x = x.to(device)
            optimizer.zero_grad()
            logits, rate = _forward(network, x)
            distortion = F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="sum")
            loss = distortion + rate
            loss.backward()
            total += loss.item()
            optimizer.step()

    return _seconds(epoch, device)


def _network() -> "nn.ModuleDict":
    from torch import nn

    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40)),
            "decoder": nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784)),
        }
    )


def _forward(network: "nn.ModuleDict", x: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Logits of the pixels, (B, 784), and the rate summed over the batch."""
    import torch

    mean, log_variance = network["encoder"](x).chunk(2, dim=1)
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
    rate = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return network["decoder"](z), rate


def _seconds(epoch: Callable[[], None], device: "torch.device") -> float:
    import torch

    def wait() -> None:
        if device.type != "cpu":
            torch.get_device_module(device).synchronize()

    wait()
    started = time.perf_counter()
    epoch()
    wait()
    return time.perf_counter() - started


def _conclude(config: dict[str, Any], seconds: dict[str, list[float]], num_images: int) -> None:
    from rich.console import Console
    from rich.table import Table

    own = seconds["vae_lightning"]
    table = Table("", "seconds per epoch", "images per second", "ratio to vae_lightning")
    result: dict[str, Any] = {}
    for name, taken in seconds.items():
        median = statistics.median(taken)
        # Each round compares what ran next to each other on a machine that others may share.
        ratio = statistics.median(a / b for a, b in zip(taken, own, strict=True))
        result[name] = {"seconds": taken, "median": median, "ratio": ratio}
        table.add_row(name, f"{median:.2f}", f"{num_images / median:,.0f}", f"{ratio:.2f}")
    console = Console(highlight=False)
    console.print(table)
    overhead = statistics.median(
        a / b for a, b in zip(own, seconds["hand-written loop"], strict=True)
    )
    # Kilobytes on Linux, bytes on a Mac.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    result |= {"overhead": overhead, "peak_gigabytes": peak}
    console.print(
        f"An epoch with validation, pictures and logging takes {overhead:.2f} times the "
        f"hand-written loop. Peak memory of all three: {peak:.2f} GB."
    )
    path = Path(config["paths"]["run_dir"]) / "benchmark.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    console.print(f"run  {path.parent}", soft_wrap=True)


def main() -> None:
    command.run("benchmark", check=check, task=benchmark)


if __name__ == "__main__":
    main()
