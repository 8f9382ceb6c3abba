"""Images passed through a model in batches, and the labels that a model needs with them."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae_lightning.models import Model
from vae_lightning.utils.blocks import images_at_once

# Images that pass through a model at once.
BATCH_SIZE = 500


def in_batches(
    function: Callable[[Tensor, Tensor | None], Tensor],
    images: Tensor,
    labels: Tensor | None = None,
    size: int = BATCH_SIZE,
) -> Tensor:
    """Apply a function to images in batches, so that memory does not grow with their number.

    Args:
        function: of a batch of images and its labels.
        images: along the first dimension.
        labels: of the images; None passes None on.
        size: of a batch, at most.

    Shape:
        images (N, ...); labels (N,); returns (N, ...).

    Example:
        >>> images = torch.arange(5.0)
        >>> in_batches(lambda batch, labels: 2 * batch, images, size=2)
        tensor([0., 2., 4., 6., 8.])
    """
    size = images_at_once(images.shape[1:], size)
    parts = images.split(size)
    label_parts = [None] * len(parts) if labels is None else labels.split(size)
    return torch.cat([function(*part) for part in zip(parts, label_parts, strict=True)])


def labels_for(model: Model, labels: Tensor | None) -> Tensor | None:
    """The labels if the model is conditional, otherwise None."""
    return None if model.num_classes is None else labels


def check_classes(model: Model, labels: Tensor) -> None:
    """Check that a conditional model has these classes.

    Shape:
        labels int64 (N,).

    Raises:
        ValueError: it has not; the message begins with the key, `classes`.
    """
    try:
        model.check_labels(labels)
    except ValueError as error:
        raise ValueError(f"classes={labels.tolist()}: {error}") from error


def check_label(model: Model, label: int | None) -> None:
    """Check that a label is given if and only if the model is conditional, and that it exists.

    Raises:
        ValueError: the message begins with the key, `label`.
    """
    if label is not None:
        try:
            model.check_labels(torch.tensor([label]))
        except ValueError as error:
            raise ValueError(f"label={label}: {error}") from error
    elif model.num_classes is not None:
        raise ValueError(
            "label is missing: this model is conditional on a class: choose mode.label=0 (the "
            f"classes are 0 to {model.num_classes - 1})"
        )


def repeated_label(label: int | None, count: int, device: torch.device) -> Tensor | None:
    """One label for each of `count` latents, or None.

    Shape:
        returns int64 (count,).
    """
    return None if label is None else torch.full((count,), label, device=device)
