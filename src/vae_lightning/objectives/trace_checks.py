"""Checks of a trace for objectives; the messages name options that fit."""

from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables
from vae_lightning.distributions.kl import independent_dimensions
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.sphere.von_mises_fisher import VonMisesFisher
from vae_lightning.models.trace import Latent, Trace


def require_density(trace: Trace) -> None:
    """Check that the posteriors have densities, without which there is no bound.

    Raises:
        ValueError: one is a point mass.
    """
    if any(isinstance(latent.posterior, PointMass) for latent in trace.latents):
        without = ""
        if len(trace.latents) == 1 and not _is_learned(trace.latents[0]):
            without = ", or objective=autoencoder, or objective=mmd with objective.rate_weight=0"
        raise ValueError(
            "a deterministic posterior has no density, so there is no bound on log p(x): "
            f"choose model/posterior=diagonal_normal{without}"
        )


def require_fixed_prior(latent: Latent, purpose: str, instead: str = "") -> None:
    """Check that the prior has no parameters, for an objective that does not train it.

    Args:
        latent: the layer.
        purpose: subject and verb of the message, such as "an autoencoder does not train".
        instead: another setting for the message to name.

    Raises:
        ValueError: the prior is learned.
    """
    if not _is_learned(latent):
        return
    if not latent.z.is_floating_point():  # a codebook has no other prior
        raise ValueError(f"{purpose} a prior that is learned: choose model=vae, or objective=elbo")
    fixed = "standard_normal"
    if isinstance(latent.posterior, VonMisesFisher):
        fixed = "uniform_sphere"
    elif isinstance(latent.posterior, CategoricalVariables):
        fixed = "uniform_categorical"
    raise ValueError(f"{purpose} a prior that is learned: choose model/prior={fixed}{instead}")


def _is_learned(latent: Latent) -> bool:
    return latent.prior.log_prob(latent.z.detach()).requires_grad


def require_vectors(latent: Latent, purpose: str) -> None:
    """Check that latents are vectors, and not the indices of a codebook.

    Args:
        latent: the layer.
        purpose: what needs vectors, as the subject of the message.

    Raises:
        ValueError: the latents are codes.
    """
    if not latent.z.is_floating_point():
        raise ValueError(f"{purpose} needs vectors, not codes: choose model=vae, or objective=elbo")


def require_single_layer(trace: Trace, purpose: str, instead: str = "objective=elbo") -> Latent:
    """Return the stochastic layer of a model, which must have exactly one.

    Args:
        trace: of the model.
        purpose: what needs a single layer, as the subject of the message.
        instead: a setting for the message to name, with which there may be several.

    Raises:
        ValueError: there are several layers.
    """
    if len(trace.latents) != 1:
        raise ValueError(
            f"{purpose} is defined for one stochastic layer, not {len(trace.latents)}: "
            f"choose model=vae, or {instead}"
        )
    return trace.latents[0]


def require_independent_dimensions(distribution: Distribution, part: str) -> Distribution:
    """Return the distribution of each latent dimension, which must be independent.

    Args:
        distribution: of event shape (D,).
        part: `posterior` or `prior`, for the message.

    Shape:
        returns batch shape (*batch, D), event shape ().

    Raises:
        ValueError: the dimensions are dependent.
    """
    if (base := independent_dimensions(distribution)) is not None:
        return base
    usual = {"posterior": "diagonal_normal", "prior": "standard_normal"}[part]
    raise ValueError(
        f"the objective needs a {part} with independent dimensions: choose "
        f"model/{part}={usual}, or objective=elbo"
    )
