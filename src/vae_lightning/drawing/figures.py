"""Plots with axes, drawn by matplotlib without its global state."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # loaded where something is drawn
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """A figure of so many inches, at 100 dots per inch."""
    from matplotlib.figure import Figure

    # Without a layout engine, which would draw everything twice.
    return Figure(figsize=(width, height), dpi=100)


def to_image(figure: "Figure") -> Tensor:
    """Draw a figure.

    Shape:
        returns uint8 (3, H, W).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.reshape(height, width, 4)[..., :3].permute(2, 0, 1).contiguous()
