"""Grids of images, and images as PNG."""

import io
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from vae_lightning.utils.pixels import to_uint8

if TYPE_CHECKING:  # loaded by the functions that draw
    from PIL.Image import Image

# Images narrower than this are scaled up, in pixels.
_MIN_WIDTH = 48
# The grey of the lines between images, and between channels.
_LINE = 96


def grid(images: Tensor, columns: int) -> Tensor:
    """Arrange images in rows; small ones are scaled up without smoothing.

    Args:
        images: values outside [0, 1] are clipped; of other than 1 or 3 channels, the channels are
            drawn side by side.
        columns: images in a row.

    Shape:
        images (N, C, H, W), 0 black to 1 white, or uint8; returns uint8 (3, H', W').

    Example:
        >>> grid(torch.rand(6, 1, 28, 28), columns=3).shape
        torch.Size([3, 118, 176])
    """
    from torchvision.utils import make_grid  # imported here because it takes a second

    factor = max(1, round(_MIN_WIDTH / images.shape[-1]))
    pixels = side_by_side(upscaled(to_uint8(images).cpu(), factor))
    return make_grid(pixels, nrow=columns, padding=2, pad_value=_LINE)


def side_by_side(images: Tensor) -> Tensor:
    """The channels of each image next to each other, in grey, if there are not 1 or 3 of them.

    Shape:
        images (N, C, H, W), 0 black to 1 white, or uint8; returns (N, 1, H, C*(W + 1) - 1) with a
        line between channels, or the images if C is 1 (grey) or 3 (colour).

    Example:
        >>> side_by_side(torch.rand(6, 2, 28, 20)).shape
        torch.Size([6, 1, 28, 41])
    """
    if images.shape[1] in (1, 3):
        return images
    level = _LINE if images.dtype == torch.uint8 else _LINE / 255
    lined = pad(images, (0, 1), value=level)
    return lined.transpose(1, 2).flatten(2).unsqueeze(1)[..., :-1]


def upscaled(images: Tensor, factor: int) -> Tensor:
    """Repeat each pixel `factor` times in both directions.

    Shape:
        images (..., H, W); returns (..., factor * H, factor * W).
    """
    return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def png(picture: Tensor) -> bytes:
    """Encode a picture as PNG; it is written as greyscale if its channels are equal.

    Shape:
        picture: uint8 (3, H, W).
    """
    buffer = io.BytesIO()
    red, green, blue = picture
    grey = red.equal(green) and green.equal(blue)
    image = to_pil(picture[:1] if grey else picture)
    # The fastest compression: files are 10 % larger and take a quarter of the time.
    image.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def to_pil(image: Tensor) -> "Image":
    """Convert an image to a Pillow image.

    Shape:
        image: uint8 (C, H, W), greyscale (C = 1) or colour (C = 3).
    """
    from PIL import Image

    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())
