"""One image file, read as the data protocol serves it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from vae_lightning.data import binarization
from vae_lightning.data.image_files import read_image
from vae_lightning.data.resizing import center_window, crop_and_resize
from vae_lightning.errors import DataError


@dataclass(frozen=True)
class ImageReader:
    """Reads a file, crops it around the centre, scales it and binarises it.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: height and width, in pixels.
        window: height and width that are cropped before; None crops as little as possible.
        binarize: None keeps the grey values.
        seed: of the noise of `fixed`, together with the index passed for each image.
    """

    channels: int
    size: tuple[int, int]
    window: tuple[int, int] | None = None
    binarize: Literal["threshold", "fixed"] | None = None
    seed: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, *self.size

    def __call__(self, path: str, noise_index: int) -> Tensor:
        """Read one image, uint8 (C, H, W).

        Raises:
            DataError: it cannot be read.
        """
        image = read_image(Path(path), self.channels)
        if self.window is not None:
            image = self._windowed(image, path)
        pixels = crop_and_resize(image, self.size)
        if self.binarize == "threshold":
            return binarization.threshold(pixels)
        if self.binarize == "fixed":
            return binarization.fixed(pixels[None], self.seed * 1_000_000_007 + noise_index)[0]
        return pixels

    def _windowed(self, image: Tensor, path: str) -> Tensor:
        assert self.window is not None
        height, width = image.shape[-2:]
        if height < self.window[0] or width < self.window[1]:
            raise DataError(
                f"{path} has {width} x {height} pixels, and {self.window[1]} x {self.window[0]} "
                "are cropped: it is not the file that belongs there"
            )
        return center_window(image, self.window)
