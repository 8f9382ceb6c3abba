"""Grids of images, and pictures as files: for callbacks and for commands."""

import io
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # loaded where something is drawn
    from PIL.Image import Image

# Images of fewer pixels than this are enlarged, so that a grid can be looked at.
_VISIBLE_SIZE = 48


def grid(images: Tensor, columns: int) -> Tensor:
    """Set images out in rows, enlarged without smoothing where they are small.

    Shape:
        images (N, C, H, W), 0 black to 1 white, values beyond are cut; returns uint8 (3, H', W').
    """
    from torchvision.utils import make_grid  # imported where it is used: it costs a second

    factor = max(1, round(_VISIBLE_SIZE / images.shape[-1]))
    images = images.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    images = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    return make_grid(images, nrow=columns, padding=2, pad_value=96)


def png(picture: Tensor) -> bytes:
    """A picture as the content of a PNG file; grey where its channels are equal.

    Shape:
        picture: uint8 (3, H, W).
    """
    buffer = io.BytesIO()
    red, green, blue = picture
    grey = red.equal(green) and green.equal(blue)
    image = to_pil(picture[:1] if grey else picture)
    # The fastest compression: files a tenth larger, made in a quarter of the time.
    image.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def to_pil(image: Tensor) -> "Image":
    """An image of bytes as pillow has it.

    Shape:
        image: uint8 (C, H, W), grey (C = 1) or colour (C = 3).
    """
    from PIL import Image

    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())
