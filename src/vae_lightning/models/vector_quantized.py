"""The vector-quantised autoencoder (VQ-VAE)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.codes import CodePointMass, CodePrior
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.temperature import tempered
from vae_lightning.models.checks import check_codes, check_count, check_maps, check_samples
from vae_lightning.models.codebook import Codebook
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.networks.maps import MapEncoder
from vae_lightning.utils.blocks import in_blocks
from vae_lightning.utils.checks import at_least


class VectorQuantized(Model):
    r"""The vector-quantised autoencoder, or VQ-VAE: its latents are a map of discrete codes.

    .. math:: c_i = \arg\min_k \| v_i(x) - e_k \|, \quad
              \log p(x) \ge \log p(x|c) + \log p(c)

    where v(x) are the encoder's vectors and e the codebook. The posterior is a point mass at c, so
    the rate is -log p(c), the cost of the codes under the prior in nats. No gradient passes through
    a code, so the rate trains the prior only, and one run does both stages of the paper. The
    decoder's gradient goes straight through to the encoder's vectors. An auxiliary loss,
    `commitment`, keeps these near their codes:

    .. math:: \beta \sum_i \| v_i(x) - \mathrm{sg}[e_{c_i}] \|^2

    Args:
        image_shape: (C, H, W).
        num_codes: how many codes.
        code_dim: E, length of a code's vector.
        commitment: beta.
        decay: of the running averages that define the codes.
        restart_below: codes that are assigned less than this fraction of an equal share of the
            vectors restart.
        encoder: given `image_shape`, makes the network from images to maps.
        prior: given `num_codes` and `map_size`, makes p(c).
        decoder: given `latent_dim`, (E, h, w), makes the network from maps of vectors to features.
        likelihood: given `in_features` and `image_shape`, makes the head from features to p(x|c).

    Raises:
        ValueError: an encoder that returns no maps, a number out of range, or an image shape that
            is not three sizes of at least 1.

    Example:
        >>> from functools import partial
        >>> from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
        >>> from vae_lightning.networks.conv import ConvDecoder, ConvEncoder
        >>> maps = {"channels": [32, 64], "activation": "relu"}
        >>> model = VectorQuantized(
        ...     image_shape=(1, 28, 28),
        ...     num_codes=64,
        ...     code_dim=16,
        ...     commitment=0.25,
        ...     decay=0.99,
        ...     restart_below=0.03,
        ...     encoder=partial(ConvEncoder, input_range=(0, 1), **maps),
        ...     prior=partial(CodePrior, width=64, heads=4, layers=2),
        ...     decoder=partial(ConvDecoder, image_shape=(1, 28, 28), **maps),
        ...     likelihood=partial(Bernoulli, start_at_mean=False),
        ... )
        >>> trace = model(torch.rand(8, 1, 28, 28), num_samples=1)
        >>> trace.latents[0].z.shape, trace.auxiliary["commitment"].shape
        (torch.Size([1, 8, 7, 7]), torch.Size([8]))

    References:
        Van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        https://arxiv.org/abs/1711.00937.
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
                f"{type(network).__name__} returns no maps to quantise: "
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

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        check_count("num_samples", num_samples)
        vectors = self._vectors(x)
        flat = _flat(vectors).detach()
        if self.codebook.training:  # not if it is frozen
            self.codebook.restart(flat)
        # The codes and their distances are looked up before the codes move.
        posterior = self._quantise(vectors)
        if self.codebook.training:
            self.codebook.follow(flat, posterior.codes.flatten())
        latents = self._latents(posterior, num_samples)
        likelihood = self._decoded_once(posterior.mean, num_samples)
        return Trace(x, latents, likelihood, self.auxiliary(latents))

    @property
    def latent_size(self) -> int:
        return math.prod(self._map_shape)

    @property
    def _map_shape(self) -> tuple[int, ...]:
        """(E, h, w), of a map of vectors."""
        return (self.codebook.codes.shape[1], *self.prior.map_size)

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        check_count("num_samples", num_samples)
        return self._latents(self.infer_posterior(x), num_samples)

    def infer_posterior(self, x: Tensor, labels: Tensor | None = None) -> CodePointMass:
        """Infer the codes of images, and their vectors.

        Shape:
            x (B, C, H, W) in [0, 1]; returns batch shape (B,), event shape (h, w).
        """
        return self._quantise(self._vectors(x))

    def decode(self, vectors: Tensor) -> Distribution:
        """Predict p(x|c).

        Shape:
            vectors (..., E, h, w); returns batch shape (...), event shape (C, H, W).

        Raises:
            ValueError: another shape, or no floats.
        """
        check_maps(vectors, self._map_shape)
        return self.likelihood(self.decoder(vectors))

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Look up the vectors of codes.

        Shape:
            codes int64 (..., h, w); returns (..., E, h, w).

        Raises:
            ValueError: another shape or type, or a code that does not exist.
        """
        check_codes(codes, tuple(self.prior.map_size), len(self.codebook.codes))
        return self._vectors_of(codes)

    def _vectors_of(self, codes: Tensor) -> Tensor:
        return self.codebook.codes[codes].movedim(-1, -3)

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        check_samples(latents, [tuple(self.prior.map_size)], torch.int64)
        (codes,) = latents  # (K, B, h, w)
        return self._decoded_once(self._vectors_of(codes[0]), len(codes))

    def auxiliary(self, latents: Sequence[Latent]) -> dict[str, Tensor]:
        distances = [latent.posterior.distances for latent in latents]  # type: ignore[attr-defined]
        return {"commitment": self.commitment * sum(distances)}

    @torch.no_grad()
    def infer_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.infer_posterior(x).mean.flatten(1)

    @torch.no_grad()
    def draw_latents(self, num_images: int, temperature: float) -> Tensor:
        codes = tempered(self.prior.distribution(), temperature).sample((num_images,))
        return self._vectors_of(codes).flatten(1)

    @torch.no_grad()
    def decode_means(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return in_blocks(self._decoded_means, latents, owner=self)

    def _decoded_means(self, latents: Tensor) -> Tensor:
        return self.decode(latents.unflatten(1, self._map_shape)).mean

    def _vectors(self, x: Tensor) -> Tensor:
        """The encoder's vectors, (B, E, h, w)."""
        return self.project(self.encoded(x).unflatten(1, self.encoder.map_shape))

    def _decoded_once(self, vectors: Tensor, num_samples: int) -> Distribution:
        """p(x|c) of K identical samples, from vectors (B, E, h, w)."""
        features = self.decoder(vectors)
        return self.likelihood(features.expand(num_samples, *features.shape))

    def _quantise(self, vectors: Tensor) -> CodePointMass:
        codes = self.codebook.nearest(_flat(vectors).detach())
        codes = codes.unflatten(0, (vectors.shape[0], *vectors.shape[2:]))
        # `vectors + (codes - vectors).detach()` would be the codes up to rounding only.
        nearest = self._vectors_of(codes)
        straight = _StraightThrough.apply(vectors, nearest)
        distances = (vectors - nearest).square().sum((1, 2, 3))
        return CodePointMass(codes, straight, distances)

    def _latents(self, posterior: CodePointMass, num_samples: int) -> Sequence[Latent]:
        z = posterior.sample((num_samples,))  # (K, B, h, w)
        log_q = posterior.mean.new_zeros(z.shape[:2])
        return (Latent(z, posterior, self.prior.distribution(), log_q),)


class _StraightThrough(torch.autograd.Function):
    """Returns the codes' vectors, and passes their gradient to the encoder's."""

    @staticmethod
    def forward(ctx: object, vectors: Tensor, codes: Tensor) -> Tensor:
        return codes.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _flat(vectors: Tensor) -> Tensor:
    """Maps of vectors (B, E, h, w) as rows, (B*h*w, E)."""
    return vectors.movedim(1, -1).flatten(0, -2)
