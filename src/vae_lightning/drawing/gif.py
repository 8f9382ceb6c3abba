"""Animated GIFs."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vae_lightning.drawing.grids import side_by_side, to_pil, upscaled
from vae_lightning.utils.pixels import to_uint8

# Frames narrower than this are scaled up, in pixels.
_MIN_WIDTH = 224


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
