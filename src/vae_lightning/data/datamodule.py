"""The LightningDataModule that serves the splits of the data protocol as batches."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from vae_lightning.data.batches import Batch, Batches
from vae_lightning.data.binarization import Binarize
from vae_lightning.data.dataset import ImageDataset
from vae_lightning.data.fingerprint import fingerprint
from vae_lightning.data.image_files import NamedImages
from vae_lightning.data.notices import print_warnings
from vae_lightning.data.protocol import Protocol, Validation
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.blocks import images_at_once
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.image_size import height_and_width
from vae_lightning.utils.pixels import to_float


class ImageDataModule(LightningDataModule):
    """Serves the images of a source, from tensors on the training device or from files.

    Args:
        name: the data set's name in results and folder names.
        source: of the images.
        root: folder of the files.
        size: height and width of the images served, in pixels, or one number for square ones: the
            largest rectangle of this format around the centre is cropped and scaled.
        channels: channels of the images; those of the source.
        num_classes: number of classes; that of the source.
        batch_size: training images in a batch of one process.
        eval_batch_size: the same for validation and test. Results depend on it through sampling
            noise only.
        val_size: training images that are set aside for validation, the same ones for every seed;
            None for the validation split of the source.
        validation: `split` validates on the validation images; `test` on the test split, as
            scripts without a validation set do.
        binarize: `none` keeps grey pixels; `threshold` cuts at one half; `fixed` draws each pixel
            once; `dynamic` draws it anew for each training batch. Validation and test images are
            drawn once, with a fixed seed.
        held_out: classes that are left out of all splits; `held_out_images` returns them.
        seed: of the order of the training images and of their binarisation.

    Raises:
        ValueError: a value is out of range, or does not fit the source.

    Example:
        >>> from vae_lightning.data.sources import Digits
        >>> data = ImageDataModule(
        ...     name="digits", source=Digits(), root=".", size=8, channels=1, num_classes=10,
        ...     batch_size=128, eval_batch_size=1000, val_size=137, validation="split",
        ...     binarize="none", held_out=[], seed=0,
        ... )
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> data.num_images
        {'train': 1300, 'val': 137, 'test': 360}
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape, labels.shape
        (torch.Size([128, 1, 8, 8]), torch.Size([128]))
    """

    # Whether `root` is the folder of all data sets, which VAE_LIGHTNING_DATA may set.
    shared_root = True
    # The setting that says where the data is.
    location_key = "root"

    def __init__(
        self,
        name: str,
        source: ImageSource,
        root: str,
        size: int | Sequence[int],
        channels: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int,
        val_size: int | None,
        validation: Validation,
        binarize: Binarize,
        held_out: Sequence[int],
        seed: int,
    ) -> None:
        super().__init__()
        if re.search(r"[/\\]", name) or name in ("", ".", ".."):
            raise ValueError(f"name={name} is part of file names: leave out the folders")
        at_least("batch_size", batch_size, 1)
        at_least("eval_batch_size", eval_batch_size, 1)
        at_least("seed", seed, 0)
        if channels != source.channels:
            raise ValueError(f"channels={channels}: {source.title} images have {source.channels}")
        if num_classes != len(source.class_names):
            raise ValueError(
                f"num_classes={num_classes}: {source.title} has {len(source.class_names)}"
            )
        if val_size is None and not source.num_val:
            raise ValueError(f"val_size is missing: {source.title} has no validation split")
        # Absolute, so that it stays the same folder if a run changes the working directory.
        folder = Path(root).expanduser().absolute()
        self.protocol = Protocol(
            source,
            folder,
            height_and_width(size),
            val_size or 0,
            validation,
            binarize,
            tuple(held_out),
        )
        self.name = name
        self.source = source
        self.location = self.protocol.root  # what `location_key` says, absolute
        self.cache = self.protocol.root  # for what evaluation computes from the images
        self.image_shape = (channels, *self.protocol.size)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self._splits: dict[str, ImageDataset] = {}
        self._fingerprint: dict[str, Any] | None = None

    @property
    def num_images(self) -> dict[str, int]:
        """Images in each split: `train`, `val`, `test`.

        They are exact once the data is set up. Before, images of held-out classes and files that
        cannot be read are counted as well.
        """
        if self._splits:
            return {name: len(images) for name, images in self._splits.items()}
        return self.protocol.expected

    def fingerprint(self) -> dict[str, Any] | None:
        """The `fingerprint` of the files when it was first asked for; None if there are none."""
        if self._fingerprint is None:
            root = self.protocol.root
            if (names := self.source.files(root)) is not None:
                self._fingerprint = fingerprint(root, names)
        return self._fingerprint

    def state_dict(self) -> dict[str, Any]:
        """What Lightning saves in a checkpoint: which data this is, and where."""
        return {
            "root": str(self.location),
            "fingerprint": self.fingerprint(),
            "class_names": list(self.class_names),
        }

    def prepare_data(self) -> None:
        self.source.fetch(self.protocol.root)

    def setup(self, stage: str) -> None:
        """Read all splits at the first call; later calls do nothing."""
        if self._splits:
            return
        self.fingerprint()
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        unread = self.protocol.splits()
        test = unread["test"].loaded(device)
        val = test if unread["val"] is unread["test"] else unread["val"].loaded(device)
        splits = {"train": unread["train"].loaded(device), "val": val, "test": test}
        if not self.trainer or self.trainer.is_global_zero:
            levels = {name: images.constant() for name, images in splits.items()}
            print_warnings(self.location, self.source.ignored, self.source.unreadable, levels)
        for name, images in splits.items():
            if len(images) == 0 and self.num_images[name] > 0:
                raise DataError(f"{self.location}: no image of the {name} split is left")
        self._splits = splits

    def train_dataloader(self) -> Batches:
        # overfit_batches needs the same batches in every epoch.
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
        """Return the batch, which is on the device already."""
        return batch

    def images(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split; fewer if there are fewer, or if they take over 1 GB.

        Shape:
            returns images float32 (count, C, H, W) in [0, 1] and labels int64 (count,).
        """
        most = 4 * images_at_once(self.image_shape, count)
        first = self._splits[split].in_memory(min(count, most))
        return to_float(first.images), first.labels

    def evaluated(self, split: str) -> tuple[Tensor, Tensor]:
        """All images of a split, binarised as for evaluation even if training draws them anew.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).

        Raises:
            DataError: they take more memory than the source may.
        """
        self.check_in_memory(split)
        dataset = self._splits[split].in_memory()
        return self.protocol.evaluated(dataset.images, split), dataset.labels

    def official(self, train: bool) -> tuple[Tensor, Tensor]:
        """The whole official training or test split, with held-out classes and validation images.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).

        Raises:
            DataError: they take more memory than the source may.
        """
        split: Split = "train" if train else "test"
        dataset = self.protocol.official(split)
        self._check_fit(len(dataset), f"official {split}")
        dataset = dataset.in_memory()
        return dataset.images, dataset.labels

    def held_out_images(self) -> tuple[Tensor, Tensor]:
        """The test images of the held-out classes, binarised as for evaluation.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        dataset = self.protocol.held_out_images().in_memory()
        return dataset.images, dataset.labels

    def named_test_images(self, *, held_out: bool = False) -> NamedImages:
        """The test images, or those of the held-out classes, binarised as for evaluation.

        The name of an image is its file relative to the root, or `<name>/<index>` with its index
        in the official test split if images have no files of their own.

        Raises:
            DataError: they take more memory than the source may.
        """
        if held_out:
            images = self.protocol.held_out_images()
            self._check_fit(len(images), "held-out")
            dataset = images.in_memory()
        else:
            self.check_in_memory("test")
            dataset = self._splits["test"].in_memory()
        files = self.source.file_names("test")
        names = [
            files[index] if files is not None else f"{self.name}/{index}"
            for index in dataset.indices.tolist()
        ]
        return NamedImages(dataset.images, names, dataset.labels)

    def mean_image(self) -> Tensor:
        """The mean of the training images, (C, H, W), in [0, 1]."""
        images = self._splits["train"]
        return images.sum().to(torch.float32) / (255 * len(images))

    def check_in_memory(self, split: str) -> None:
        """Check that all images of a split fit into memory at once.

        Raises:
            DataError: they take more memory than the source may.
        """
        self._check_fit(self.num_images[split], split)

    def _check_fit(self, count: int, what: str) -> None:
        gigabytes = count * math.prod(self.image_shape) / 1e9
        if gigabytes > self.source.max_resident_gb:
            raise DataError(
                f"the {what} images take {gigabytes:.3g} GB of memory, and "
                f"{self.source.memory_key}={self.source.max_resident_gb:g}: choose "
                f"{self.source.memory_key}={math.ceil(10 * gigabytes) / 10:g}, or leave out what "
                "needs all of them at once"
            )

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each label."""
        return self.source.class_names

    def _evaluated(self, split: str) -> Batches:
        # The noise of an evaluation is that of a batch: it is the same in any number of processes.
        return self._splits[split].batches(
            self.eval_batch_size, process=self._process(), whole_batches=True
        )

    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
