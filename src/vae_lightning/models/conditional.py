"""What models conditional on a class share: the labels, checked and shown to both networks."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.utils.checks import all_at_least


class Conditional(nn.Module):
    """The images and the classes of a model: all of it that does not depend on its latents.

    With classes, the encoder sees a learned picture of the label beside the image, and the decoder
    the label beside the latents.

    Args:
        image_shape: (C, H, W).
        num_classes: how many classes of images it tells apart; None where it needs no labels.

    Attributes:
        seen_shape: of what the encoder sees, (C, H, W), or (C + 1, H, W) with the label's picture.

    Raises:
        ValueError: an image shape that is not three sizes of at least 1, or no classes.
    """

    def __init__(self, image_shape: Sequence[int], num_classes: int | None) -> None:
        super().__init__()
        all_at_least("image_shape", image_shape, 1)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape={list(image_shape)} must be channels, height and width")
        if num_classes == 0:
            raise ValueError("num_classes=0: the data has no labels to condition on; use model=vae")
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.seen_shape = self.image_shape
        self.label_picture = None
        if num_classes is not None:
            channels, *size = self.image_shape
            self.seen_shape = (channels + 1, *size)
            self.label_picture = nn.Embedding(num_classes, math.prod(size))

    def check_labels(self, labels: Tensor) -> None:
        """Refuse labels that are not of a class.

        Raises:
            ValueError: one is not, or the model knows no classes.
        """
        if self.num_classes is None:
            raise ValueError("labels: this model knows no classes")
        for label in labels.unique().tolist():
            if not 0 <= label < self.num_classes:
                raise ValueError(
                    f"class {label} does not exist: they are 0 to {self.num_classes - 1}"
                )

    def check_labelled(self, labels: Tensor | None, count: int) -> None:
        """Refuse labels that are not one class for each of so many images.

        A model without classes passes labels over.

        Raises:
            ValueError: they are missing, of another shape or type, or of no class.
        """
        if self.num_classes is None:
            return
        if labels is None:
            raise ValueError(self._missing())
        if labels.shape != (count,) or labels.dtype != torch.int64:
            raise ValueError(
                f"labels of {labels.dtype} and shape {tuple(labels.shape)}: for {count} images "
                f"they must be torch.int64 and ({count},)"
            )
        self.check_labels(labels)

    def check_images(self, x: Tensor, labels: Tensor | None) -> None:
        """Refuse what is not images as the model takes them, with their labels.

        Raises:
            ValueError: another shape or type, a value outside of [0, 1], or labels that do not fit.
        """
        if x.dim() != 4 or x.shape[1:] != self.image_shape or len(x) == 0:
            sizes = ", ".join(map(str, self.image_shape))
            raise ValueError(f"images of shape {tuple(x.shape)}: this model takes (B, {sizes})")
        if not x.is_floating_point():
            raise ValueError(f"images of {x.dtype}: give floats in [0, 1], such as bytes / 255")
        weights = next(self.parameters()).dtype
        if x.dtype != weights:
            raise ValueError(f"images of {x.dtype}: this model takes {weights}")
        low, high = x.aminmax()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"images from {low:.4g} to {high:.4g}: the values must be in [0, 1]")
        self.check_labelled(labels, len(x))

    def each_class_in_turn(self, count: int, device: torch.device) -> Tensor | None:
        """Labels for images that nobody chose labels for: int64 (count,); None without classes."""
        if self.num_classes is None:
            return None
        return torch.arange(count, device=device) % self.num_classes

    def beside_image(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """What the encoder sees: the image, and the picture of its label where there are classes.

        Shape:
            x (B, C, H, W); labels int64 (B,); returns (B, *seen_shape).

        Raises:
            ValueError: no label, of a model that needs one.
        """
        if self.label_picture is None:
            return x
        if labels is None:
            raise ValueError(self._missing())
        picture = self.label_picture(labels).unflatten(1, (1, *self.image_shape[1:]))
        return torch.cat([x, picture], dim=1)

    def beside_latents(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What the decoder sees: the latents, and the label where there are classes.

        Shape:
            z (..., B, D); labels int64 (B,), or the shares of the classes, (B, num_classes);
            returns (..., B, D), or (..., B, D + num_classes).

        Raises:
            ValueError: no label, of a model that needs one.
        """
        if self.num_classes is None:
            return z
        if labels is None:
            raise ValueError(self._missing())
        label = labels if labels.dim() == 2 else F.one_hot(labels, self.num_classes)
        label = label.to(z.dtype)
        return torch.cat([z, label.expand(*z.shape[:-1], -1)], dim=-1)

    def _missing(self) -> str:
        return (
            "labels are missing: this model needs a class for each image, from 0 to "
            f"{(self.num_classes or 1) - 1}"
        )
