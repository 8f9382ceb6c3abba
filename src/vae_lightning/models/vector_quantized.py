"""The VQ-VAE, with the prior over its codes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.codes import CodePointMass, CodePrior
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.temperature import tempered
from vae_lightning.models.codebook import Codebook
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.networks.maps import MapEncoder
from vae_lightning.utils.checks import at_least


class VectorQuantized(Model):
    r"""An autoencoder whose latents are a map of codes, each a vector out of one codebook.

    .. math:: c_i = \arg\min_k \| v_i(x) - e_k \|, \quad
              \log p(x) \ge \log p(x|c) + \log p(c)

    with v(x) the encoder's vectors. The posterior is a point mass at c, so the rate is -log p(c):
    the nats that the codes cost under the prior. No gradient passes through a code, so the rate
    trains the prior and nothing else, and both stages of the paper are one run. The decoder's
    gradient goes straight through to the encoder's vectors, which the auxiliary loss `commitment`
    holds at their codes,

    .. math:: \beta \sum_i \| v_i(x) - \mathrm{sg}[e_{c_i}] \|^2

    Args:
        image_shape: (C, H, W).
        num_codes: how many codes.
        code_dim: E, length of a code's vector.
        commitment: beta.
        decay: of the running averages that the codes are.
        restart_below: codes that get less than this fraction of an equal share begin anew.
        encoder: makes the network from images to maps, from `image_shape`.
        prior: makes p(c), from `num_codes` and `map_size`.
        decoder: makes the network from maps of vectors to features, from `latent_dim`, a shape.
        likelihood: makes the head to p(x|c), from `in_features` and `image_shape`.

    Raises:
        ValueError: an encoder that gives no maps, a number out of range, or an image shape that is
            not three sizes of at least 1.

    References:
        Van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        num_codes: int,
        code_dim: int,
        commitment: float,
        decay: float,
        restart_below: float,
        encoder: Callable[..., nn.Module],
        prior: Callable[..., CodePrior],
        decoder: Callable[..., nn.Module],
        likelihood: Callable[..., Likelihood],
    ) -> None:
        super().__init__(image_shape, num_classes=None)
        at_least("commitment", commitment, 0)
        self.latent_space = "euclidean"
        self.commitment = commitment
        self.codebook = Codebook(num_codes, code_dim, decay, restart_below)
        network = encoder(image_shape=self.image_shape)
        if not isinstance(network, MapEncoder):
            raise ValueError(
                f"{type(network).__name__} gives no maps to quantise: "
                "choose model/encoder=conv or model/encoder=resnet"
            )
        self.encoder = network
        features, *size = network.map_shape
        self.project = nn.Conv2d(features, code_dim, 1)
        self.prior = prior(num_codes=num_codes, map_size=size)
        self.decoder = decoder(latent_dim=(code_dim, *size))
        self.likelihood: Likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )

    def encode(self, x: Tensor, labels: Tensor | None = None) -> CodePointMass:
        """Infer the codes of images.

        Shape:
            x (B, C, H, W) in [0, 1]; returns batch shape (B,), event shape (h, w).
        """
        return self._quantise(self._vectors(x))

    def decode(self, vectors: Tensor) -> Distribution:
        """Predict p(x|c); its `mean` is the picture to show.

        Shape:
            vectors (..., E, h, w); returns batch shape (...), event shape (C, H, W).
        """
        return self.likelihood(self.decoder(vectors))

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Look codes up.

        Shape:
            codes int64 (..., h, w); returns (..., E, h, w).
        """
        return self.codebook.codes[codes].movedim(-1, -3)

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        vectors = self._vectors(x)
        flat = _flat(vectors).detach()
        if self.training:
            self.codebook.restart(flat)
        posterior = self._quantise(vectors)
        held = self.vectors_of(posterior.codes)
        if self.training:
            self.codebook.follow(flat, posterior.codes.flatten())
        distance = (vectors - held).square().sum((1, 2, 3))  # (B,)
        return Trace(
            x=x,
            latents=self._latents(posterior, num_samples),
            likelihood=self._decoded_once(posterior.mean, num_samples),
            auxiliary={"commitment": self.commitment * distance},
        )

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        (codes,) = latents  # (K, B, h, w)
        return self._decoded_once(self.vectors_of(codes[0]), len(codes))

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        return self._latents(self.encode(x), num_samples)

    @torch.no_grad()
    def latent_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.encode(x).mean.flatten(1)

    @torch.no_grad()
    def sample_latents(self, num_images: int, temperature: float = 1.0) -> Tensor:
        codes = tempered(self.prior.distribution(), temperature).sample((num_images,))
        return self.vectors_of(codes).flatten(1)

    @torch.no_grad()
    def mean_images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        size = (self.codebook.codes.shape[1], *self.prior.map_size)
        return self.decode(latents.unflatten(1, size)).mean

    def _vectors(self, x: Tensor) -> Tensor:
        """What the encoder would have for codes, (B, E, h, w)."""
        return self.project(self.encoder(x).unflatten(1, self.encoder.map_shape))

    def _decoded_once(self, vectors: Tensor, num_samples: int) -> Distribution:
        """p(x|c) of K samples that are all the same, from (B, E, h, w)."""
        features = self.decoder(vectors)
        return self.likelihood(features.expand(num_samples, *features.shape))

    def _quantise(self, vectors: Tensor) -> CodePointMass:
        codes = self.codebook.nearest(_flat(vectors).detach())
        codes = codes.unflatten(0, (vectors.shape[0], *vectors.shape[2:]))
        # The codes' vectors, with the gradient of the encoder's: exactly, not up to rounding.
        straight = _StraightThrough.apply(vectors, self.vectors_of(codes))
        return CodePointMass(codes, straight)

    def _latents(self, posterior: CodePointMass, num_samples: int) -> Sequence[Latent]:
        z = posterior.sample((num_samples,))  # (K, B, h, w)
        log_q = posterior.mean.new_zeros(z.shape[:2])
        return (Latent(z, posterior, self.prior.distribution(), log_q),)


class _StraightThrough(torch.autograd.Function):
    """Gives the second, and its gradient to the first."""

    @staticmethod
    def forward(ctx: object, taken: Tensor, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _flat(vectors: Tensor) -> Tensor:
    """All vectors of all places, (B*h*w, E), of (B, E, h, w)."""
    return vectors.movedim(1, -1).flatten(0, -2)
