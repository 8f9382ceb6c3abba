"""Animated GIFs."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vae_lightning.drawing.grids import side_by_side, to_pil, upscaled
from vae_lightning.utils.pixels import to_uint8

# Frames narrower than this are scaled up, in pixels.
_MIN_WIDTH = 224
# Of captions, in pixels.
_TEXT_SIZE = 13
_LINE_HEIGHT = 20


def write_gif(images: Tensor, file: Path, durations: Sequence[int]) -> None:
    """Write an animated GIF that loops for ever.

    Args:
        images: its frames; values outside [0, 1] are clipped.
        file: to write.
        durations: of the frames, in milliseconds; a GIF stores hundredths of a second.

    Shape:
        images (N, C, H, W), 0 black to 1 white.
    """
    factor = max(1, -(-_MIN_WIDTH // images.shape[-1]))
    pixels = side_by_side(upscaled(to_uint8(images).cpu(), factor))
    frames = [to_pil(frame) for frame in pixels]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=list(durations), loop=0)


def write_film(frames: Sequence[Path], captions: Sequence[str], file: Path) -> None:
    """Write an animated GIF of pictures that differ in time, in about eight seconds.

    Args:
        frames: PNG files of the same size.
        captions: of the frames, written below them.
        file: to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT_SIZE)
    pictures = []
    for path, caption in zip(frames, captions, strict=True):
        with Image.open(path) as frame:
            picture = Image.new(frame.mode, (frame.width, frame.height + _LINE_HEIGHT), "white")
            picture.paste(frame)
        place = (picture.width / 2, picture.height - _LINE_HEIGHT / 2)
        ImageDraw.Draw(picture).text(place, caption, "black", font, anchor="mm")
        pictures.append(picture)
    durations = [min(500, max(40, 8000 // len(pictures)))] * (len(pictures) - 1) + [2000]
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
