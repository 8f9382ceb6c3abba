"""Checks of labels and of weights of classes. Those of values wait for the device."""

import torch
from torch import Tensor

from vae_lightning.models.checks import check_tensor


def check_classes(labels: Tensor, num_classes: int | None) -> None:
    """Check that every label is one of a model's classes.

    Raises:
        ValueError: one is not, or the model has no classes.
    """
    if num_classes is None:
        raise ValueError("labels: this model knows no classes")
    check_tensor("labels", labels)
    for label in labels.unique().tolist():
        if not 0 <= label < num_classes:
            raise ValueError(f"class {label} does not exist: they are 0 to {num_classes - 1}")


def check_label_batch(
    labels: Tensor | None, count: int, num_classes: int, device: torch.device
) -> Tensor:
    """Check the shape, type and device of labels, and return them. It does not wait for the device.

    Raises:
        ValueError: they are missing, or are not one class for each of `count` images.
    """
    labels = given(labels, num_classes)
    check_tensor("labels", labels)
    if labels.shape != (count,) or labels.dtype != torch.int64:
        raise ValueError(
            f"labels of {labels.dtype} and shape {tuple(labels.shape)}: for {count} images "
            f"they must be torch.int64 and ({count},)"
        )
    if labels.device != device:
        raise ValueError(f"labels on {labels.device}: the images are on {device}")
    return labels


def check_labels(
    labels: Tensor | None, count: int, num_classes: int | None, device: torch.device
) -> None:
    """Check that labels are one class for each of `count` images, values included.

    A model without classes ignores labels.

    Raises:
        ValueError: they are missing, have another shape, type or device, or are not classes of the
            model.
    """
    if num_classes is not None:
        check_classes(check_label_batch(labels, count, num_classes, device), num_classes)


def check_weight_batch(
    labels: Tensor | None, count: int, num_classes: int, device: torch.device
) -> Tensor:
    """Check labels as `check_label_batch` does, and return them; weights of all classes are labels.

    It does not wait for the device.

    Shape:
        labels int64 (N,), or floats (N, num_classes); returns the same.

    Raises:
        ValueError: they are neither.
    """
    if not isinstance(labels, Tensor) or labels.dim() != 2:
        return check_label_batch(labels, count, num_classes, device)
    if labels.shape != (count, num_classes) or not labels.is_floating_point():
        raise ValueError(
            f"weights of classes of {labels.dtype} and shape {tuple(labels.shape)}: for {count} "
            f"images they must be floats, ({count}, {num_classes})"
        )
    if labels.device != device:
        raise ValueError(f"labels on {labels.device}: the latents are on {device}")
    return labels


def check_weights(
    labels: Tensor | None, count: int, num_classes: int | None, device: torch.device
) -> None:
    """Check labels as `check_labels` does; weights of all classes are labels as well.

    Raises:
        ValueError: they are neither.
    """
    if num_classes is not None:
        labels = check_weight_batch(labels, count, num_classes, device)
        if labels.dim() == 1:
            check_classes(labels, num_classes)


def given(labels: Tensor | None, num_classes: int) -> Tensor:
    """The labels of a conditional model.

    Raises:
        ValueError: they are missing.
    """
    if labels is None:
        raise ValueError(
            "labels are missing: this model needs a class for each image, from 0 to "
            f"{num_classes - 1}"
        )
    return labels
