"""Means over images, not over batches."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageAverage(Metric):
    """Mean of named quantities over all images of all batches and processes.

    A last, shorter batch counts for the images that it has.

    Args:
        names: of the quantities.

    Shape:
        `update` takes the batch's means, (len(names),), and its number of images; `compute`
        returns a scalar by name.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.add_state("total", torch.zeros(len(self.names)), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, means: Tensor, num_images: int) -> None:
        self.total += means * num_images
        self.count += num_images

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.total / self.count, strict=True))
