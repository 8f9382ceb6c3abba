"""Initial weights of a model."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

Initialization = Literal["torch", "glorot_uniform", "he_normal"]

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def initialize(model: nn.Module, initialization: Initialization) -> None:
    """Initialise the linear layers and convolutions of a model in place.

    Args:
        model: the model.
        initialization: `torch` keeps torch's own initial values; `glorot_uniform` draws weights as
            Glorot and Bengio (2010) do, `he_normal` as He et al. (2015) do, and both set biases to
            zero.

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
        networks", 2010.
        He et al., "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852.
    """
    if initialization == "torch":
        return
    draw: dict[str, Callable[[Tensor], Tensor]] = {
        "glorot_uniform": nn.init.xavier_uniform_,
        "he_normal": nn.init.kaiming_normal_,
    }
    for part in model.modules():
        # Not derived classes: those of a flow start near the identity.
        if isinstance(part, _LAYERS) and type(part) in _LAYERS:
            draw[initialization](part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
