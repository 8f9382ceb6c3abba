"""Optimisers that torch does not provide."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Adam
from torch.optim.optimizer import ParamsT


class AdamNormGrad(Adam):
    r"""Adam on the direction of each tensor's gradient, without its length.

    .. math:: g \leftarrow \frac{g}{\lVert g \rVert_2 + 10^{-7}}

    for each parameter tensor :math:`g` separately, so that a step does not depend on the scale of
    the loss. The options are those of `torch.optim.Adam`.

    Example:
        >>> weight = torch.ones(2, requires_grad=True)
        >>> optimizer = AdamNormGrad([weight], lr=0.1)
        >>> (1e6 * weight.sum()).backward()
        >>> optimizer.step()
        >>> weight
        tensor([0.9000, 0.9000], requires_grad=True)

    References:
        Tomczak and Welling, "VAE with a VampPrior", 2018, https://arxiv.org/abs/1705.07120; the
        optimiser is in the authors' code.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=fused)
        # A gradient scaled for half precision must be unscaled before it is normalised.
        self._step_supports_amp_scaling = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gradients = [weight.grad for weight in group["params"] if weight.grad is not None]
            if gradients:
                lengths = torch._foreach_norm(gradients)
                torch._foreach_add_(lengths, 1e-7)
                torch._foreach_div_(gradients, lengths)
        super().step()
        return loss
