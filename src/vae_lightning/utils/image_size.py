"""Height and width of images, as people write them. Imports neither torch nor lightning."""

from collections.abc import Sequence
from typing import Any


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, from one number for square images or from both.

    Raises:
        ValueError: there are more numbers or fewer, or one is below 1; the message starts with
            `size=value`.

    Example:
        >>> height_and_width(28), height_and_width([48, 64])
        ((28, 28), (48, 64))
    """
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2:
        raise ValueError(
            f"size={sides} must be one number, or a height and a width such as [48,64]"
        )
    if min(sides) < 1:
        shown = size if isinstance(size, int) else sides
        raise ValueError(f"size={shown} is out of range: it must be at least 1")
    return sides[0], sides[1]


def as_written(height: int, width: int) -> int | list[int]:
    """The value of `size` for images of this height and width.

    Example:
        >>> as_written(28, 28), as_written(48, 64)
        (28, [48, 64])
    """
    return height if height == width else [height, width]


def image_shape(channels: int, size: Any) -> list[int]:
    """(C, H, W) of the images of a configuration.

    Sizes that are not valid are returned as they are: the data module refuses them.

    Example:
        >>> image_shape(3, [48, 64])
        [3, 48, 64]
    """
    if isinstance(size, Sequence) and not isinstance(size, str):
        return [channels, *size]
    return [channels, size, size]
