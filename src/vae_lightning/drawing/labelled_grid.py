"""Pictures with words: rows of images with a name before each row and a figure below each image."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_lightning.drawing.grids import grid, to_pil

if TYPE_CHECKING:  # loaded where something is drawn
    from PIL.Image import Image

_PAPER, _INK, _FAINT = (255, 255, 255), (32, 32, 32), (110, 110, 110)
_TEXT_SIZE = 13
_LINE = 18
_MARGIN = 10
# Height and width of a film's images, at least, in pixels.
_FILM_SIZE = 224


def labelled_grid(
    blocks: Sequence[Tensor],
    columns: int,
    *,
    title: str = "",
    names: Sequence[str] = (),
    heads: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> "Image":
    """Set blocks of images out below each other.

    Args:
        blocks: the images of each, in rows of `columns`.
        columns: images in a row.
        title: of the whole.
        names: of the blocks, on their left.
        heads: of the columns, above the first block.
        captions: of the images in the last row of each block, below it.

    Shape:
        blocks: (N, C, H, W) each, 0 black to 1 white, values beyond are cut.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT_SIZE)
    parts = [grid(block, columns) for block in blocks]
    side = (parts[0].shape[-1] - 2) // columns  # of an image, with the line beside it
    left = _MARGIN + max((int(font.getlength(name)) + _MARGIN for name in names), default=0)
    top = _MARGIN + _LINE * (bool(title) + bool(heads))
    below = _LINE + 4 if captions else 0
    width = max(left + max(part.shape[-1] for part in parts), _MARGIN + int(font.getlength(title)))
    height = top + sum(part.shape[-2] + below for part in parts)
    page = Image.new("RGB", (width + _MARGIN, height + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(page)

    def write(text: str, x: float, y: float, anchor: str, colour: tuple[int, int, int]) -> None:
        pen.text((x, y), text, fill=colour, font=font, anchor=anchor)

    write(title, _MARGIN, _MARGIN - 2, "la", _INK)
    for column, text in enumerate(heads):
        write(text, left + (column + 0.5) * side, top - 3, "ms", _FAINT)
    for number, part in enumerate(parts):
        page.paste(to_pil(part), (left, top))
        if names:
            write(names[number], left - _MARGIN, top + part.shape[-2] / 2, "rm", _INK)
        top += part.shape[-2] + below
        if captions:
            for column, text in enumerate(captions[number]):
                write(text, left + (column + 0.5) * side, top - below + 2, "ma", _FAINT)
    return page


def film(images: Tensor, file: Path, milliseconds: Sequence[int]) -> None:
    """Write an animated GIF that goes round for ever.

    Args:
        images: its frames.
        file: to write.
        milliseconds: how long each is seen; a GIF counts in tens.

    Shape:
        images (N, C, H, W), 0 black to 1 white, values beyond are cut.
    """
    factor = max(1, -(-_FILM_SIZE // images.shape[-1]))
    pixels = images.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    pixels = pixels.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    frames = [to_pil(frame) for frame in pixels]
    frames[0].save(
        file, save_all=True, append_images=frames[1:], duration=list(milliseconds), loop=0
    )
