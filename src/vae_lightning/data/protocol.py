"""The data protocol: which images are in which split, and how pixels are binarised."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.data import binarization
from vae_lightning.data.binarization import Binarize
from vae_lightning.data.dataset import ImageDataset
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.checks import at_least

Validation = Literal["split", "test"]

# Of the choice of validation images and of binarisation for evaluation: runs with different seeds
# are evaluated on the same images.
SEED = 0

# Added to SEED, so that no two images are binarised with the same noise.
_FIXED: dict[Split, int] = {"train": 0, "test": 1, "val": 5}
_DYNAMIC: dict[Split, int] = {"test": 1, "val": 2, "train": 3}
_OTHER_IMAGES = 4


@dataclass(frozen=True)
class Protocol:
    """How the images of a source are split and binarised before they are served.

    Attributes:
        source: of the images.
        root: folder of the files.
        size: height and width of the images served, in pixels.
        val_size, validation, binarize, held_out: as for `ImageDataModule`.

    Raises:
        ValueError: a value does not fit the source.
    """

    source: ImageSource
    root: Path
    size: tuple[int, int]
    val_size: int
    validation: Validation
    binarize: Binarize
    held_out: tuple[int, ...]

    def __post_init__(self) -> None:
        at_least("val_size", self.val_size, 0)
        title, classes = self.source.title, len(self.source.class_names)
        if self.val_size >= self.source.num_train:
            raise ValueError(
                f"val_size={self.val_size} leaves nothing to train on: the training split of "
                f"{title} has {self.source.num_train} images"
            )
        if self.val_size and self.source.num_val:
            raise ValueError(f"val_size={self.val_size}: {title} has validation images already")
        if self.held_out and classes == 0:
            raise ValueError(f"held_out={list(self.held_out)}: {title} has no classes")
        for label in self.held_out:
            if not 0 <= label < classes:
                raise ValueError(
                    f"held_out={list(self.held_out)}: class {label} does not exist, those of "
                    f"{title} are 0 to {classes - 1}"
                )
        if len(set(self.held_out)) == classes > 0:
            raise ValueError(f"held_out={list(self.held_out)} leaves no class to train on")

    @property
    def expected(self) -> dict[str, int]:
        """The maximum number of images in each split.

        Images of held-out classes and files that cannot be read are counted as well.
        """
        val = self.source.num_test
        if self.validation == "split":
            val = self.val_size or self.source.num_val
        return {
            "train": self.source.num_train - self.val_size,
            "val": val,
            "test": self.source.num_test,
        }

    def splits(self) -> dict[str, ImageDataset]:
        """The images of each split, as they are served; `val` may be the same object as `test`.

        Raises:
            DataError: there are too few training images for `val_size`.
        """
        train = self._without_held_out(self.official("train"))
        if self.val_size >= len(train):
            raise DataError(
                f"data.val_size={self.val_size} leaves nothing to train on: there are "
                f"{len(train)} training images"
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
        training, validation = order.split([len(order) - self.val_size, self.val_size])
        test = self._without_held_out(self._binarized_once(self.official("test"), "test"))
        if self.validation == "test":
            val = test
        elif self.source.num_val:
            val = self._without_held_out(self._binarized_once(self.official("val"), "val"))
        else:
            val = self._binarized_once(train.select(validation), "val")
        return {"train": train.select(training), "val": val, "test": test}

    def official(self, split: Split) -> ImageDataset:
        """A whole split of the source, with validation images and held-out classes in it."""
        images = self.source.open(self.root, split, self.size)
        if self.binarize == "threshold":
            return images.binarized("threshold", seed=0)
        if self.binarize == "fixed":
            return images.binarized("fixed", SEED + _FIXED[split])
        return images

    def held_out_images(self) -> ImageDataset:
        """The test images of the held-out classes, binarised as for evaluation."""
        images = self._binarized_once(self.official("test"), "test")
        return images.select(self._is_held_out(images))

    def evaluated(self, images: Tensor, split: str) -> Tensor:
        """Images of a split, binarised as for evaluation even if training draws them anew.

        Shape:
            uint8 (N, C, H, W); returns the same.
        """
        if split == "train" and self.binarize == "dynamic":
            return binarization.fixed(images, SEED + _DYNAMIC["train"])
        return images

    def as_evaluated(self, images: Tensor) -> Tensor:
        """Images from outside the data set, binarised as for evaluation.

        Shape:
            uint8 (N, C, H, W); returns the same.
        """
        if self.binarize == "none":
            return images
        if self.binarize == "threshold":
            return binarization.threshold(images)
        return binarization.fixed(images, SEED + _OTHER_IMAGES)

    def _is_held_out(self, images: ImageDataset) -> Tensor:
        return torch.isin(images.labels, torch.tensor(self.held_out, dtype=images.labels.dtype))

    def _without_held_out(self, images: ImageDataset) -> ImageDataset:
        return images.select(~self._is_held_out(images)) if self.held_out else images

    def _binarized_once(self, images: ImageDataset, split: Split) -> ImageDataset:
        if self.binarize == "dynamic":
            return images.binarized("fixed", SEED + _DYNAMIC[split])
        return images
