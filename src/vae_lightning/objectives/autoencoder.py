"""The regularised autoencoder (RAE)."""

from typing import Literal

import torch
from torch import Tensor

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import (
    require_fixed_prior,
    require_single_layer,
    require_vectors,
)
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32


class Autoencoder(Objective):
    r"""The loss of the regularised autoencoder: distortion, and penalties on codes and decoder.

    .. math:: \mathcal{L} = -\log p(x|z) + \frac{\lambda_z}{2} \|z\|^2
              + \lambda_d \Big\| \frac{\partial\, \mathbb{E}[x|z]}{\partial z} \Big\|_F^2,
              \quad z = z(x)

    The norm of the Jacobian J is estimated without bias from one projection: with random signs v,
    :math:`\mathbb{E} \|J^\top v\|^2 = \|J\|_F^2` (Hutchinson's estimator). Without gradients, as in
    validation, the loss does not include this penalty.

    With `decoder_penalty: weights`, the penalty is :math:`\lambda_d \|\theta\|^2` instead (RAE-L2),
    with the weights :math:`\theta` of the decoder and of the likelihood's layer, biases aside. The
    `weight_decay` of an optimiser would apply to the encoder as well.

    Args:
        latent_weight: lambda_z; with 1, the penalty is that of a standard normal prior.
        decoder_penalty: `gradient` or `weights`, as above, or `none`.
        decoder_weight: lambda_d.

    Raises:
        ValueError: a weight below 0.

    References:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders", 2020. https://arxiv.org/abs/1903.12436

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.distributions.point_mass import PointMass
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> z = torch.randn(1, 8, 2, requires_grad=True)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> images = Independent(Normal(z[..., None, None].expand(1, 8, 2, 4, 4), 1.0), 3)
        >>> trace = Trace(torch.rand(8, 2, 4, 4), [Latent(z, PointMass(z[0]), prior)], images)
        >>> objective = Autoencoder(
        ...     latent_weight=0.1, decoder_penalty="gradient", decoder_weight=0.01
        ... )
        >>> loss, parts = objective(trace, step=0)
        >>> sorted(parts)
        ['decoder_gradient']
    """

    def __init__(
        self,
        latent_weight: float,
        decoder_penalty: Literal["gradient", "weights", "none"],
        decoder_weight: float,
    ) -> None:
        super().__init__(num_samples=1)
        at_least("latent_weight", latent_weight, 0)
        at_least("decoder_weight", decoder_weight, 0)
        self.latent_weight = latent_weight
        self.decoder_penalty = decoder_penalty
        self.decoder_weight = decoder_weight

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        latent = require_single_layer(trace, "the regularised autoencoder")
        require_vectors(latent, "the regularised autoencoder")
        if not isinstance(latent.posterior, PointMass):
            raise ValueError(
                "the regularised autoencoder needs a deterministic posterior: choose "
                "model/posterior=deterministic, or objective=elbo"
            )
        require_fixed_prior(latent, "an autoencoder does not train")
        loss = trace.distortion.mean()
        squared_codes = at_least_float32(latent.z).square().sum(-1)
        loss = loss + self.latent_weight / 2 * squared_codes.mean()
        if self.decoder_penalty != "gradient" or not torch.is_grad_enabled():
            return loss, {}
        if not latent.z.requires_grad:
            raise ValueError(
                "decoder_penalty=gradient needs the gradient of the codes, and those of a frozen "
                "encoder and posterior have none: choose objective.decoder_penalty=weights, or "
                "leave one of the two out of freeze"
            )
        penalty = at_least_float32(squared_jacobian(trace.likelihood.mean, latent.z)).mean()
        return loss + self.decoder_weight * penalty, {"decoder_gradient": penalty.detach()}

    def weight_penalty(self, model: Model) -> Tensor | None:
        if self.decoder_penalty != "weights":
            return None
        squares = [
            at_least_float32(weights).square().sum()
            for part in (model.decoder, model.likelihood)
            for weights in part.parameters()
            if weights.ndim > 1  # no bias, and no scale of a likelihood
        ]
        return self.decoder_weight * torch.stack(squares).sum()


def squared_jacobian(images: Tensor, z: Tensor) -> Tensor:
    """Estimate the squared Frobenius norm of the Jacobian of each image with respect to its z.

    Shape:
        images (K, B, C, H, W), each a function of its row of z (K, B, D); returns (K, B).
    """
    signs = torch.empty_like(images).bernoulli_().mul_(2).sub_(1)
    (projected,) = torch.autograd.grad((images * signs).sum(), z, create_graph=True)
    return at_least_float32(projected).square().sum(-1)
