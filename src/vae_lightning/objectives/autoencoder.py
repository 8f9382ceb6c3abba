"""The regularised autoencoder: codes without noise."""

from typing import Literal

import torch
from torch import Tensor

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import require_fixed_prior, require_single_layer
from vae_lightning.utils.checks import at_least


class Autoencoder(Objective):
    r"""Distortion, and penalties that keep the codes near 0 and the decoder smooth.

    .. math:: \mathcal{L} = -\log p(x|z) + \frac{\lambda_z}{2} \|z\|^2
              + \lambda_d \Big\| \frac{\partial\, \mathbb{E}[x|z]}{\partial z} \Big\|_F^2,
              \quad z = z(x)

    The norm is estimated without bias from one projection of the Jacobian J: with random signs v,
    :math:`\mathbb{E} \|J^\top v\|^2 = \|J\|_F^2`. Where no gradients are taken, as in validation,
    that penalty is left out of the loss.

    A decoder whose weights are penalised instead has `decoder_penalty: none` and the optimiser's
    `weight_decay`, which does that, to the encoder as well.

    Args:
        latent_weight: lambda_z; 1 is what a standard normal prior asks for.
        decoder_penalty: `gradient` as above, or `none`.
        decoder_weight: lambda_d.

    Raises:
        ValueError: a weight below 0.

    References:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders", 2020.
    """

    def __init__(
        self,
        latent_weight: float,
        decoder_penalty: Literal["gradient", "none"],
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
        if not isinstance(latent.posterior, PointMass):
            raise ValueError(
                "the regularised autoencoder has codes without noise: choose "
                "model/posterior=deterministic, or objective=elbo"
            )
        require_fixed_prior(latent, "an autoencoder does not train")
        loss = trace.distortion.mean()
        loss = loss + self.latent_weight / 2 * latent.z.square().sum(-1).mean()
        if self.decoder_penalty == "none" or not latent.z.requires_grad:
            return loss, {}
        penalty = squared_jacobian(trace.likelihood.mean, latent.z).mean()
        return loss + self.decoder_weight * penalty, {"decoder_gradient": penalty.detach()}


def squared_jacobian(images: Tensor, z: Tensor) -> Tensor:
    """The squared Frobenius norm of d images / d z of each image, from one random projection.

    Shape:
        images (K, B, C, H, W), each made of its own row of z (K, B, D); returns (K, B).
    """
    signs = torch.empty_like(images).bernoulli_().mul_(2).sub_(1)
    (projected,) = torch.autograd.grad((images * signs).sum(), z, create_graph=True)
    return projected.square().sum(-1)
