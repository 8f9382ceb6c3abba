"""What each kind of model defines."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.spaces import Space, check_same_space
from vae_lightning.models.conditional import Conditional
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.networks.layers import BatchNorm


class LatentVariableModel(Conditional, ABC):
    """A generative model of images, with an encoder; with classes it models p(x|y).

    Args:
        image_shape: (C, H, W).
        num_classes: how many classes of images it tells apart; None where it needs no labels.

    Attributes:
        decoder: the network from latents to features.
        likelihood: the head that makes p(x|z) of them.
        latent_space: where its latents live.

    Raises:
        ValueError: an image shape that is not three sizes of at least 1, or no classes.
    """

    decoder: nn.Module
    likelihood: Likelihood
    latent_space: Space

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        """Encode, draw `num_samples` reparameterised samples (K), decode.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,), needed where there are `num_classes`.
        """
        latents = self.infer(x, num_samples, labels)
        likelihood = self.predict([latent.z for latent in latents], labels)
        return Trace(x=x, latents=latents, likelihood=likelihood)

    @abstractmethod
    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        """Encode and draw, as `forward` does, without decoding.

        Shape:
            as for `forward`.
        """

    @abstractmethod
    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        """Decode samples of all stochastic layers, in the form of `Latent.z`: p(x|z) of each.

        Shape:
            latents (K, B, *event), one of each layer; labels int64 (B,); returns batch shape
            (K, B), event shape (C, H, W).
        """

    @abstractmethod
    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """Infer q(z|x), or q(z|x, y); of several layers, of the one that is inferred first.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns batch shape (B,).
        """

    @abstractmethod
    def latent_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The centre of the posterior: all layers side by side, maps flat.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, D).
        """

    @abstractmethod
    def sample_latents(self, num_images: int, temperature: float = 1.0) -> Tensor:
        """Draw latents from the prior, in the form of `latent_means`.

        Args:
            num_images: how many.
            temperature: 1 draws from the prior, less from a narrower one; see
                `distributions.temperature`.

        Shape:
            returns (num_images, D).

        Raises:
            ValueError: another temperature than 1, of a prior that knows none.
        """

    @abstractmethod
    def mean_images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), or p(x|z, y): the picture of some latents.

        Shape:
            latents (N, D), in the form of `latent_means`; labels int64 (N,), or the shares of the
            classes, (N, num_classes); returns (N, C, H, W).
        """

    def check_prior(self, prior: Prior, posterior: Posterior) -> None:
        """Check that a prior is where the posteriors are, and can be made by what is there so far.

        Args:
            prior: the model's own; to be checked before the decoder is made.
            posterior: the head whose posteriors it is compared with.

        Raises:
            ValueError: it is elsewhere, or is made of images of its own, which would be among those
                that batch normalisation takes for data, or of posteriors that cannot be scored.
        """
        check_same_space(posterior.space, prior.space)
        if prior.space is not None:
            return
        posterior.check_scored("a prior made of posteriors")
        if any(isinstance(part, BatchNorm) for part in self.modules()):
            raise ValueError(
                "batch_norm=true would take this prior's own images for data: choose "
                "model.encoder.batch_norm=false (and model.inner.batch_norm=false, of several "
                "layers), or model/prior=standard_normal, mixture or flow"
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
