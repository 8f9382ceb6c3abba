"""The variational autoencoder with one stochastic layer."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.checks import all_at_least, at_least
from vae_lightning.distributions.likelihoods import Likelihood
from vae_lightning.models.trace import Latent, Trace


class VAE(nn.Module):
    r"""Encoder, posterior, prior, decoder and likelihood, put together.

    .. math:: \log p(x) \ge \mathbb{E}_{q(z|x)} [\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))

    The parts come as factories: each is called here with the sizes that its place asks for, so no
    size is given twice.

    Args:
        image_shape: (C, H, W).
        latent_dim: D, number of latent dimensions.
        encoder: makes the network from images to features, from `image_shape`.
        posterior: makes the head to q(z|x), from `in_features` and `latent_dim`.
        prior: makes p(z), from `latent_dim`.
        decoder: makes the network from latents to features, from `latent_dim`.
        likelihood: makes the head to p(x|z), from `in_features` and `image_shape`.
        initialization: of the linear layers: `torch` keeps what torch does; `glorot_uniform` draws
            weights after Glorot and Bengio (2010) and sets biases to zero.

    Raises:
        ValueError: `latent_dim` below 1, or an image shape that is not three sizes of at least 1.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        Rezende, Mohamed and Wierstra, "Stochastic Backpropagation and Approximate Inference in
        Deep Generative Models", 2014.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        encoder: Callable[..., nn.Module],
        posterior: Callable[..., nn.Module],
        prior: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        likelihood: Callable[..., Likelihood],
        initialization: Literal["torch", "glorot_uniform"],
    ) -> None:
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        all_at_least("image_shape", image_shape, 1)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape={list(image_shape)} must be channels, height and width")
        self.image_shape = tuple(image_shape)
        self.latent_dim = latent_dim
        self.encoder = encoder(image_shape=self.image_shape)
        self.posterior = posterior(in_features=self.encoder.out_features, latent_dim=latent_dim)
        self.prior = prior(latent_dim=latent_dim)
        self.decoder = decoder(latent_dim=latent_dim)
        self.likelihood: Likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        if initialization == "glorot_uniform":
            for part in self.modules():
                if isinstance(part, nn.Linear):
                    nn.init.xavier_uniform_(part.weight)
                    nn.init.zeros_(part.bias)

    def see_mean(self, mean: Tensor) -> None:
        """Take in the mean training image, (C, H, W), before training starts."""
        self.likelihood.see_mean(mean)

    def encode(self, x: Tensor) -> Distribution:
        """Infer q(z|x).

        Shape:
            x (B, C, H, W) in [0, 1]; returns batch shape (B,), event shape (D,).
        """
        return self.posterior(self.encoder(x))

    def decode(self, z: Tensor) -> Distribution:
        """Predict p(x|z); its `mean` is the picture to show.

        Shape:
            z (..., D); returns batch shape (...), event shape (C, H, W).
        """
        return self.likelihood(self.decoder(z))

    def prior_distribution(self) -> Distribution:
        """p(z): batch shape (), event shape (D,)."""
        return self.prior(self.encode)

    def forward(self, x: Tensor, num_samples: int) -> Trace:
        """Encode, draw `num_samples` reparameterised samples (K), decode.

        Shape:
            x (B, C, H, W) in [0, 1]; the trace holds z of (K, B, D).
        """
        posterior = self.encode(x)
        z = posterior.rsample((num_samples,))  # (K, B, D)
        return Trace(
            x=x,
            latents=(Latent(z, posterior, self.prior_distribution()),),
            likelihood=self.decode(z),
        )

    @torch.no_grad()
    def sample(self, num_images: int) -> Tensor:
        """Draw latents from the prior and return the mean images of the likelihood.

        Shape:
            returns (num_images, C, H, W).
        """
        return self.decode(self.prior_distribution().sample((num_images,))).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, and decode the posterior's mean.

        Shape:
            x (B, C, H, W) in [0, 1]; returns (B, C, H, W).
        """
        return self.decode(self.encode(x).mean).mean
