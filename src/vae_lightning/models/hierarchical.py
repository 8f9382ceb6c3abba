"""The variational autoencoder with several stochastic layers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.normal_product import product_of_normals
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.temperature import tempered
from vae_lightning.models.checks import check_count, check_latents, check_rows, check_samples
from vae_lightning.models.conditioning import (
    encoder_shape,
    with_one_hot_label,
)
from vae_lightning.models.initialization import Initialization, initialize
from vae_lightning.models.layer_inference import (
    Take,
    infer_bottom_up,
    infer_top_down,
    take_mean,
    take_samples,
)
from vae_lightning.models.model import Model
from vae_lightning.models.part_checks import check_layers, check_prior
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.utils.blocks import in_blocks
from vae_lightning.utils.checks import all_at_least


class HierarchicalVAE(Model):
    r"""The variational autoencoder with several stochastic layers, z_1 nearest to the image.

    .. math:: p(x, z_1 \dots z_L) = p(x|z)\, p(z_L) \prod_{l<L} p(z_l|z_{l+1}), \quad
              p(z_l|z_{l+1}) = \mathcal{N}(\mu_l(z_{l+1}), \mathrm{diag}\, \sigma_l^2(z_{l+1}))

    where p(x|z) depends on z_1 or on all layers. The posterior is either of

    .. math:: q(z_1|x) \prod_{l>1} q(z_l|z_{l-1}) \quad \text{(bottom up)}, \qquad
              q(z_L|x) \prod_{l<L} q(z_l|x, z_{l+1}) \quad \text{(top down)}

    Top down, layer l depends on x through features h_l of h_{l-1}. The ladder is top down as well;
    its posterior is the product of a normal that depends on h_l and the model's own p(z_l|z_{l+1}),

    .. math:: q(z_l|x, z_{l+1}) \propto \mathcal{N}(\hat\mu_l(h_l), \hat\sigma_l^2(h_l))\,
              p(z_l|z_{l+1})

    Two layers bottom up are the two-layer VAE of Burda et al.; two layers top down, with a decoder
    that takes both, are the HVAE of Tomczak and Welling.

    Args:
        image_shape: (C, H, W).
        latent_dims: D_1, ..., D_L, latent dimensions of each layer.
        encoder: given `image_shape`, makes the network from images to features.
        inner: given `latent_dim`, the size of its input, makes each network between two layers.
        posterior: given `in_features` and `latent_dim`, makes the head to each layer's posterior.
        conditional: given the same, makes the head to each p(z_l|z_{l+1}).
        prior: given `latent_dim`, makes p(z_L).
        decoder: given `latent_dim`, makes the network from latents to features.
        likelihood: given `in_features` and `image_shape`, makes the head from features to p(x|z).
        inference: `bottom_up` | `top_down` | `ladder`.
        decoder_sees: what the decoder takes: z_1 (`lowest`), or the latents of `all` layers,
            concatenated.
        initialization: of the linear layers; see `models.initialization`.
        num_classes: how many classes the model is conditional on; None without labels.

    Raises:
        ValueError: fewer than two layers; a size below 1; latents that are not in Euclidean space;
            a ladder of other distributions than diagonal normals; a conditional without density; or
            a prior made of posteriors of the top layer, if these have no density, as bottom up.

    Example:
        >>> from functools import partial
        >>> from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
        >>> from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
        >>> from vae_lightning.distributions.priors.standard_normal import StandardNormal
        >>> from vae_lightning.networks import MLPDecoder, MLPEncoder
        >>> dense = {"hidden": [300], "activation": "relu", "batch_norm": False}
        >>> model = HierarchicalVAE(
        ...     image_shape=(1, 28, 28),
        ...     latent_dims=[40, 10],
        ...     encoder=partial(MLPEncoder, input_range=(0, 1), **dense),
        ...     inner=partial(MLPDecoder, **dense),
        ...     posterior=partial(DiagonalNormal, scale="log_variance"),
        ...     conditional=partial(DiagonalNormal, scale="log_variance"),
        ...     prior=StandardNormal,
        ...     decoder=partial(MLPDecoder, **dense),
        ...     likelihood=partial(Bernoulli, start_at_mean=False),
        ...     inference="top_down",
        ...     decoder_sees="all",
        ...     initialization="torch",
        ...     num_classes=None,
        ... )
        >>> trace = model(torch.rand(8, 1, 28, 28), num_samples=5)
        >>> [latent.z.shape for latent in trace.latents]
        [torch.Size([5, 8, 40]), torch.Size([5, 8, 10])]

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016,
        https://arxiv.org/abs/1509.00519.
        Sønderby, Raiko, Maaløe, Sønderby and Winther, "Ladder Variational Autoencoders", 2016,
        https://arxiv.org/abs/1602.02282.
        Tomczak and Welling, "VAE with a VampPrior", 2018, https://arxiv.org/abs/1705.07120.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dims: Sequence[int],
        encoder: Callable[..., nn.Module],
        inner: Callable[..., nn.Module],
        posterior: Callable[..., Posterior],
        conditional: Callable[..., Posterior],
        prior: Callable[..., Prior],
        decoder: Callable[..., nn.Module],
        likelihood: Callable[..., Likelihood],
        inference: Literal["bottom_up", "top_down", "ladder"],
        decoder_sees: Literal["lowest", "all"],
        initialization: Initialization,
        num_classes: int | None,
    ) -> None:
        super().__init__(image_shape, num_classes)
        all_at_least("latent_dims", latent_dims, 1)
        if len(latent_dims) < 2:
            raise ValueError(f"latent_dims={list(latent_dims)} is one layer: use model=vae")
        self.latent_dims = tuple(latent_dims)
        self.latent_space = "euclidean"
        self.inference = inference
        self.decoder_sees = decoder_sees

        self.encoder = encoder(image_shape=encoder_shape(image_shape, num_classes))
        # Input of the next layer's network: z_l bottom up, h_l otherwise.
        self.up = nn.ModuleList()
        features: list[Any] = [self.encoder.out_features]
        for dim in latent_dims[:-1]:
            self.up.append(inner(latent_dim=dim if inference == "bottom_up" else features[-1]))
            features.append(self.up[-1].out_features)
        # Networks from z_{l+1} to features for the posterior of z_l, and for p(z_l|z_{l+1}).
        self.down = nn.ModuleList()
        self.above = nn.ModuleList()
        conditionals: list[Posterior] = []
        for layer, (dim, dim_above) in enumerate(pairwise(latent_dims)):
            if inference == "top_down":
                self.down.append(inner(latent_dim=dim_above))
                features[layer] += self.down[-1].out_features
            self.above.append(inner(latent_dim=dim_above))
            conditionals.append(
                conditional(in_features=self.above[-1].out_features, latent_dim=dim)
            )
        self.conditionals = nn.ModuleList(conditionals)
        posteriors = [
            posterior(in_features=size, latent_dim=dim)
            for size, dim in zip(features, latent_dims, strict=True)
        ]
        self.posteriors = nn.ModuleList(posteriors)
        self.prior = prior(latent_dim=latent_dims[-1])
        check_layers(inference, self.prior, posteriors, conditionals)
        check_prior(self, self.prior, posteriors[0])

        decoder_dim = latent_dims[0] if decoder_sees == "lowest" else sum(latent_dims)
        self.decoder = decoder(latent_dim=decoder_dim + (num_classes or 0))
        self.likelihood: Likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        initialize(self, initialization)

    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        latents = self.infer(x, num_samples, labels)
        likelihood = self.decode([latent.z for latent in latents], labels)
        return Trace(x=x, latents=latents, likelihood=likelihood)

    @property
    def latent_size(self) -> int:
        return sum(self.latent_dims)

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        check_count("num_samples", num_samples)
        return self._layers(x, labels, take_samples(num_samples))

    def infer_posterior(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        first = 0 if self.inference == "bottom_up" else -1
        return self._layers(x, labels, take_mean)[first].posterior

    def decode(self, layers: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        """Predict p(x|z), or p(x|z, y).

        Shape:
            layers (..., B, D_l), z_1 first; labels int64 (B,); returns batch shape (..., B), event
            shape (C, H, W).
        """
        for z, dim in zip(layers, self.latent_dims, strict=True):
            check_rows(z, dim)
        z = layers[0] if self.decoder_sees == "lowest" else torch.cat(list(layers), dim=-1)
        return self.likelihood(self.decoder(with_one_hot_label(z, labels, self.num_classes)))

    def prior_distribution(self) -> Distribution:
        """p(z_L), of the top layer: batch shape (), event shape (D_L,)."""
        return self.prior(self._encode_any)

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        check_samples(latents, [(dim,) for dim in self.latent_dims])
        return self.decode(latents, labels)

    @torch.no_grad()
    def infer_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.cat([latent.z for latent in self._layers(x, labels, take_mean)], dim=-1)

    @torch.no_grad()
    def draw_latents(self, num_images: int, temperature: float) -> Tensor:
        layers = [tempered(self.prior_distribution(), temperature).sample((num_images,))]
        for layer in reversed(range(len(self.conditionals))):
            below = tempered(self._conditional(layer, layers[0]), temperature)
            layers.insert(0, below.sample())
        return torch.cat(layers, dim=-1)

    @torch.no_grad()
    def decode_means(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return in_blocks(self._decoded_means, latents, labels, owner=self)

    def _decoded_means(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return self.decode(latents.split(self.latent_dims, dim=-1), labels).mean

    @torch.no_grad()
    def follow(self, latents: Tensor, moved: Sequence[int]) -> Tensor:
        """Set the layers below some dimensions to the mean of p(z_l|z_{l+1}).

        Args:
            latents: in the form of `latent_means`.
            moved: the dimensions; they keep their values.

        Shape:
            latents (N, D); returns (N, D).

        Raises:
            ValueError: latents that do not fit the model, or dimensions that it does not have.
        """
        check_latents(latents, self.latent_size, self._weight)
        if not moved or not all(0 <= dimension < self.latent_size for dimension in moved):
            raise ValueError(
                f"moved={list(moved)}: name dimensions from 0 to {self.latent_size - 1}"
            )
        layers = list(latents.split(self.latent_dims, dim=-1))
        starts = [sum(self.latent_dims[:layer]) for layer in range(len(layers))]
        for layer in reversed(range(len(self.conditionals))):
            if max(moved) < starts[layer + 1]:
                continue
            followed = self._conditional(layer, layers[layer + 1]).mean.clone()
            for index in (dimension - starts[layer] for dimension in moved):
                if 0 <= index < self.latent_dims[layer]:
                    followed[:, index] = layers[layer][:, index]
            layers[layer] = followed
        return torch.cat(layers, dim=-1)

    def _layers(self, x: Tensor, labels: Tensor | None, take: Take) -> Sequence[Latent]:
        if self.inference == "bottom_up":
            return infer_bottom_up(
                self.encoded(x, labels),
                self.up,
                self.posteriors,
                self._conditional,
                self.prior_distribution,
                take,
            )
        features = self._features(x, labels)

        def posterior_below(layer: int, z: Tensor, prior: Distribution) -> Distribution:
            if self.inference == "ladder":
                return product_of_normals(self.posteriors[layer](features[layer]), prior)
            above = self.down[layer](z)  # (K, B, F')
            own = features[layer].expand(*above.shape[:-1], -1)  # (K, B, F)
            return self.posteriors[layer](torch.cat([own, above], dim=-1))

        return infer_top_down(
            self.posteriors[-1](features[-1]),
            self.prior_distribution(),
            posterior_below,
            self._conditional,
            len(self.latent_dims),
            take,
        )

    def _features(self, x: Tensor, labels: Tensor | None) -> list[Tensor]:
        """h_1, ..., h_L, (B, F_l) each."""
        features = [self.encoded(x, labels)]
        for network in self.up:
            features.append(network(features[-1]))
        return features

    def _conditional(self, layer: int, z: Tensor) -> Distribution:
        """p(z_l|z_{l+1}), from (..., D_{l+1}); layers are counted from 0."""
        return self.conditionals[layer](self.above[layer](z))

    def _encode_any(self, x: Tensor) -> Distribution:
        # q(z_L|x) of a prior's own images, which have no labels.
        labels = self.each_class_in_turn(len(x), x.device)
        return self.posteriors[-1](self._features(x, labels)[-1])
