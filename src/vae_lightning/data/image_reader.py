"""One image file, read as the data protocol serves it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from vae_lightning.data import binarization
from vae_lightning.data.image_files import read_image
from vae_lightning.data.resizing import crop_and_resize


@dataclass(frozen=True)
class ImageReader:
    """Reads a file, crops it to a square, scales it and binarises it.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: height and width, in pixels.
        binarize: None keeps the grey values.
        seed: of the noise of `fixed`, together with the index passed for each image.
    """

    channels: int
    size: int
    binarize: Literal["threshold", "fixed"] | None = None
    seed: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size

    def __call__(self, path: str, noise_index: int) -> Tensor:
        """Read one image, uint8 (C, H, W).

        Raises:
            DataError: it cannot be read.
        """
        pixels = crop_and_resize(read_image(Path(path), self.channels), self.size)
        if self.binarize == "threshold":
            return binarization.threshold(pixels)
        if self.binarize == "fixed":
            return binarization.fixed(pixels[None], self.seed * 1_000_000_007 + noise_index)[0]
        return pixels
