"""Inference of several stochastic layers, bottom up or top down.

Layers are counted from 0, the one nearest to the image. All lists hold one entry per layer, or one
per pair of adjacent layers.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.monte_carlo import MonteCarloKL
from vae_lightning.distributions.sampling import draw
from vae_lightning.models.trace import Latent

# Takes z from a posterior, with its log-density if that is known.
Take = Callable[[Distribution], tuple[Tensor, Tensor | None]]
# p(z_l|z_{l+1}), from l and z_{l+1}.
Conditional = Callable[[int, Tensor], Distribution]
# q(z_l|x, z_{l+1}), from l, z_{l+1} and p(z_l|z_{l+1}).
PosteriorBelow = Callable[[int, Tensor, Distribution], Distribution]


def take_samples(num_samples: int) -> Take:
    """Take K reparameterised samples of the layer drawn first, and one of the others for each."""

    def take(posterior: Distribution) -> tuple[Tensor, Tensor | None]:
        if len(posterior.batch_shape) == 1:  # drawn first: (B,)
            return draw(posterior, num_samples)
        z, log_q = draw(posterior, 1)  # given K samples of the layer before: (1, K, B, D)
        return z.squeeze(0), None if log_q is None else log_q.squeeze(0)

    return take


def take_mean(posterior: Distribution) -> tuple[Tensor, None]:
    """Take the posterior's mean."""
    return posterior.mean, None


def infer_bottom_up(
    features: Tensor,
    up: nn.ModuleList,
    heads: nn.ModuleList,
    conditional: Conditional,
    prior: Callable[[], Distribution],
    take: Take,
) -> list[Latent]:
    r"""Infer each layer from the one below it.

    .. math:: q(z_1|x) \prod_{l>1} q(z_l|z_{l-1})

    Args:
        features: of the image.
        up: networks from z_l to features for the layer above.
        heads: from features to the posterior of each layer.
        conditional: makes p(z_l|z_{l+1}).
        prior: makes p(z_L).
        take: z from each posterior.
    """
    posteriors: list[Distribution] = []
    taken: list[tuple[Tensor, Tensor | None]] = []
    for layer, head in enumerate(heads):
        if layer > 0:
            features = up[layer - 1](taken[-1][0])
        posteriors.append(head(features))
        taken.append(take(posteriors[-1]))
    priors: list[Distribution] = [
        MonteCarloKL(conditional(layer, z)) for layer, (z, _) in enumerate(taken[1:])
    ]
    priors.append(prior())
    return [
        Latent(z, posterior, layer_prior, log_q)
        for (z, log_q), posterior, layer_prior in zip(taken, posteriors, priors, strict=True)
    ]


def infer_top_down(
    top: Distribution,
    prior: Distribution,
    posterior_below: PosteriorBelow,
    conditional: Conditional,
    num_layers: int,
    take: Take,
) -> list[Latent]:
    r"""Infer each layer from the image and the layer above it.

    .. math:: q(z_L|x) \prod_{l<L} q(z_l|x, z_{l+1})

    Args:
        top: q(z_L|x).
        prior: p(z_L).
        posterior_below: makes q(z_l|x, z_{l+1}).
        conditional: makes p(z_l|z_{l+1}).
        num_layers: L.
        take: z from each posterior.
    """
    z, log_q = take(top)
    latents = [Latent(z, top, prior, log_q)]
    for layer in reversed(range(num_layers - 1)):
        layer_prior = conditional(layer, z)
        posterior = posterior_below(layer, z, layer_prior)
        z, log_q = take(posterior)
        latents.insert(0, Latent(z, posterior, layer_prior, log_q))
    return latents
