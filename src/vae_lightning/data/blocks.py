"""How many images are handled at once: as many as fit into a block of memory."""

import math
from collections.abc import Sequence

# Of a block, in bytes. Results do not depend on it.
BLOCK_BYTES = 256 * 1024**2


def images_at_once(image_shape: Sequence[int], most: int, bytes_per_value: int = 4) -> int:
    """The number of images whose values fit into a block: at least 1, and `most` at most.

    Args:
        image_shape: (C, H, W).
        most: the number that is enough for small images.
        bytes_per_value: 1 for bytes, 4 for floats.

    Example:
        >>> images_at_once((1, 28, 28), most=1000), images_at_once((3, 512, 512), most=1000)
        (1000, 85)
    """
    return max(1, min(most, BLOCK_BYTES // (math.prod(image_shape) * bytes_per_value)))
