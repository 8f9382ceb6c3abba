"""Sums and means of numbers in half precision."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """A floating-point tensor in float32 if it has fewer bits, otherwise as it is.

    Near 400 nats, numbers in bfloat16 are 2 apart: terms may be computed in half precision, but
    their sums and means must not be.

    Example:
        >>> at_least_float32(torch.ones(2, dtype=torch.bfloat16)).dtype
        torch.float32
        >>> at_least_float32(torch.ones(2, dtype=torch.float64)).dtype
        torch.float64
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
