"""The variational autoencoder with one stochastic layer."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.sampling import draw
from vae_lightning.distributions.temperature import tempered
from vae_lightning.models.initialization import Initialization, initialize
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent
from vae_lightning.utils.checks import at_least


class VAE(Model):
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
        initialization: of the linear layers; see `models.initialization`.
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
        initialization: Initialization,
        num_classes: int | None,
    ) -> None:
        super().__init__(image_shape, num_classes)
        at_least("latent_dim", latent_dim, 1)
        self.latent_dim = latent_dim
        self.encoder = encoder(image_shape=self.seen_shape)
        self.posterior = posterior(in_features=self.encoder.out_features, latent_dim=latent_dim)
        self.prior = prior(latent_dim=latent_dim)
        self.check_prior(self.prior, self.posterior)
        self.latent_space = self.posterior.space
        self.decoder = decoder(latent_dim=latent_dim + (num_classes or 0))
        self.likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        initialize(self, initialization)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        return self.posterior(self.encoder(self.beside_image(x, labels)))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """Predict p(x|z), or p(x|z, y); its `mean` is the picture to show.

        Shape:
            z (..., B, D); labels int64 (B,); returns batch shape (..., B), event shape (C, H, W).
        """
        return self.likelihood(self.decoder(self.beside_latents(z, labels)))

    def prior_distribution(self) -> Distribution:
        """p(z): batch shape (), event shape (D,)."""
        return self.prior(self._encode_any)

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        return self.decode(latents[0], labels)

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        posterior = self.encode(x, labels)
        z, log_q = draw(posterior, num_samples)  # (K, B, D)
        return (Latent(z, posterior, self.prior_distribution(), log_q),)

    @torch.no_grad()
    def latent_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        mean = self.encode(x, labels).mean
        # The mean of points on a sphere lies within; where they are is its direction.
        return F.normalize(mean, dim=-1) if self.latent_space == "sphere" else mean

    @torch.no_grad()
    def sample_latents(self, num_images: int, temperature: float = 1.0) -> Tensor:
        return tempered(self.prior_distribution(), temperature).sample((num_images,))

    @torch.no_grad()
    def mean_images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(latents, labels).mean

    def _encode_any(self, x: Tensor) -> Distribution:
        # A prior that is made of posteriors has images of its own, which belong to no data.
        return self.encode(x, self.each_class_in_turn(len(x), x.device))
