"""Ways to generate labelled images: samples of a class, or perturbed latents of an image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.distributions.spaces import perturbed
from vae_lightning.generation.batches import in_batches
from vae_lightning.models import Model
from vae_lightning.utils.pixels import to_float, to_uint8

Method = Literal["conditional", "perturb"]

# Generates one image for each of some training images, given their indices and labels, int64 (B,);
# returns uint8 (B, C, H, W), on the CPU.
Generate = Callable[[Tensor, Tensor], Tensor]

# Images that pass through the model at once. Their noise is drawn together, so this is part of
# what a seed means.
_BATCH_SIZE = 1000
# Images that the spread of the latents is estimated from.
_SPREAD_IMAGES = 10_000


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images.

    Attributes:
        images: uint8 (N, C, H, W), before any binarisation.
        inputs: the same as the model takes them, binarised if it was trained so.
        labels: int64 (N,).
    """

    images: Tensor
    inputs: Tensor
    labels: Tensor


def generator(model: Model, train: LabelledImages, method: Method, scale: float) -> Generate:
    r"""A function that generates images; its noise is torch's own.

    `conditional` draws from p(x|y). `perturb` adds noise to the mean of q(z|x) and decodes it with
    the label of x:

    .. math:: z' = \mathbb{E}[z|x] + \text{scale} \cdot \sigma \epsilon, \quad
              \epsilon \sim \mathcal{N}(0, I)

    with sigma the standard deviation of the means over the training images, so that a scale has the
    same meaning for every model, and unused dimensions stay fixed. (Noise with the posterior's own
    deviation would hardly change an image.)

    Args:
        model: in evaluation mode.
        train: the training images.
        method: see above.
        scale: of the noise of `perturb`.
    """
    if method == "conditional":

        def sample(indices: Tensor, labels: Tensor) -> Tensor:
            return to_uint8(model.sample(len(labels), labels.to(model.device))).cpu()

        return sample

    def means(indices: Tensor, _: Tensor | None = None) -> Tensor:
        x = to_float(train.inputs[indices], device=model.device)
        return model.infer_means(x, train.labels[indices].to(model.device))

    first = torch.arange(min(_SPREAD_IMAGES, len(train.labels)))
    deviation = scale * in_batches(means, first, size=_BATCH_SIZE).std(0, correction=0)

    def perturb(indices: Tensor, labels: Tensor) -> Tensor:
        latents = perturbed(means(indices), deviation, model.latent_space)
        return to_uint8(model.mean_images(latents, labels.to(model.device))).cpu()

    return perturb


def sources(train_labels: Tensor, indices: Tensor, per_class: int) -> Tensor:
    """The training images to generate others from: those of each class, in turn.

    Args:
        train_labels: of all training images.
        indices: of the images that may be used.
        per_class: images to generate of each class.

    Shape:
        train_labels int64 (N,); indices int64 (M,); returns indices, (classes * per_class,).

    Example:
        >>> labels = torch.tensor([1, 0, 1])
        >>> sources(labels, torch.tensor([0, 1, 2]), per_class=3)
        tensor([1, 1, 1, 0, 2, 0])
    """
    labels = train_labels[indices]
    turns = torch.arange(per_class)
    parts = []
    for label in labels.unique():
        of_class = indices[labels == label]
        parts.append(of_class[turns % len(of_class)])
    return torch.cat(parts)


def generated_batches(
    generate: Generate, indices: Tensor, labels: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Generate images batch by batch.

    Shape:
        indices and labels int64 (M,); yields images uint8 (B, C, H, W), indices and labels (B,).
    """
    parts = zip(indices.split(_BATCH_SIZE), labels.split(_BATCH_SIZE), strict=True)
    for some_indices, some_labels in parts:
        yield generate(some_indices, some_labels), some_indices, some_labels
