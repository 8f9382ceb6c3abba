"""Labelled images made by a model: samples of a class, or images that it has encoded, moved."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.distributions.spaces import perturbed
from vae_lightning.generation.sampling import as_bytes
from vae_lightning.models import Model

Method = Literal["conditional", "perturb"]

# Makes one image for each of some places in the training split and their labels, int64 (B,) both;
# returns uint8 (B, C, H, W), on the CPU.
Make = Callable[[Tensor, Tensor], Tensor]

# Images that are in the model at once, and those that the spread of the latents is taken of.
_BLOCK = 1000
_SPREAD = 10_000


@dataclass(frozen=True)
class Labelled:
    """Labelled images.

    Attributes:
        images: as people and classifiers see them, uint8 (N, C, H, W).
        seen: the same as the model saw them in training, binarised where it was so.
        labels: int64 (N,).
    """

    images: Tensor
    seen: Tensor
    labels: Tensor


def maker(model: Model, train: Labelled, method: Method, scale: float) -> Make:
    """What makes images; the noise is torch's own.

    `conditional` draws from p(x|y). `perturb` adds noise to the centre of q(z|x) and decodes it
    with the label of x, which it is taken to have kept. The noise of a dimension has `scale` times
    the deviation of that dimension over the training images: so a scale means the same for every
    model, and dimensions that no image differs in stay still. (The posterior's own deviation would
    hardly change an image: it is what the model cannot tell apart.)

    Args:
        model: in evaluation mode.
        train: the training images.
        method: see above.
        scale: of `perturb`.
    """
    if method == "conditional":

        def sample(places: Tensor, labels: Tensor) -> Tensor:
            return as_bytes(model.sample(len(labels), labels.to(model.device))).cpu()

        return sample

    def latents_of(places: Tensor, labels: Tensor) -> Tensor:
        x = train.seen[places].to(model.device, torch.float32).div_(255)
        return model.latent_means(x, labels.to(model.device))

    first = torch.arange(min(_SPREAD, len(train.labels)))
    latents = torch.cat([latents_of(part, train.labels[part]) for part in first.split(_BLOCK)])
    deviation = scale * latents.std(0, correction=0)

    def perturb(places: Tensor, labels: Tensor) -> Tensor:
        moved = perturbed(latents_of(places, labels), deviation, model.latent_space)
        return as_bytes(model.mean_images(moved, labels.to(model.device))).cpu()

    return perturb


def plan(train_labels: Tensor, places: Tensor, per_class: int) -> Tensor:
    """Which labelled images to make others of: in each class its own, in turn.

    Args:
        train_labels: of all training images.
        places: of the images that may be used.
        per_class: images to make of each class that they have.

    Shape:
        train_labels int64 (N,); places int64 (M,); returns places, (classes * per_class,).
    """
    labels = train_labels[places]
    turns = torch.arange(per_class)
    parts = []
    for label in labels.unique():
        own = places[labels == label]
        parts.append(own[turns % len(own)])
    return torch.cat(parts)


def blocks(make: Make, places: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Make the images of a plan, a block at a time.

    Shape:
        places and labels int64 (M,); yields images uint8 (B, C, H, W), places and labels (B,).
    """
    for some, own in zip(places.split(_BLOCK), labels.split(_BLOCK), strict=True):
        yield make(some, own), some, own
