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
from vae_lightning.models.checks import check_count, check_rows, check_samples
from vae_lightning.models.conditioning import (
    encoder_shape,
    with_one_hot_label,
)
from vae_lightning.models.initialization import Initialization, initialize
from vae_lightning.models.model import Model
from vae_lightning.models.part_checks import check_prior
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.utils.blocks import in_blocks
from vae_lightning.utils.checks import at_least


class VAE(Model):
    r"""The variational autoencoder: encoder, posterior, prior, decoder and likelihood.

    .. math:: \log p(x) \ge \mathbb{E}_{q(z|x)} [\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))

    The parts are factories, called here with the sizes that follow from `image_shape` and
    `latent_dim`.

    Args:
        image_shape: (C, H, W).
        latent_dim: D, number of latent dimensions.
        encoder: given `image_shape`, makes the network from images to features.
        posterior: given `in_features` and `latent_dim`, makes the head from features to q(z|x).
        prior: given `latent_dim`, makes p(z).
        decoder: given `latent_dim`, makes the network from latents to features.
        likelihood: given `in_features` and `image_shape`, makes the head from features to p(x|z).
        initialization: of the linear layers; see `models.initialization`.
        num_classes: how many classes the model is conditional on; None without labels.

    Raises:
        ValueError: `latent_dim` below 1, no classes, or an image shape that is not three sizes of
            at least 1.

    Example:
        >>> from functools import partial
        >>> from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
        >>> from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
        >>> from vae_lightning.distributions.priors.standard_normal import StandardNormal
        >>> from vae_lightning.networks import MLPDecoder, MLPEncoder
        >>> dense = {"hidden": [400], "activation": "relu", "batch_norm": False}
        >>> model = VAE(
        ...     image_shape=(1, 28, 28),
        ...     latent_dim=20,
        ...     encoder=partial(MLPEncoder, input_range=(0, 1), **dense),
        ...     posterior=partial(DiagonalNormal, scale="log_variance"),
        ...     prior=StandardNormal,
        ...     decoder=partial(MLPDecoder, **dense),
        ...     likelihood=partial(Bernoulli, start_at_mean=False),
        ...     initialization="torch",
        ...     num_classes=None,
        ... )
        >>> x = torch.rand(8, 1, 28, 28)
        >>> model(x, num_samples=5).elbo.shape
        torch.Size([5, 8])
        >>> model.sample(3).shape
        torch.Size([3, 1, 28, 28])
        >>> model.interpolate(x[:4], x[4:], steps=10).shape
        torch.Size([4, 10, 1, 28, 28])
        >>> model.log_likelihood(x, num_samples=100).shape
        torch.Size([8])

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014,
        https://arxiv.org/abs/1312.6114.
        Rezende, Mohamed and Wierstra, "Stochastic Backpropagation and Approximate Inference in
        Deep Generative Models", 2014, https://arxiv.org/abs/1401.4082.
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
        self.encoder = encoder(image_shape=encoder_shape(image_shape, num_classes))
        self.posterior = posterior(in_features=self.encoder.out_features, latent_dim=latent_dim)
        self.prior = prior(latent_dim=latent_dim)
        check_prior(self, self.prior, self.posterior)
        self.latent_space = self.posterior.space
        self.decoder = decoder(latent_dim=latent_dim + (num_classes or 0))
        self.likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        initialize(self, initialization)

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        (latent,) = self.infer(x, num_samples, labels)
        return Trace(x=x, latents=(latent,), likelihood=self.decode(latent.z, labels))

    @property
    def latent_size(self) -> int:
        return self.latent_dim

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        check_count("num_samples", num_samples)
        posterior = self.infer_posterior(x, labels)
        z, log_q = draw(posterior, num_samples)  # (K, B, D)
        return (Latent(z, posterior, self.prior_distribution(), log_q),)

    def infer_posterior(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        return self.posterior(self.encoded(x, labels))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """Predict p(x|z), or p(x|z, y).

        Shape:
            z (..., B, D); labels int64 (B,); returns batch shape (..., B), event shape (C, H, W).
        """
        check_rows(z, self.latent_dim)
        return self.likelihood(self.decoder(with_one_hot_label(z, labels, self.num_classes)))

    def prior_distribution(self) -> Distribution:
        """p(z): batch shape (), event shape (D,)."""
        return self.prior(self._encode_any)

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        check_samples(latents, [(self.latent_dim,)])
        (z,) = latents
        return self.decode(z, labels)

    @torch.no_grad()
    def infer_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        mean = self.infer_posterior(x, labels).mean
        # The mean of points on a sphere lies inside it.
        return F.normalize(mean, dim=-1) if self.latent_space == "sphere" else mean

    @torch.no_grad()
    def draw_latents(self, num_images: int, temperature: float) -> Tensor:
        return tempered(self.prior_distribution(), temperature).sample((num_images,))

    @torch.no_grad()
    def decode_means(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return in_blocks(self._decoded_means, latents, labels, owner=self)

    def _decoded_means(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return self.decode(latents, labels).mean

    def _encode_any(self, x: Tensor) -> Distribution:
        # A prior made of posteriors has images of its own, which have no labels.
        return self.infer_posterior(x, self.each_class_in_turn(len(x), x.device))
