"""The images of a run, read when they are first asked for."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from vae_lightning.utils.pixels import to_float

if TYPE_CHECKING:  # it takes seconds to import
    from vae_lightning.checkpoint import Checkpoint
    from vae_lightning.data import ImageDataModule


class Images:
    """Images and their labels, on the CPU. `len` is their number.

    Args:
        read: returns images uint8 (N, C, H, W) and labels int64 (N,).
    """

    def __init__(self, read: Callable[[], tuple[Tensor, Tensor]]) -> None:
        self._read = read

    @cached_property
    def images(self) -> Tensor:
        """float32 (N, C, H, W) in [0, 1], binarised as for evaluation.

        Raises:
            DataError: they are not available, or take more memory than `data.max_resident_gb`.
        """
        return to_float(self._bytes_and_labels[0])

    @property
    def labels(self) -> Tensor:
        """int64 (N,): indices of `class_names`; zeros if there are no classes."""
        return self._bytes_and_labels[1]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _bytes_and_labels(self) -> tuple[Tensor, Tensor]:
        return self._read()


class RunData:
    """The images that a model was trained, validated and tested on.

    They are looked for where they were in training, or in `VAE_LIGHTNING_DATA`.

    Args:
        checkpoint: of the model.

    Attributes:
        train: the training images.
        val: the validation images; none if the run had none.
        test: the test images.
        held_out: the test images of the classes that were left out by `data.held_out`.
    """

    def __init__(self, checkpoint: "Checkpoint") -> None:
        self._checkpoint = checkpoint
        self.train = Images(lambda: self._module.evaluated("train"))
        self.val = Images(lambda: self._module.evaluated("val"))
        self.test = Images(lambda: self._module.evaluated("test"))
        self.held_out = Images(lambda: self._module.held_out_images())

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each label; empty if there are no classes."""
        return self._module.class_names

    @cached_property
    def _module(self) -> "ImageDataModule":
        module = self._checkpoint.data(os.environ.get("VAE_LIGHTNING_DATA"))
        module.prepare_data()
        module.setup("test")
        return module
