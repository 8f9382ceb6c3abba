"""The data protocol: which images train, which validate, which test, and how pixels are drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning import LightningDataModule
from torch import Tensor

from vae_lightning.checks import at_least
from vae_lightning.data import binarisation
from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.data.binarisation import Binarize
from vae_lightning.data.sources import Source, resize
from vae_lightning.errors import DataError

Split = tuple[Tensor, Tensor]


class ImageDataModule(LightningDataModule):
    """Serves a source's images from tensors that stay on the training device.

    Args:
        name: the data set's name in results and folder names.
        source: where images come from.
        root: folder of the files.
        size: height and width of the images served, in pixels; other sizes are scaled.
        channels: channels of the images served; the source's own.
        num_classes: classes that the labels tell apart; the source's own.
        batch_size: training images in a batch, in each process.
        eval_batch_size: the same for validation and test; no result depends on it
            beyond sampling noise.
        val_size: images held out of the training split: the same ones whatever the seed.
        validation: `held_out` validates on those images; `test` on the test split, as scripts
            that know no validation set do.
        binarize: `none` keeps grey pixels; `threshold` cuts at one half; `fixed` draws each pixel
            once; `dynamic` draws it anew for each training batch. Validation and test images are
            drawn once, from a fixed seed.
        held_out: classes that no split holds; `held_out_images` has them, for detection.
        seed: of the order of the training images and their binarisation.

    Raises:
        ValueError: a size that is out of range, or does not fit the source.
    """

    # The draws that evaluation depends on have a seed of their own: runs with other seeds are
    # compared on the same images.
    protocol_seed = 0

    def __init__(
        self,
        name: str,
        source: Source,
        root: str,
        size: int,
        channels: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int,
        val_size: int,
        validation: Literal["held_out", "test"],
        binarize: Binarize,
        held_out: Sequence[int],
        seed: int,
    ) -> None:
        super().__init__()
        at_least("size", size, 1)
        at_least("batch_size", batch_size, 1)
        at_least("eval_batch_size", eval_batch_size, 1)
        at_least("val_size", val_size, 0)
        at_least("seed", seed, 0)
        if channels != source.channels:
            raise ValueError(f"channels={channels}: {source.title} images have {source.channels}")
        if num_classes != len(source.class_names):
            raise ValueError(
                f"num_classes={num_classes}: {source.title} has {len(source.class_names)}"
            )
        if val_size >= source.num_train:
            raise ValueError(
                f"val_size={val_size} leaves nothing to train on: the training split of "
                f"{source.title} has {source.num_train} images"
            )
        for label in held_out:
            if not 0 <= label < num_classes:
                raise ValueError(
                    f"held_out={list(held_out)}: class {label} does not exist, those of "
                    f"{source.title} are 0 to {num_classes - 1}"
                )
        if len(set(held_out)) == num_classes > 0:
            raise ValueError(f"held_out={list(held_out)} leaves no class to train on")
        self.name = name
        self.source = source
        self.root = Path(root).expanduser()
        self.size = size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.validation = validation
        self.binarize = binarize
        self.held_out = tuple(held_out)
        self.seed = seed
        self._splits: dict[str, Split] = {}

    @property
    def num_images(self) -> dict[str, int]:
        """Images in each split: `train`, `val`, `test`.

        With classes held out they are known once the labels are read; before, it is at most these.
        """
        if self._splits:
            return {name: len(images) for name, (images, _) in self._splits.items()}
        held_out = self.val_size if self.validation == "held_out" else self.source.num_test
        return {
            "train": self.source.num_train - self.val_size,
            "val": held_out,
            "test": self.source.num_test,
        }

    def prepare_data(self) -> None:
        self.source.fetch(self.root)

    def setup(self, stage: str) -> None:
        """Read both splits once; later calls find them read."""
        if self._splits:
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        train_images, train_labels = self._without_held_out(*self._read(train=True))
        if self.val_size >= len(train_images):
            raise DataError(
                f"data.val_size={self.val_size} leaves nothing to train on: there are "
                f"{len(train_images)} training images"
            )
        order = torch.randperm(
            len(train_images), generator=torch.Generator().manual_seed(self.protocol_seed)
        )
        kept, held_out = order.split([len(order) - self.val_size, self.val_size])
        self._splits["train"] = self._resident(train_images[kept], train_labels[kept], device)
        # Split by split another stream of draws: none serves two images.
        test = self._without_held_out(*self._drawn(*self._read(train=False), stream=1))
        self._splits["test"] = self._resident(*test, device)
        if self.validation == "test":
            self._splits["val"] = self._splits["test"]
        else:
            val = self._drawn(train_images[held_out], train_labels[held_out], stream=2)
            self._splits["val"] = self._resident(*val, device)

    def train_dataloader(self) -> ResidentBatches:
        # Overfitting a few batches on purpose needs the same ones in every epoch.
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        images, labels = self._splits["train"]
        return ResidentBatches(
            images,
            labels,
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            binarize=self.binarize == "dynamic",
            process=self._process(),
        )

    def val_dataloader(self) -> ResidentBatches | list[ResidentBatches]:
        return self._evaluated("val") if self.num_images["val"] else []

    def test_dataloader(self) -> ResidentBatches:
        return self._evaluated("test")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        """Return the batch: it was made on the device."""
        return batch

    def images(self, split: str, count: int) -> Split:
        """The first `count` images of a split, or all that there are: for pictures of a model.

        Shape:
            returns images float32 (count, C, H, W) in [0, 1] and labels int64 (count,).
        """
        images, labels = self._splits[split]
        return images[:count].to(torch.float32).div_(255), labels[:count]

    def evaluated(self, split: str) -> Split:
        """All images of a split as evaluation sees them: binarised once, whatever training does.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        images, labels = self._splits[split]
        return self._drawn(images, labels, stream=3) if split == "train" else (images, labels)

    def official(self, train: bool) -> Split:
        """All images of the training or of the test split, before any is held out.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        return self._read(train)

    def held_out_images(self) -> Split:
        """The images of the test split whose classes are held out, as evaluation sees images.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        images, labels = self._drawn(*self._read(train=False), stream=1)
        held_out = torch.isin(labels, torch.tensor(self.held_out, dtype=labels.dtype))
        return images[held_out], labels[held_out]

    def drawn_once(self, images: Tensor) -> Tensor:
        """Images from elsewhere as evaluation sees those of the test split: binarised, or not.

        Shape:
            images uint8 (N, C, H, W); returns the same.
        """
        if self.binarize == "threshold":
            return binarisation.threshold(images)
        if self.binarize == "none":
            return images
        return binarisation.fixed(images, self.protocol_seed + 4)

    def mean_image(self) -> Tensor:
        """The mean of the training images, (C, H, W), in [0, 1]."""
        images, _ = self._splits["train"]
        return images.sum(0, dtype=torch.int64).to(torch.float32) / (255 * len(images))

    @property
    def class_names(self) -> Sequence[str]:
        """What each label means."""
        return self.source.class_names

    def _read(self, train: bool) -> Split:
        images, labels = self.source.load(self.root, train)
        images = resize(images, self.size)
        if self.binarize == "threshold":
            images = binarisation.threshold(images)
        elif self.binarize == "fixed":
            images = binarisation.fixed(images, self.protocol_seed + (0 if train else 1))
        return images, labels

    def _without_held_out(self, images: Tensor, labels: Tensor) -> Split:
        if not self.held_out:
            return images, labels
        kept = ~torch.isin(labels, torch.tensor(self.held_out, dtype=labels.dtype))
        return images[kept], labels[kept]

    def _drawn(self, images: Tensor, labels: Tensor, stream: int) -> Split:
        if self.binarize == "dynamic":
            images = binarisation.fixed(images, self.protocol_seed + stream)
        return images, labels

    def _resident(self, images: Tensor, labels: Tensor, device: torch.device) -> Split:
        return images.to(device), labels.to(device)

    def _evaluated(self, split: str) -> ResidentBatches:
        images, labels = self._splits[split]
        return ResidentBatches(images, labels, self.eval_batch_size, process=self._process())

    def _process(self) -> tuple[int, int]:
        """Which process this is, and of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
