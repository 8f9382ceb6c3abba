"""The LightningDataModule: serves the splits of the data protocol as batches."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import LightningDataModule
from torch import Tensor

from vae_lightning.data.batches import Batch, Batches
from vae_lightning.data.binarisation import Binarize
from vae_lightning.data.images import Images
from vae_lightning.data.protocol import Protocol, Validation
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.checks import at_least

# So many names of files that cannot be read are told.
_TOLD = 10


class ImageDataModule(LightningDataModule):
    """Serves a source's images: from tensors on the training device, or from files.

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
        val_size: images held out of the training split: the same ones whatever the seed. A source
            with a validation split of its own wants none.
        validation: `split` validates on those images; `test` on the test split, as scripts
            that know no validation set do.
        binarize: `none` keeps grey pixels; `threshold` cuts at one half; `fixed` draws each pixel
            once; `dynamic` draws it anew for each training batch. Validation and test images are
            drawn once, from a fixed seed.
        held_out: classes that no split holds; `held_out_images` has them, for detection.
        seed: of the order of the training images and their binarisation.

    Raises:
        ValueError: a size that is out of range, or does not fit the source.
    """

    # Whether `root` is the folder of all data sets, which the environment may say.
    shared_root = True

    def __init__(
        self,
        name: str,
        source: ImageSource,
        root: str,
        size: int,
        channels: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int,
        val_size: int,
        validation: Validation,
        binarize: Binarize,
        held_out: Sequence[int],
        seed: int,
    ) -> None:
        super().__init__()
        at_least("size", size, 1)
        at_least("batch_size", batch_size, 1)
        at_least("eval_batch_size", eval_batch_size, 1)
        at_least("seed", seed, 0)
        if channels != source.channels:
            raise ValueError(f"channels={channels}: {source.title} images have {source.channels}")
        if num_classes != len(source.class_names):
            raise ValueError(
                f"num_classes={num_classes}: {source.title} has {len(source.class_names)}"
            )
        self.protocol = Protocol(
            source, Path(root).expanduser(), size, val_size, validation, binarize, tuple(held_out)
        )
        self.name = name
        self.source = source
        self.cache = self.protocol.root  # for what evaluation computes of the images
        self.channels = channels
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self._splits: dict[str, Images] = {}

    @property
    def num_images(self) -> dict[str, int]:
        """Images in each split: `train`, `val`, `test`.

        They are exact once the data is set up. Before, they are what there is at the most: the
        images of classes that are held out, and files that cannot be read, are counted as well.
        """
        if self._splits:
            return {name: len(images) for name, images in self._splits.items()}
        return self.protocol.expected

    def prepare_data(self) -> None:
        self.source.fetch(self.protocol.root)

    def setup(self, stage: str) -> None:
        """Read both splits once; later calls find them read."""
        if self._splits:
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        unplaced = self.protocol.splits()
        test = unplaced["test"].placed(device)
        val = test if unplaced["val"] is unplaced["test"] else unplaced["val"].placed(device)
        splits = {"train": unplaced["train"].placed(device), "val": val, "test": test}
        self._tell_unreadable()
        for name, images in splits.items():
            if len(images) == 0 and self.num_images[name] > 0:
                raise DataError(f"{self.protocol.root}: no image of the {name} split is left")
        self._splits = splits

    def train_dataloader(self) -> Batches:
        # Overfitting a few batches on purpose needs the same ones in every epoch.
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        return self._splits["train"].batches(
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            binarize=self.protocol.binarize == "dynamic",
            process=self._process(),
        )

    def val_dataloader(self) -> Batches | list[Batches]:
        return self._evaluated("val") if self.num_images["val"] else []

    def test_dataloader(self) -> Batches:
        return self._evaluated("test")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        """Return the batch: it was made on the device."""
        return batch

    def images(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, or all that there are: for pictures of a model.

        Shape:
            returns images float32 (count, C, H, W) in [0, 1] and labels int64 (count,).
        """
        images, labels = self._splits[split].tensors(count)
        return images.to(torch.float32).div_(255), labels

    def evaluated(self, split: str) -> tuple[Tensor, Tensor]:
        """All images of a split as evaluation sees them: binarised once, whatever training does.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).

        Raises:
            DataError: they are too many for the memory.
        """
        self.check_in_memory(split)
        images, labels = self._splits[split].tensors()
        return self.protocol.evaluated(images, split), labels

    def official(self, train: bool) -> tuple[Tensor, Tensor]:
        """All images of the training or of the test split, before any is held out.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).

        Raises:
            DataError: they are too many for the memory.
        """
        split: Split = "train" if train else "test"
        self.check_in_memory(split)
        return self.protocol.official(split).tensors()

    def held_out_images(self) -> tuple[Tensor, Tensor]:
        """The images of the test split whose classes are held out, as evaluation sees images.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        return self.protocol.held_out_images().tensors()

    def mean_image(self) -> Tensor:
        """The mean of the training images, (C, H, W), in [0, 1]."""
        images = self._splits["train"]
        return images.sum().to(torch.float32) / (255 * len(images))

    def check_in_memory(self, split: str) -> None:
        """Refuse to look at all images of a split at once where they are too many.

        Raises:
            DataError: they take more memory than the source may.
        """
        gigabytes = self.num_images[split] * self.channels * self.protocol.size**2 / 1e9
        if gigabytes > self.source.max_resident_gb:
            raise DataError(
                f"the {split} images take {gigabytes:.3g} GB of memory, and "
                f"data.max_resident_gb={self.source.max_resident_gb:g}: raise it, or do without "
                "what needs them all at once"
            )

    @property
    def class_names(self) -> Sequence[str]:
        """What each label means."""
        return self.source.class_names

    def _evaluated(self, split: str) -> Batches:
        return self._splits[split].batches(self.eval_batch_size, process=self._process())

    def _tell_unreadable(self) -> None:
        root = self.protocol.root
        names = [str(Path(path).relative_to(root)) for path in self.source.unreadable]
        if names and not (self.trainer and not self.trainer.is_global_zero):
            more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
            print(
                f"warning: {len(names):,} files of {root} cannot be read and are left out "
                f"(data.on_error=raise stops at the first): {', '.join(names[:_TOLD])}{more}",
                file=sys.stderr,
            )

    def _process(self) -> tuple[int, int]:
        """Which process this is, and of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
