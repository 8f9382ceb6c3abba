"""Plots with axes, drawn by matplotlib without its global state."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # loaded by the functions that draw
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Create a figure with 100 dots per inch.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.figure import Figure

    # No layout engine: it would draw everything twice.
    return Figure(figsize=(width, height), dpi=100)


def to_image(figure: "Figure") -> Tensor:
    """Render a figure.

    Shape:
        returns uint8 (3, H, W).

    Example:
        >>> to_image(new_figure(4, 3)).shape
        torch.Size([3, 300, 400])
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.reshape(height, width, 4)[..., :3].permute(2, 0, 1).contiguous()
