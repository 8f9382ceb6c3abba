"""The data protocol: which images train, which validate, which test, and how pixels are drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.data import binarisation
from vae_lightning.data.binarisation import Binarize
from vae_lightning.data.images import Images
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.checks import at_least

Validation = Literal["split", "test"]

# The draws that evaluation depends on have a seed of their own: runs with other seeds are compared
# on the same images.
SEED = 0

# Each draw has a stream of its own: none serves two images.
_FIXED: dict[Split, int] = {"train": 0, "test": 1, "val": 5}
_DRAWN_ONCE: dict[Split, int] = {"test": 1, "val": 2, "train": 3}
_FROM_ELSEWHERE = 4


@dataclass(frozen=True)
class Protocol:
    """What is done with a source's images before they are served.

    Attributes:
        source: where images come from.
        root: folder of the files.
        size: height and width of the images served, in pixels.
        val_size, validation, binarize, held_out: as for `ImageDataModule`.

    Raises:
        ValueError: a value that does not fit the source.
    """

    source: ImageSource
    root: Path
    size: int
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
        """Images in each split at the most.

        The images of classes that are held out, and files that cannot be read, are counted as well.
        """
        val = self.source.num_test
        if self.validation == "split":
            val = self.val_size or self.source.num_val
        return {
            "train": self.source.num_train - self.val_size,
            "val": val,
            "test": self.source.num_test,
        }

    def splits(self) -> dict[str, Images]:
        """The images of each split, as they are served; those to validate on may be the test ones.

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
        kept, held_out = order.split([len(order) - self.val_size, self.val_size])
        test = self._without_held_out(self._drawn_once(self.official("test"), "test"))
        if self.validation == "test":
            val = test
        elif self.source.num_val:
            val = self._without_held_out(self._drawn_once(self.official("val"), "val"))
        else:
            val = self._drawn_once(train.select(held_out), "val")
        return {"train": train.select(kept), "val": val, "test": test}

    def official(self, split: Split) -> Images:
        """The images of one of the source's splits, before any is held out."""
        images = self.source.open(self.root, split, self.size)
        if self.binarize == "threshold":
            return images.binarized("threshold", seed=0)
        if self.binarize == "fixed":
            return images.binarized("fixed", SEED + _FIXED[split])
        return images

    def held_out_images(self) -> Images:
        """The images of the test split whose classes are held out, as evaluation sees images."""
        images = self._drawn_once(self.official("test"), "test")
        return images.select(self._is_held_out(images))

    def evaluated(self, images: Tensor, split: str) -> Tensor:
        """The images that a split serves as evaluation sees them, whatever training does.

        Shape:
            uint8 (N, C, H, W); returns the same.
        """
        if split == "train" and self.binarize == "dynamic":
            return binarisation.fixed(images, SEED + _DRAWN_ONCE["train"])
        return images

    def as_evaluated(self, images: Tensor) -> Tensor:
        """Images of elsewhere as evaluation would see them.

        Shape:
            uint8 (N, C, H, W); returns the same.
        """
        if self.binarize == "none":
            return images
        if self.binarize == "threshold":
            return binarisation.threshold(images)
        return binarisation.fixed(images, SEED + _FROM_ELSEWHERE)

    def _is_held_out(self, images: Images) -> Tensor:
        return torch.isin(images.labels, torch.tensor(self.held_out, dtype=images.labels.dtype))

    def _without_held_out(self, images: Images) -> Images:
        return images.select(~self._is_held_out(images)) if self.held_out else images

    def _drawn_once(self, images: Images, split: Split) -> Images:
        if self.binarize == "dynamic":
            return images.binarized("fixed", SEED + _DRAWN_ONCE[split])
        return images
