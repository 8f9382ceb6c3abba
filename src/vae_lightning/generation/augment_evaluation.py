"""Accuracy of a small classifier with and without the generated images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.data.batches import Batch
from vae_lightning.generation.augment_methods import Generate, generated_batches, sources
from vae_lightning.metrics.features import FeatureClassifier, accuracy, seeded_training
from vae_lightning.utils.pixels import to_float
from vae_lightning.utils.random_state import fixed_noise

BATCH_SIZE = 64
LEARNING_RATE = 2e-3
# Of the interval around a mean difference.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class AccuracyComparison:
    """Accuracies on the test split, one for each seed, as fractions.

    Attributes:
        labels_per_class: labelled images of each class in training.
        without: of classifiers trained on these images alone.
        augmented: of classifiers trained on the generated images too; with the same seeds.
    """

    labels_per_class: int
    without: Sequence[float]
    augmented: Sequence[float]

    @property
    def differences(self) -> list[float]:
        """Augmented minus without, for each seed."""
        return [more - less for more, less in zip(self.augmented, self.without, strict=True)]

    @property
    def interval(self) -> tuple[float, float]:
        """The confidence interval of the mean difference, of a paired t-test."""
        from scipy.stats import ttest_rel

        low, high = min(self.differences), max(self.differences)
        if high - low < 1e-9:  # equal but for rounding: the test would divide by zero
            return low, high
        interval = ttest_rel(self.augmented, self.without).confidence_interval(CONFIDENCE)
        return float(interval.low), float(interval.high)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        low, high = self.interval
        points = f"{100 * abs(fmean(self.differences)):.2f} points"
        within = f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
        if low > 0:
            return f"it helps, by {points} {within}"
        if high < 0:
            return f"it does not help: it costs {points} {within}"
        return f"no significant difference over {len(self.without)} seeds {within}"

    def facts(self) -> dict[str, Any]:
        """Everything as plain values."""
        facts: dict[str, Any] = {"labels_per_class": self.labels_per_class}
        for name, values in (
            ("without", self.without),
            ("augmented", self.augmented),
            ("difference", self.differences),
        ):
            facts[name] = {
                "mean": fmean(values),
                "deviation": stdev(values),
                "by_seed": list(values),
            }
        return facts | {"interval": list(self.interval), "verdict": self.verdict}


def compare(
    train: Batch,
    test: Batch,
    generate: Generate,
    *,
    num_classes: int,
    sizes: Sequence[int],
    seeds: Sequence[int],
    per_class: int,
    steps: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> list[AccuracyComparison]:
    """Train pairs of classifiers, with and without images generated from their training images.

    Both of a pair have the same labelled images, the same initial weights and the same number of
    steps; images are generated from these labelled images only.

    Args:
        train: images to choose labelled ones from, and their labels.
        test: the images that accuracy is measured on; they are used for nothing else.
        generate: generates images.
        num_classes: of the labels.
        sizes: labelled images of each class in training.
        seeds: of the choice of images, initial weights, batches, and noise of `generate`.
        per_class: images generated of each class.
        steps: of each classifier's optimiser.
        device: where `generate` draws its noise.
        advance: called with the number of images that a classifier was trained on.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,).
    """
    images, labels = train
    accuracies: dict[tuple[int, int], tuple[float, float]] = {}
    for size, seed in product(sizes, seeds):
        indices = choose_labelled(labels, size, seed)
        chosen = (images[indices], labels[indices])
        used = sources(labels, indices, per_class)
        with fixed_noise(seed, device):
            batches = generated_batches(generate, used, labels[used])
            generated = torch.cat([batch for batch, _, _ in batches])
        augmented = (torch.cat([chosen[0], generated]), torch.cat([chosen[1], labels[used]]))
        pair = []
        for training_set in (chosen, augmented):
            with seeded_training(seed):
                classifier = _trained(*training_set, num_classes, steps, seed)
                pair.append(accuracy(classifier, *test))
            advance(steps * BATCH_SIZE)
        accuracies[size, seed] = (pair[0], pair[1])
    return [
        AccuracyComparison(size, *zip(*(accuracies[size, seed] for seed in seeds), strict=True))
        for size in sizes
    ]


def choose_labelled(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose `count` images of each class; with the same seed, smaller sets are subsets.

    Shape:
        labels int64 (N,); returns indices int64 (classes * count,).
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[labels[order] == label][:count] for label in labels.unique()])


def smallest_class(labels: Tensor) -> int:
    """The number of images of the class that has the fewest.

    Shape:
        labels int64 (N,).
    """
    return int(labels.unique(return_counts=True)[1].min())


def _trained(
    images: Tensor, labels: Tensor, num_classes: int, steps: int, seed: int
) -> FeatureClassifier:
    """A classifier after `steps` batches, however many images there are."""
    channels, height, width = images.shape[1:]
    classifier = FeatureClassifier((channels, height, width), num_classes)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    generator = torch.Generator().manual_seed(seed)
    needed = steps * BATCH_SIZE
    order = torch.cat(
        [
            torch.randperm(len(images), generator=generator)
            for _ in range(math.ceil(needed / len(images)))
        ]
    )
    for indices in order[:needed].split(BATCH_SIZE):
        batch = to_float(images[indices])
        optimizer.zero_grad()
        F.cross_entropy(classifier.logits(batch), labels[indices]).backward()
        optimizer.step()
        decay.step()
    return classifier.eval()
