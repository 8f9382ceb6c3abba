"""Conditioning on labels: what the encoder and the decoder of p(x|y) get beside their input."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.models.label_checks import check_weight_batch, given


def label_embedding(image_shape: Sequence[int], num_classes: int | None) -> nn.Embedding | None:
    """A learned image of one channel for each class; None without classes."""
    if num_classes is None:
        return None
    return nn.Embedding(num_classes, math.prod(image_shape[1:]))


def encoder_shape(image_shape: Sequence[int], num_classes: int | None) -> tuple[int, ...]:
    """Shape of the encoder's input: (C, H, W), or (C + 1, H, W) with classes."""
    channels, *size = image_shape
    return (channels if num_classes is None else channels + 1, *size)


def with_label_channel(x: Tensor, labels: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """Concatenate images and the learned images of their labels.

    Args:
        x: images.
        labels: their classes; ignored without an embedding.
        embedding: of `label_embedding`.

    Shape:
        x (B, C, H, W); labels int64 (B,); returns (B, C + 1, H, W), or x without an embedding.

    Raises:
        ValueError: an embedding and no labels.
    """
    if embedding is None:
        return x
    channel = embedding(given(labels, embedding.num_embeddings))  # (B, H*W)
    return torch.cat([x, channel.unflatten(1, (1, *x.shape[2:]))], dim=1)


def with_one_hot_label(z: Tensor, labels: Tensor | None, num_classes: int | None) -> Tensor:
    """Concatenate latents and their one-hot labels.

    Args:
        z: latents.
        labels: their classes, or weights of all classes; ignored without classes.
        num_classes: how many classes; None for a model without.

    Shape:
        z (..., B, D); labels int64 (B,) or float (B, num_classes); returns
        (..., B, D + num_classes), or z without classes.

    Raises:
        ValueError: classes, and no labels or labels of another shape, type or device.
    """
    if num_classes is None:
        return z
    labels = check_weight_batch(labels, z.shape[-2], num_classes, z.device)
    weights = labels if labels.dim() == 2 else F.one_hot(labels, num_classes)
    return torch.cat([z, weights.to(z.dtype).expand(*z.shape[:-1], -1)], dim=-1)


def between_labels(a: Tensor, b: Tensor, t: Tensor, num_classes: int) -> Tensor:
    """Weights of all classes on the way from some labels to others.

    Args:
        a: labels.
        b: as many others.
        t: fractions of the way; 0 is `a` and 1 is `b`.
        num_classes: how many classes.

    Shape:
        a, b int64 (B,); t (T,); returns (B, T, num_classes).
    """
    start, end = (F.one_hot(labels, num_classes).to(t.dtype)[:, None] for labels in (a, b))
    return torch.lerp(start, end, t[:, None])
