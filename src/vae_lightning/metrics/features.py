"""A small classifier whose features are the space in which sets of images are compared."""

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
from vae_lightning.utils.checks import at_least

# How every classifier is trained. A number of steps, not of epochs: small data sets need as many.
STEPS = 2500
BATCH_SIZE = 128
LEARNING_RATE = 2e-3
SEED = 0
CHANNELS = (16, 32)
NUM_FEATURES = 64

EVAL_BATCH_SIZE = 500
# Hexadecimal digits shown of a checksum: enough to tell any two apart that meet in practice.
SHORT = 12


class FeatureClassifier(nn.Module):
    """Two strided convolutions and a dense layer, whose output is the features, and a last layer.

    Features are what the last layer sees. Units are exponential-linear, because of rectified ones
    nearly half fell silent on MNIST, and a feature that is always 0 tells no images apart.

    Args:
        image_shape: (C, H, W).
        num_classes: number of labels.

    Attributes:
        num_features: length of a feature vector.
        test_accuracy: share of the test images that it names correctly; NaN before training.
    """

    num_features = NUM_FEATURES

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        first, second = CHANNELS
        # Each convolution halves the sides, rounding up.
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
        """Which feature space this is: a checksum of the weights, as 12 hexadecimal digits.

        Distances are comparable only within one space.
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
    """A data set's classifier: read from `folder`, or trained once and written there.

    Training is on the CPU, in one thread and in float32, also where a GPU is at hand: so one
    machine finds the same weights each time, whatever else it is doing. Other kinds of processor
    round otherwise and find another space; to compare across machines, copy the file. Global
    random state is left as it was.

    Args:
        name: of the data set; the start of the file's name.
        images: to train on, as data modules keep them.
        labels: of these images, in 0, ..., num_classes - 1.
        test_images: only for `test_accuracy`.
        test_labels: of these images.
        num_classes: number of labels.
        folder: where classifiers are kept; made if need be. The file's name ends in a checksum of
            data and recipe, so that data of the same name but other pixels gets a file of its own.
            A file that is cut short or altered is replaced.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,); test images and labels alike.
        The classifier comes back on the CPU, in evaluation mode, and asks for no gradients.

    Raises:
        DataError: the file cannot be written.
        ValueError: images that are not uint8, or none.
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
    with apart(SEED):
        _, channels, height, width = images.shape
        classifier = FeatureClassifier((channels, height, width), num_classes)
        if not _read(path, data, classifier):
            print("The classifier whose features compare images is trained, once for these data.")
            _train(classifier, *train)
            classifier.test_accuracy = accuracy(classifier, *test)
            _write(path, data, classifier)
    return classifier.eval().requires_grad_(False)


@contextmanager
def apart(seed: int) -> Iterator[None]:
    """Train inside as on any other day: in one thread, from a seed, with gradients.

    Global random state is left as it was.
    """
    # Only the CPU's generator is seeded: torch.manual_seed would reach those of every device.
    # A sum is rounded in another order by another number of threads. Gradients are needed even
    # where a caller, evaluating a model, has switched them off: leaving inference mode, entered
    # or not, switches them on.
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
    for batch, targets in islice(_endless(images, labels), STEPS):
        optimizer.zero_grad()
        F.cross_entropy(classifier.logits(batch), targets).backward()
        optimizer.step()
        decay.step()


def _endless(images: Tensor, labels: Tensor) -> Iterator[Batch]:
    batches = ResidentBatches(images, labels, BATCH_SIZE, shuffle=True, seed=SEED)
    for epoch in count():
        batches.batch_sampler.set_epoch(epoch)
        yield from batches


@torch.no_grad()
def accuracy(classifier: FeatureClassifier, images: Tensor, labels: Tensor) -> float:
    """The share of images that a classifier names correctly.

    Shape:
        images uint8 (N, C, H, W), labels int64 (N,).
    """
    correct = sum(
        int((classifier.logits(batch).argmax(1) == targets).sum())
        for batch, targets in ResidentBatches(images, labels, EVAL_BATCH_SIZE)
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
    except Exception:  # torch.load raises whatever a broken file leads it to
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
        # Renamed when complete: no other process ever reads half a file.
        part.write_bytes(buffer.getvalue())
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}. The classifier that sets of images are "
            "compared with is kept there: make room, or name a folder that can be written to"
        ) from error
    finally:
        part.unlink(missing_ok=True)
