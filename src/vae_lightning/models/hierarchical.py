"""The variational autoencoder with several stochastic layers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.monte_carlo import MonteCarloKL
from vae_lightning.distributions.normal_product import product_of_normals
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.sampling import draw
from vae_lightning.distributions.temperature import tempered
from vae_lightning.models.initialization import Initialization, initialize
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent
from vae_lightning.utils.checks import all_at_least

# How to take z from a posterior, with its log-density where that is known.
Take = Callable[[Distribution], tuple[Tensor, Tensor | None]]


class HierarchicalVAE(Model):
    r"""Latents of latents: each stochastic layer is predicted from the one above it.

    .. math:: p(x, z_1 \dots z_L) = p(x|z)\, p(z_L) \prod_{l<L} p(z_l|z_{l+1}), \quad
              p(z_l|z_{l+1}) = \mathcal{N}(\mu_l(z_{l+1}), \mathrm{diag}\, \sigma_l^2(z_{l+1}))

    with z_1 nearest to the image, and p(x|z) of z_1 alone or of all layers. The posterior is one of

    .. math:: q(z_1|x) \prod_{l>1} q(z_l|z_{l-1}) \quad \text{(bottom up), or} \quad
              q(z_L|x) \prod_{l<L} q(z_l|x, z_{l+1}) \quad \text{(top down)}

    where x reaches layer l as features h_l of h_{l-1}. The ladder goes down too: its posterior is
    the product of a normal of h_l and of the model's own p(z_l|z_{l+1}),

    .. math:: q(z_l|x, z_{l+1}) \propto \mathcal{N}(\hat\mu_l(h_l), \hat\sigma_l^2(h_l))\,
              p(z_l|z_{l+1})

    Two layers inferred bottom up are the two-layer VAE of Burda et al.; two inferred top down, with
    a decoder that sees both, the HVAE of Tomczak and Welling.

    Args:
        image_shape: (C, H, W).
        latent_dims: D_1, ..., D_L, latent dimensions of each layer, the one nearest to the image
            first.
        encoder: makes the network from images to features, from `image_shape`.
        inner: makes each network between two layers, upwards and downwards, from the size of what
            it sees, as `latent_dim`.
        posterior: makes the head to each layer's posterior, from `in_features` and `latent_dim`.
        conditional: makes the head to each p(z_l|z_{l+1}), from the same.
        prior: makes p(z_L), from `latent_dim`.
        decoder: makes the network from latents to features, from `latent_dim`.
        likelihood: makes the head to p(x|z), from `in_features` and `image_shape`.
        inference: `bottom_up` | `top_down` | `ladder`.
        decoder_sees: z_1 alone (`lowest`), or the latents of `all` layers side by side.
        initialization: of the linear layers; see `models.initialization`.
        num_classes: how many classes the model is conditional on; None without labels.

    Raises:
        ValueError: fewer than two layers, a size below 1, a ladder of other than diagonal normals,
            latents that do not live in the plane, a conditional without density, or a top prior
            made of posteriors of the top layer where these have no density, which is so bottom up.

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        Sønderby, Raiko, Maaløe, Sønderby and Winther, "Ladder Variational Autoencoders", 2016.
        Tomczak and Welling, "VAE with a VampPrior", 2018.
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

        self.encoder = encoder(image_shape=self.seen_shape)
        # Bottom up, z_l is what the next layer sees; otherwise no sample is: h_l.
        self.up = nn.ModuleList()
        features: list[Any] = [self.encoder.out_features]
        for dim in latent_dims[:-1]:
            self.up.append(inner(latent_dim=dim if inference == "bottom_up" else features[-1]))
            features.append(self.up[-1].out_features)
        # What z_{l+1} tells the posterior of z_l, and p(z_l|z_{l+1}).
        self.down = nn.ModuleList()
        self.above = nn.ModuleList()
        self.conditionals = nn.ModuleList()
        for layer, (dim, dim_above) in enumerate(pairwise(latent_dims)):
            if inference == "top_down":
                self.down.append(inner(latent_dim=dim_above))
                features[layer] += self.down[-1].out_features
            self.above.append(inner(latent_dim=dim_above))
            self.conditionals.append(
                conditional(in_features=self.above[-1].out_features, latent_dim=dim)
            )
        self.posteriors = nn.ModuleList(
            posterior(in_features=size, latent_dim=dim)
            for size, dim in zip(features, latent_dims, strict=True)
        )
        self.prior = prior(latent_dim=latent_dims[-1])
        self._check_parts()

        seen = latent_dims[0] if decoder_sees == "lowest" else sum(latent_dims)
        self.decoder = decoder(latent_dim=seen + (num_classes or 0))
        self.likelihood: Likelihood = likelihood(
            in_features=self.decoder.out_features, image_shape=self.image_shape
        )
        initialize(self, initialization)

    def _check_parts(self) -> None:
        heads: list[Any] = [*self.posteriors, *self.conditionals]
        if self.inference == "ladder" and not all(type(head) is DiagonalNormal for head in heads):
            raise ValueError(
                "inference=ladder multiplies normal densities: choose "
                "model/posterior=diagonal_normal, or inference=top_down or bottom_up"
            )
        for head in heads:
            if head.space != "euclidean":
                raise ValueError(
                    f"latents on the {head.space} do not fit the layers between, which are on the "
                    "plane: choose model/posterior=diagonal_normal, or use model=vae"
                )
        if any(isinstance(head, Deterministic) for head in self.conditionals):
            raise ValueError(
                "a deterministic conditional has no density, so that there is no rate: choose "
                "model/posterior@model.conditional=diagonal_normal"
            )
        self.check_prior(self.prior, heads[0])
        if self.inference == "bottom_up" and self.prior.space is None:
            raise ValueError(
                "inference=bottom_up has no density of the top layer given an image, which this "
                "prior is made of: choose inference=top_down or ladder, or model/prior="
                "standard_normal, mixture or flow"
            )

    def decode(self, layers: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        """Predict p(x|z); its `mean` is the picture to show.

        Shape:
            layers (..., B, D_l), the lowest first; labels int64 (B,); returns batch shape (..., B),
            event shape (C, H, W).
        """
        z = layers[0] if self.decoder_sees == "lowest" else torch.cat(list(layers), dim=-1)
        return self.likelihood(self.decoder(self.beside_latents(z, labels)))

    def prior_distribution(self) -> Distribution:
        """p(z_L), of the top layer: batch shape (), event shape (D_L,)."""
        return self.prior(self._encode_any)

    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        return self.decode(latents, labels)

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        def take(posterior: Distribution) -> tuple[Tensor, Tensor | None]:
            if len(posterior.batch_shape) == 1:  # the first layer drawn: (B,)
                return draw(posterior, num_samples)
            z, log_q = draw(posterior, 1)  # one for each sample of the layer before: (1, K, B, D)
            return z.squeeze(0), None if log_q is None else log_q.squeeze(0)

        return self._layers(x, labels, take)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        first = 0 if self.inference == "bottom_up" else -1
        return self._layers(x, labels, _centre)[first].posterior

    @torch.no_grad()
    def latent_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.cat([latent.z for latent in self._layers(x, labels, _centre)], dim=-1)

    @torch.no_grad()
    def sample_latents(self, num_images: int, temperature: float = 1.0) -> Tensor:
        layers = [tempered(self.prior_distribution(), temperature).sample((num_images,))]
        for layer in reversed(range(len(self.conditionals))):
            below = tempered(self._conditional(layer, layers[0]), temperature)
            layers.insert(0, below.sample())
        return torch.cat(layers, dim=-1)

    @torch.no_grad()
    def mean_images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(latents.split(self.latent_dims, dim=-1), labels).mean

    @torch.no_grad()
    def follow(self, latents: Tensor, moved: Sequence[int]) -> Tensor:
        """Let the layers below some dimensions follow them, to the centre of p(z_l|z_{l+1}).

        Args:
            latents: in the form of `latent_means`.
            moved: the dimensions; they stay as they are.

        Shape:
            latents (N, D); returns (N, D).
        """
        layers = list(latents.split(self.latent_dims, dim=-1))
        starts = [sum(self.latent_dims[:layer]) for layer in range(len(layers))]
        for layer in reversed(range(len(self.conditionals))):
            if max(moved) < starts[layer + 1]:
                continue
            followed = self._conditional(layer, layers[layer + 1]).mean.clone()
            for place in (dimension - starts[layer] for dimension in moved):
                if 0 <= place < self.latent_dims[layer]:
                    followed[:, place] = layers[layer][:, place]
            layers[layer] = followed
        return torch.cat(layers, dim=-1)

    def _layers(self, x: Tensor, labels: Tensor | None, take: Take) -> Sequence[Latent]:
        if self.inference == "bottom_up":
            return self._bottom_up(x, labels, take)
        return self._top_down(x, labels, take)

    def _bottom_up(self, x: Tensor, labels: Tensor | None, take: Take) -> Sequence[Latent]:
        features = self.encoder(self.beside_image(x, labels))
        taken: list[tuple[Distribution, Tensor, Tensor | None]] = []
        for layer, head in enumerate(self.posteriors):
            if layer > 0:
                features = self.up[layer - 1](taken[-1][1])
            posterior: Distribution = head(features)
            taken.append((posterior, *take(posterior)))
        priors: list[Distribution] = [
            MonteCarloKL(self._conditional(layer, z)) for layer, (_, z, _) in enumerate(taken[1:])
        ]
        priors.append(self.prior_distribution())
        return [
            Latent(z, posterior, prior, log_q)
            for (posterior, z, log_q), prior in zip(taken, priors, strict=True)
        ]

    def _top_down(self, x: Tensor, labels: Tensor | None, take: Take) -> Sequence[Latent]:
        features = self._features(x, labels)
        posterior: Distribution = self.posteriors[-1](features[-1])
        prior = self.prior_distribution()
        z, log_q = take(posterior)
        latents = [Latent(z, posterior, prior, log_q)]
        for layer in reversed(range(len(self.conditionals))):
            prior = self._conditional(layer, z)
            if self.inference == "ladder":
                posterior = product_of_normals(self.posteriors[layer](features[layer]), prior)
            else:
                above = self.down[layer](z)  # (K, B, F')
                own = features[layer].expand(*above.shape[:-1], -1)  # (K, B, F)
                posterior = self.posteriors[layer](torch.cat([own, above], dim=-1))
            z, log_q = take(posterior)
            latents.insert(0, Latent(z, posterior, prior, log_q))
        return latents

    def _features(self, x: Tensor, labels: Tensor | None) -> list[Tensor]:
        """h_1, ..., h_L, (B, F_l) each."""
        features = [self.encoder(self.beside_image(x, labels))]
        for network in self.up:
            features.append(network(features[-1]))
        return features

    def _conditional(self, layer: int, z: Tensor) -> Distribution:
        """p(z_l|z_{l+1}), from (..., D_{l+1}); layers are counted from 0."""
        return self.conditionals[layer](self.above[layer](z))

    def _encode_any(self, x: Tensor) -> Distribution:
        """q(z_L|x) of a prior's own images, which belong to no data."""
        labels = self.each_class_in_turn(len(x), x.device)
        return self.posteriors[-1](self._features(x, labels)[-1])


def _centre(posterior: Distribution) -> tuple[Tensor, None]:
    return posterior.mean, None
