"""The variational autoencoder with one stochastic layer."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.checks import at_least
from vae_lightning.distributions.divergence import draw
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.spaces import check_same_space
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent, Trace


class VAE(Model):
    r"""Encoder, posterior, prior, decoder and likelihood, put together.

    .. math:: \log p(x) \ge \mathbb{E}_{q(z|x)} [\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))

    With classes it models p(x|y): the encoder sees a learned picture of the label beside the
    image, and the decoder the label beside the latents.

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
        initialization: of linear layers and convolutions: `torch` keeps what torch does;
            `glorot_uniform` draws weights after Glorot and Bengio (2010) and sets biases to zero.
        num_classes: how many classes the model is conditional on; None without labels.

    Raises:
        ValueError: `latent_dim` below 1, no classes, or an image shape that is not three sizes of
            at least 1.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        Rezende, Mohamed and Wierstra, "Stochastic Backpropagation and Approximate Inference in
        Deep Generative Models", 2014.
        Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional
        Generative Models", 2015.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        encoder: Callable[..., nn.Module],
        posterior: Callable[..., Posterior],
        prior: Callable[..., Prior],
        decoder: Callable[..., nn.Module],
        likelihood: Callable[..., Likelihood],
        initialization: Literal["torch", "glorot_uniform"],
        num_classes: int | None,
    ) -> None:
        super().__init__(image_shape, num_classes)
        at_least("latent_dim", latent_dim, 1)
        self.latent_dim = latent_dim
        channels, *size = self.image_shape
        seen = self.image_shape if num_classes is None else (channels + 1, *size)
        self.label_picture = None
        if num_classes is not None:
            self.label_picture = nn.Embedding(num_classes, math.prod(size))
        self.encoder = encoder(image_shape=seen)
        self.posterior = posterior(in_features=self.encoder.out_features, latent_dim=latent_dim)
        self.prior = prior(latent_dim=latent_dim)
        check_same_space(self.posterior.space, self.prior.space)
        self.decoder = decoder(latent_dim=latent_dim + (num_classes or 0))
        self.likelihood: Likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        if initialization == "glorot_uniform":
            for part in self.modules():
                if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.xavier_uniform_(part.weight)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """Infer q(z|x), or q(z|x, y).

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns batch shape (B,), event shape (D,).
        """
        if self.label_picture is not None:
            picture = self.label_picture(labels).unflatten(1, (1, *self.image_shape[1:]))
            x = torch.cat([x, picture], dim=1)
        return self.posterior(self.encoder(x))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """Predict p(x|z), or p(x|z, y); its `mean` is the picture to show.

        Shape:
            z (..., B, D); labels int64 (B,); returns batch shape (..., B), event shape (C, H, W).
        """
        if self.num_classes is not None and labels is not None:
            label = F.one_hot(labels, self.num_classes).to(z.dtype)
            z = torch.cat([z, label.expand(*z.shape[:-1], -1)], dim=-1)
        return self.likelihood(self.decoder(z))

    def prior_distribution(self) -> Distribution:
        """p(z): batch shape (), event shape (D,)."""
        return self.prior(self._encode_any)

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        latents = self.infer(x, num_samples, labels)
        return Trace(x=x, latents=latents, likelihood=self.decode(latents[0].z, labels))

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        posterior = self.encode(x, labels)
        z, log_q = draw(posterior, num_samples)  # (K, B, D)
        return (Latent(z, posterior, self.prior_distribution(), log_q),)

    @torch.no_grad()
    def sample(self, num_images: int, labels: Tensor | None = None) -> Tensor:
        z = self.prior_distribution().sample((num_images,))
        if labels is None:
            labels = self.each_class_in_turn(num_images, z.device)
        return self.decode(z, labels).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(x, labels).mean, labels).mean

    def _encode_any(self, x: Tensor) -> Distribution:
        # A prior that is made of posteriors has images of its own, which belong to no data.
        return self.encode(x, self.each_class_in_turn(len(x), x.device))
