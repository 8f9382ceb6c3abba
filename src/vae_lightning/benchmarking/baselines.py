"""The baselines of the benchmark: single-purpose code for the default model."""

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.data.batches import ResidentBatches


class HandWrittenLoop:
    """A loop written for this model only: images on the device, a fused Adam.

    Shape:
        images: uint8 (N, 1, 28, 28), on the training device.
    """

    def __init__(self, images: Tensor, batch_size: int) -> None:
        self.images = images.flatten(1)
        self.batch_size = batch_size
        self.network = _network().to(images.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, fused=True)

    def epoch(self) -> None:
        """Train on all images once."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for chosen in order.split(self.batch_size):
            x = self.images[chosen].float() / 255
            logits, rate = _forward(self.network, x)
            distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            loss = (distortion + rate) / len(x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


class EpochsInTurn(Callback):
    """Runs a baseline before each epoch, and times both.

    Args:
        baseline: runs one epoch and returns its duration in seconds.

    Attributes:
        own_seconds: duration of each epoch, from its start to the start of the next.
        baseline_seconds: duration of each run of the baseline.
    """

    def __init__(self, baseline: Callable[[], float]) -> None:
        self.baseline = baseline
        self.own_seconds: list[float] = []
        self.baseline_seconds: list[float] = []
        self._started: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()
        self.baseline_seconds.append(self.baseline())
        self._started = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._started is not None:
            self.own_seconds.append(time.perf_counter() - self._started)


def textbook_epoch(batches: ResidentBatches) -> float:
    """Time an epoch as in tutorials: a transform per image, a DataLoader, `.item()` per step."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import MNIST, VisionDataset

    device = batches.images.device

    class TextbookDataset(MNIST):
        """Torchvision's data set, with the images of any source."""

        def __init__(self) -> None:
            VisionDataset.__init__(self, root="", transform=transform)
            self.data, self.targets = batches.images.squeeze(1).cpu(), batches.labels.cpu()

    transform = transforms.Compose([transforms.ToTensor(), transforms.Lambda(torch.flatten)])
    loader: Any = DataLoader(TextbookDataset(), batch_size=batches.batch_size, shuffle=True)
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

    return seconds_of(epoch, device)


def decoder_products(num_images: int, num_samples: int, device: torch.device) -> float:
    """Time the decoder's two matrix products alone, in batches of 1,000 samples.

    This is a lower bound on the time to decode as many samples on this machine.

    Returns:
        seconds.
    """
    decoder: Any = _network()["decoder"].to(device)
    first, _, second = decoder
    z = torch.randn(1000, first.in_features, device=device)
    hidden = torch.randn(1000, second.in_features, device=device)

    @torch.no_grad()
    def products() -> None:
        for _ in range(num_images * num_samples // 1000):
            torch.mm(z, first.weight.T)
            torch.mm(hidden, second.weight.T)

    return seconds_of(products, device)


def _network() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40)),
            "decoder": nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784)),
        }
    )


def _forward(network: nn.ModuleDict, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the pixels, (B, 784), and the rate summed over the batch."""
    mean, log_variance = network["encoder"](x).chunk(2, dim=1)
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
    rate = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return network["decoder"](z), rate


def seconds_of(function: Callable[[], None], device: torch.device) -> float:
    """Time a function on a device, in seconds."""

    def wait() -> None:
        if device.type != "cpu":
            torch.get_device_module(device).synchronize()

    wait()
    started = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - started
