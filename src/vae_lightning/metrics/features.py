"""A small classifier whose features are used to compare sets of images."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.errors import DataError
from vae_lightning.utils.blocks import rows_at_once
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import progress

# The training of every classifier. Small data sets need as many steps as large ones, not epochs.
STEPS = 2500
BATCH_SIZE = 128
LEARNING_RATE = 2e-3
SEED = 0
CHANNELS = (16, 32)
NUM_FEATURES = 64

EVAL_BATCH_SIZE = 500
# Hexadecimal digits of a checksum that are shown: collisions are negligible.
SHORT = 12


class FeatureClassifier(nn.Module):
    """Two strided convolutions and a linear layer, whose output is the features, and a head.

    Activations are ELU: with ReLU nearly half of the features were constantly 0 on MNIST, and a
    constant feature does not distinguish images.

    Args:
        image_shape: (C, H, W).
        num_classes: number of labels.

    Attributes:
        num_features: length of a feature vector.
        test_accuracy: fraction of the test images that it classifies correctly; NaN before
            training.
    """

    num_features = NUM_FEATURES

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        first, second = CHANNELS
        # Each convolution halves height and width, rounding up.
        positions = -(-height // 4) * -(-width // 4)
        self.body = nn.Sequential(
            nn.Conv2d(channels, first, 3, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(second * positions, self.num_features),
            nn.ELU(),
        )
        self.head = nn.Linear(self.num_features, num_classes)
        self.test_accuracy = float("nan")

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Shape:
            images float32 (B, C, H, W) in [0, 1]; returns (B, num_features).
        """
        return self.body(images)

    def logits(self, images: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the labels.

        Shape:
            images float32 (B, C, H, W) in [0, 1]; returns (B, num_classes).
        """
        return self.head(self(images))

    @property
    def space(self) -> str:
        """The identity of the feature space: a checksum of the weights, in 12 hexadecimal digits.

        Distances are comparable within one space only.
        """
        return _checksum(*self.state_dict().values())[:SHORT]


def feature_classifier(
    name: str,
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    num_classes: int,
    folder: Path,
) -> FeatureClassifier:
    """The classifier of a data set: read from `folder`, or trained and written there.

    Training always runs on the CPU, in one thread and in float32, so that a machine finds the same
    weights each time. Another type of processor rounds differently and finds another feature
    space; to compare results across machines, copy the file. The global random state is unchanged.

    Args:
        name: of the data set; the file name starts with it.
        images: for training.
        labels: of these images, in 0, ..., num_classes - 1.
        test_images: for `test_accuracy` only.
        test_labels: of these images.
        num_classes: number of labels.
        folder: of the classifiers; created if it is missing. The file name ends in a checksum of
            the data and the training settings, so that other data of the same name has another
            file. A file that is cut short or altered is replaced.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,); the same for test images and labels.

    Returns:
        the classifier on the CPU, in evaluation mode, with parameters that require no gradients.

    Raises:
        DataError: the file cannot be written.
        ValueError: images are not uint8, or there are none.
    """
    for role, pixels in (("images", images), ("test_images", test_images)):
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise ValueError(
                f"{role} must be uint8 (N, C, H, W), not {pixels.dtype} of {tuple(pixels.shape)}"
            )
        at_least(f"len({role})", len(pixels), 1)
    train = (images.cpu(), labels.cpu())
    test = (test_images.cpu(), test_labels.cpu())
    recipe = (STEPS, BATCH_SIZE, LEARNING_RATE, SEED, CHANNELS, NUM_FEATURES, num_classes)
    data = _checksum(*train, *test, salt=repr(recipe))
    path = folder / f"{name}-{data[:SHORT]}.pt"
    with seeded_training(SEED):
        _, channels, height, width = images.shape
        classifier = FeatureClassifier((channels, height, width), num_classes)
        if not _read(path, data, classifier):
            print("training the classifier whose features compare images, once for this data set")
            _train(classifier, *train)
            classifier.test_accuracy = accuracy(classifier, *test)
            _write(path, data, classifier)
    return classifier.eval().requires_grad_(False)


@contextmanager
def seeded_training(seed: int) -> Iterator[None]:
    """Train reproducibly on the CPU: with a seed, in one thread, with gradients enabled.

    The global random state and the number of threads are restored.
    """
    # torch.manual_seed would seed the generators of all devices, not the CPU's only. The number of
    # threads changes the order of a sum, and so its rounding. inference_mode(False) enables
    # gradients even if the caller has disabled them.
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        torch.default_generator.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _train(classifier: FeatureClassifier, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(classifier.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS)
    with progress("training steps", STEPS) as advance:
        for batch, targets in islice(_endless(images, labels), STEPS):
            optimizer.zero_grad()
            F.cross_entropy(classifier.logits(batch), targets).backward()
            optimizer.step()
            decay.step()
            advance(1)


def _endless(images: Tensor, labels: Tensor) -> Iterator[Batch]:
    batches = ResidentBatches(images, labels, BATCH_SIZE, shuffle=True, seed=SEED)
    for epoch in count():
        batches.batch_sampler.set_epoch(epoch)
        yield from batches


@torch.no_grad()
def accuracy(classifier: FeatureClassifier, images: Tensor, labels: Tensor) -> float:
    """The fraction of images that a classifier classifies correctly.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,).
    """
    # The first layer has as many numbers as 16 grey images, a quarter of the size, twice.
    size = rows_at_once(4 * 4 * CHANNELS[0] * images[0, 0].numel(), EVAL_BATCH_SIZE)
    correct = sum(
        int((classifier.logits(batch).argmax(1) == targets).sum())
        for batch, targets in ResidentBatches(images, labels, size)
    )
    return correct / len(images)


def _checksum(*tensors: Tensor, salt: str = "") -> str:
    digest = hashlib.sha256(salt.encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _read(path: Path, data: str, classifier: FeatureClassifier) -> bool:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        weights = content["weights"]
        if content["data"] != data or content["space"] != _checksum(*weights.values())[:SHORT]:
            return False
        classifier.load_state_dict(weights)
        classifier.test_accuracy = float(content["test_accuracy"])
    except Exception:  # torch.load raises many types for broken files
        return False
    return True


def _write(path: Path, data: str, classifier: FeatureClassifier) -> None:
    buffer = io.BytesIO()
    content = {
        "data": data,
        "space": classifier.space,
        "test_accuracy": classifier.test_accuracy,
        "weights": dict(classifier.state_dict()),
    }
    torch.save(content, buffer)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that no other process reads half a file.
        part.write_bytes(buffer.getvalue())
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}. The classifier that compares sets of "
            "images is kept there: free some space, or set data.root to a writable folder"
        ) from error
    finally:
        part.unlink(missing_ok=True)
