"""One image file, read as data is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from vae_lightning.data import binarisation
from vae_lightning.data.files import fitted, read_image


@dataclass(frozen=True)
class Reader:
    """Reads a file as data is served: cut to a square, scaled, and binarised.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: height and width, in pixels.
        binarize: None keeps the grey values.
        seed: of the draw of `fixed`, which also depends on the image's place and nothing else.
    """

    channels: int
    size: int
    binarize: Literal["threshold", "fixed"] | None = None
    seed: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size

    def __call__(self, path: str, place: int) -> Tensor:
        """Read one image, uint8 (C, H, W).

        Raises:
            DataError: it cannot be read.
        """
        pixels = fitted(read_image(Path(path), self.channels), self.size)
        if self.binarize == "threshold":
            return binarisation.threshold(pixels)
        if self.binarize == "fixed":
            return binarisation.fixed(pixels[None], self.seed * 1_000_000_007 + place)[0]
        return pixels
