"""Grids of images with titles, row and column titles, and captions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vae_lightning.drawing.grids import grid, to_pil

if TYPE_CHECKING:  # loaded by the functions that draw
    from PIL.Image import Image

_WHITE, _BLACK, _GREY = (255, 255, 255), (32, 32, 32), (110, 110, 110)
# In pixels.
_TEXT_SIZE = 13
_LINE_HEIGHT = 18
_MARGIN = 10


def labelled_grid(
    groups: Sequence[Tensor],
    columns: int,
    *,
    title: str = "",
    group_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> "Image":
    """Draw groups of images one below the other.

    Args:
        groups: the images of each group, in rows of `columns`; values outside [0, 1] are clipped.
        columns: images in a row.
        title: of the picture.
        group_titles: to the left of the groups.
        column_titles: above the first group; upright if one is wider than its column.
        captions: below each group, one for each image in its last row.

    Shape:
        groups: (N, C, H, W) each, 0 black to 1 white.

    Example:
        >>> import torch
        >>> rows = [torch.rand(4, 1, 48, 48), torch.rand(4, 1, 48, 48)]
        >>> picture = labelled_grid(rows, 4, group_titles=["z0", "z1"], column_titles="abcd")
        >>> picture.height
        142
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT_SIZE)
    grids = [grid(group, columns) for group in groups]
    cell = (grids[0].shape[-1] - 2) // columns  # width of an image and the line beside it
    left = _MARGIN + max((int(font.getlength(text)) + _MARGIN for text in group_titles), default=0)
    longest = max((int(font.getlength(text)) for text in column_titles), default=0)
    upright = longest > cell - 4
    above = 0 if not column_titles else longest + _MARGIN if upright else _LINE_HEIGHT
    top = _MARGIN + _LINE_HEIGHT * bool(title) + above
    below = _LINE_HEIGHT + 4 if captions else 0
    width = max(left + max(part.shape[-1] for part in grids), _MARGIN + int(font.getlength(title)))
    height = top + sum(part.shape[-2] + below for part in grids)
    picture = Image.new("RGB", (width + _MARGIN, height + _MARGIN), _WHITE)
    draw = ImageDraw.Draw(picture)

    def write(text: str, x: float, y: float, anchor: str, colour: tuple[int, int, int]) -> None:
        draw.text((x, y), text, fill=colour, font=font, anchor=anchor)

    write(title, _MARGIN, _MARGIN - 2, "la", _BLACK)
    for column, text in enumerate(column_titles):
        middle = left + (column + 0.5) * cell
        if not upright:
            write(text, middle, top - 3, "ms", _GREY)
            continue
        line = Image.new("RGB", (longest + 2, _LINE_HEIGHT), _WHITE)
        ImageDraw.Draw(line).text((1, _LINE_HEIGHT / 2), text, fill=_GREY, font=font, anchor="lm")
        line = line.rotate(90, expand=True)
        picture.paste(line, (int(middle) - line.width // 2, top - 3 - line.height))
    for index, part in enumerate(grids):
        picture.paste(to_pil(part), (left, top))
        if group_titles:
            write(group_titles[index], left - _MARGIN, top + part.shape[-2] / 2, "rm", _BLACK)
        top += part.shape[-2] + below
        if captions:
            for column, text in enumerate(captions[index]):
                write(text, left + (column + 0.5) * cell, top - below + 2, "ma", _GREY)
    return picture
