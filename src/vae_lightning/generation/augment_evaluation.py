"""What an enlarged data set is worth: a small classifier's accuracy with and without it."""

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
from vae_lightning.generation.augment_methods import Make, blocks, plan
from vae_lightning.metrics.features import FeatureClassifier, accuracy, seeded_training
from vae_lightning.utils.random_state import fixed_noise

BATCH_SIZE = 64
LEARNING_RATE = 2e-3
# Of the interval around a mean difference.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Worth:
    """Accuracies on the test split with so many labels, one of each seed.

    Attributes:
        labels_per_class: that the classifiers were given.
        without: of classifiers that saw those images alone.
        enlarged: of classifiers that saw what was made of them as well; the seeds are the same.
    """

    labels_per_class: int
    without: Sequence[float]
    enlarged: Sequence[float]

    @property
    def differences(self) -> list[float]:
        """Enlarged less without, of each seed."""
        return [more - less for more, less in zip(self.enlarged, self.without, strict=True)]

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean difference lies, by Student's t."""
        from scipy.stats import t

        differences = self.differences
        error = stdev(differences) / math.sqrt(len(differences))
        reach = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
        return fmean(differences) - reach, fmean(differences) + reach

    @property
    def verdict(self) -> str:
        """The result in plain words."""
        low, high = self.interval
        points = f"{100 * abs(fmean(self.differences)):.2f} points"
        within = f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
        if low > 0:
            return f"it helps, by {points} {within}"
        if high < 0:
            return f"it does not help: it costs {points} {within}"
        return f"no gain that {len(self.without)} seeds can tell {within}"

    def facts(self) -> dict[str, Any]:
        """All of it as plain values; accuracies are shares of 1."""
        found: dict[str, Any] = {"labels_per_class": self.labels_per_class}
        for name, values in (
            ("without", self.without),
            ("enlarged", self.enlarged),
            ("difference", self.differences),
        ):
            found[name] = {
                "mean": fmean(values),
                "deviation": stdev(values),
                "by_seed": list(values),
            }
        return found | {"interval": list(self.interval), "verdict": self.verdict}


def measure(
    train: Batch,
    test: Batch,
    make: Make,
    *,
    num_classes: int,
    sizes: Sequence[int],
    seeds: Sequence[int],
    per_class: int,
    steps: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> list[Worth]:
    """Train pairs of classifiers, with and without what a model makes of their images.

    The two of a pair are given the same labelled images, the same first weights and as many steps;
    nothing is made of other labelled images than theirs.

    Args:
        train: images to choose labelled ones from, and their labels.
        test: those that accuracy is measured on; nothing else looks at them.
        make: what makes images.
        num_classes: that labels tell apart.
        sizes: labelled images of each class that a classifier is given.
        seeds: of the choice of images, of first weights, of the batches and of `make`'s noise.
        per_class: images made of each class.
        steps: of each classifier's optimiser.
        device: where `make` draws its noise.
        advance: is told of the images that a classifier was trained on.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,).
    """
    images, labels = train
    accuracies: dict[tuple[int, int], tuple[float, float]] = {}
    for size, seed in product(sizes, seeds):
        places = few(labels, size, seed)
        given = (images[places], labels[places])
        planned = plan(labels, places, per_class)
        with fixed_noise(seed, device):
            made = torch.cat([block for block, _, _ in blocks(make, planned, labels[planned])])
        enlarged = (torch.cat([given[0], made]), torch.cat([given[1], labels[planned]]))
        pair = []
        for seen in (given, enlarged):
            with seeded_training(seed):
                pair.append(accuracy(_trained(*seen, num_classes, steps, seed), *test))
            advance(steps * BATCH_SIZE)
        accuracies[size, seed] = (pair[0], pair[1])
    return [
        Worth(size, *zip(*(accuracies[size, seed] for seed in seeds), strict=True))
        for size in sizes
    ]


def few(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose `count` images of each class; fewer of the same seed are among more.

    Shape:
        labels int64 (N,); returns places int64 (classes * count,).
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[labels[order] == label][:count] for label in labels.unique()])


def smallest_class(labels: Tensor) -> int:
    """How many images the class has that has the fewest.

    Shape:
        labels int64 (N,).
    """
    return int(labels.unique(return_counts=True)[1].min())


def _trained(
    images: Tensor, labels: Tensor, num_classes: int, steps: int, seed: int
) -> FeatureClassifier:
    """A classifier after so many steps on batches of one size, whatever there is to see."""
    channels, height, width = images.shape[1:]
    classifier = FeatureClassifier((channels, height, width), num_classes)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    generator = torch.Generator().manual_seed(seed)
    wanted = steps * BATCH_SIZE
    order = torch.cat(
        [
            torch.randperm(len(images), generator=generator)
            for _ in range(math.ceil(wanted / len(images)))
        ]
    )
    for chosen in order[:wanted].split(BATCH_SIZE):
        batch = images[chosen].to(torch.float32).div_(255)
        optimizer.zero_grad()
        F.cross_entropy(classifier.logits(batch), labels[chosen]).backward()
        optimizer.step()
        decay.step()
    return classifier.eval()
