"""How the weights of a model begin."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

Initialization = Literal["torch", "glorot_uniform", "he_normal"]

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def initialize(model: nn.Module, initialization: Initialization) -> None:
    """Draw the weights of linear layers and convolutions anew.

    Args:
        model: whose layers they are.
        initialization: `torch` keeps what torch does; `glorot_uniform` draws weights after
            Glorot and Bengio (2010), `he_normal` after He et al. (2015), and both set biases
            to zero.
    """
    if initialization == "torch":
        return
    draw: dict[str, Callable[[Tensor], Tensor]] = {
        "glorot_uniform": nn.init.xavier_uniform_,
        "he_normal": nn.init.kaiming_normal_,
    }
    for part in model.modules():
        # Not of derived classes: the steps of a flow begin near the identity.
        if isinstance(part, _LAYERS) and type(part) in _LAYERS:
            draw[initialization](part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
