"""Binary pixels."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood


class Bernoulli(Likelihood):
    r"""Independent Bernoulli pixels, for binary images.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log (1 - \pi_i(z))

    For grey pixels this is minus their cross-entropy, a useful loss. It is not a density of the
    image, so it is not comparable with the NLL of binary images.

    Example:
        >>> import torch
        >>> likelihood = Bernoulli(400, (1, 28, 28), start_at_mean=False)
        >>> p = likelihood(torch.randn(128, 400))
        >>> p.log_prob(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128])
    """

    pixel_type = "binary"

    def bias_of(self, mean: Tensor) -> Tensor:
        # The logit of a pixel that is always off is infinite.
        return torch.logit(mean, eps=1e-3)

    def forward(self, features: Tensor) -> Distribution:
        return BernoulliImage(self.head(features), self.image_shape)


class BernoulliImage(Distribution):
    """An image of independent Bernoulli pixels.

    `torch.distributions.Bernoulli` takes one logarithm for each pixel, which is most of its cost.
    Here the logarithm is taken of products of up to 120 sigmoids, exact up to rounding.

    Args:
        logits: of the pixels, (..., P).
        image_shape: (C, H, W), P pixels in all.

    Shape:
        batch shape (...), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, logits: Tensor, image_shape: Sequence[int]) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], torch.Size(image_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Probability that each pixel is on, (..., C, H, W)."""
        return torch.sigmoid(self.logits).unflatten(-1, self.event_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images of zeros and ones, (*sample_shape, ..., C, H, W)."""
        mean = self.mean.detach()
        return torch.bernoulli(mean.expand(*sample_shape, *mean.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (..., C, H, W) in [0, 1], broadcast against the batch."""
        return _LogProbability.apply(self.logits, value.flatten(-3))


class _LogProbability(torch.autograd.Function):
    r"""\sum_i x_i l_i - \log(1 + e^{l_i}), for logits l and pixels x."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        x = x.to(logits.dtype)
        # Needed for the gradient as well.
        on = torch.sigmoid(logits) if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(logits, x, on)
        logits, x = torch.broadcast_tensors(logits, x)
        # log(1 + e^l) = max(l, 0) - log sigmoid(|l|), and sigmoid(|l|) = max(on, 1 - on). The steps
        # reuse one buffer: allocating memory takes longer than the arithmetic.
        if on is None:
            buffer = logits.abs().sigmoid_()
        else:
            buffer = (1 - on).expand_as(logits).contiguous()
            torch.maximum(buffer, on, out=buffer)
        factors = buffer.unflatten(-1, (-1, _factors(logits.shape[-1])))
        off = factors.prod(-1).log_().sum(-1)
        torch.clamp_min(logits, 0, out=buffer).addcmul_(x, logits, value=-1)
        return off - buffer.sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x, on = ctx.saved_tensors
        for_logits = for_x = None
        gradient = gradient.unsqueeze(-1)
        if ctx.needs_input_grad[0]:
            if torch.is_grad_enabled():  # for second derivatives
                on = torch.sigmoid(logits)
            for_logits = torch.sub(x, on).mul_(gradient)
        if ctx.needs_input_grad[1]:
            for_x = (logits * gradient).sum_to_size(x.shape)
        return for_logits, for_x


@functools.cache
def _factors(pixels: int) -> int:
    """The largest divisor of the number of pixels up to 120.

    Products of 120 numbers of at least 1/2 do not underflow in float32.
    """
    return max(size for size in range(1, 121) if pixels % size == 0)
