"""Pixels of every kind that image files hold, as grey or colour bytes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


class UnknownRangeError(ValueError):
    """Pixels of a type that does not say which value is white."""


# Formats in which Pillow's mode I holds greys of 16 bits, from 0 to 65535.
_SIXTEEN_BITS = ("PPM", "PNG")


def to_bytes(image: "Image.Image", channels: int) -> Any:
    """Convert an image to grey (1 channel) or colour (3), with white behind what is transparent.

    Greys of 16 bits keep their upper 8 bits.

    Shape:
        returns a NumPy array, uint8 (H, W) or (H, W, 3).

    Raises:
        UnknownRangeError: the pixels are integers of 32 bits or floats, whose white is not known.
    """
    import numpy as np
    from PIL import Image

    target = "L" if channels == 1 else "RGB"
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in _SIXTEEN_BITS):
        deep = np.asarray(image)  # convert("L") would clip at 255
        levels = (deep >> 8).astype(np.uint8)
        if (transparent := image.info.get("transparency")) is not None:
            levels[deep == transparent] = 255
        return np.array(Image.fromarray(levels).convert(target))
    if mode.startswith(("I", "F")):
        kind = "floats" if mode.startswith("F") else "integers of 32 bits"
        raise UnknownRangeError(
            f"holds {kind}, whose white is not known: save it with 8 or 16 bits per pixel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif mode == "LAB":  # has no conversion to grey
        image = image.convert("RGB")
    return np.array(image.convert(target))
