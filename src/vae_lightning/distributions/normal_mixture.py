"""A mixture of normals with independent dimensions, fast for many components."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution


class NormalMixture(Distribution):
    r"""A mixture of normals with independent dimensions, with weights pi.

    .. math:: p(z) = \sum_c \pi_c \prod_j \mathcal{N}(z_j \mid \mu_{cj}, \sigma_{cj}^2)

    The log-density is computed by two matrix products. `torch.distributions.MixtureSameFamily`
    computes a tensor with one element for each sample, component and dimension instead, which with
    hundreds of components takes most of a training step.

    Args:
        log_weights: log pi, (C,); their exponentials sum to 1.
        means: mu, (C, D).
        scales: sigma, (C, D).

    Shape:
        batch shape (), event shape (D,).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, log_weights: Tensor, means: Tensor, scales: Tensor) -> None:
        self.log_weights = log_weights
        self.means = means
        self.scales = scales
        super().__init__(event_shape=means.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture, (D,)."""
        return self.log_weights.exp() @ self.means

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw a component by its weight, and a sample from it; (*sample_shape, D)."""
        shape = torch.Size(sample_shape)
        component = Categorical(logits=self.log_weights, validate_args=False).sample(shape)
        means, scales = self.means[component], self.scales[component]
        return means + scales * torch.randn_like(means)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of (..., D), in nats, (...)."""
        joint = self.log_weights + self.log_prob_each(value)
        return joint.logsumexp(-1).to(value.dtype)

    def log_prob_each(self, value: Tensor) -> Tensor:
        """Log-density under each component, (..., C), in float64 on devices that have it."""
        # The square of the difference is expanded, which cancels badly for components that are
        # narrow or far from the origin: hence the centring and float64.
        dtype = torch.float64 if value.device.type != "mps" else value.dtype
        means, z = self.means.to(dtype), value.to(dtype)
        centre = means.mean(0).detach()
        means, z = means - centre, z - centre
        scales = self.scales.to(dtype)
        precision = scales.square().reciprocal()
        scaled_means = means * precision
        constant = -0.5 * (means * scaled_means).sum(-1) - scales.log().sum(-1)
        constant = constant - 0.5 * means.shape[-1] * math.log(2 * math.pi)  # (C,)
        rows = z.reshape(-1, z.shape[-1])  # (N, D)
        each = torch.addmm(constant, rows, scaled_means.T)
        each = torch.addmm(each, rows.square(), precision.T, alpha=-0.5)
        return each.reshape(*value.shape[:-1], -1)
