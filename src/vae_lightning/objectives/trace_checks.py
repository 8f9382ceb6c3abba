"""What an objective can ask of a trace; each refusal says what would do instead."""

from torch.distributions import Distribution

from vae_lightning.distributions.kl import independent_dimensions
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.models.trace import Latent, Trace


def require_density(trace: Trace) -> None:
    """Check that the posteriors have densities, without which there is no rate and no bound.

    Raises:
        ValueError: one is a point mass.
    """
    if any(isinstance(latent.posterior, PointMass) for latent in trace.latents):
        without = "objective=autoencoder, objective=mmd with objective.rate_weight=0, or another "
        raise ValueError(
            "a deterministic posterior has no density, so that there is no bound on log p(x): "
            f"choose {without if len(trace.latents) == 1 else 'another '}model/posterior"
        )


def require_fixed_prior(latent: Latent, purpose: str, instead: str = "") -> None:
    """Check that the prior has nothing to learn, for an objective that would not teach it.

    Args:
        latent: the layer.
        purpose: what would not teach it, as the beginning of a sentence, and the verb.
        instead: a setting that would teach it.

    Raises:
        ValueError: it has.
    """
    if latent.prior.log_prob(latent.z.detach()).requires_grad:
        raise ValueError(
            f"{purpose} a prior that is learned: choose model/prior=standard_normal{instead}"
        )


def require_vectors(latent: Latent, purpose: str) -> None:
    """Check that latents are vectors, and not the codes of a codebook.

    Args:
        latent: the layer.
        purpose: what compares them, as the beginning of a sentence.

    Raises:
        ValueError: they are codes, whose numbers mean nothing.
    """
    if not latent.z.is_floating_point():
        raise ValueError(f"{purpose} needs vectors, not codes: choose model=vae, or objective=elbo")


def require_single_layer(trace: Trace, purpose: str) -> Latent:
    """The one stochastic layer of a model that has no more.

    Args:
        trace: of the model.
        purpose: what needs it to be one, as the beginning of a sentence.

    Raises:
        ValueError: there are several.
    """
    if len(trace.latents) != 1:
        raise ValueError(
            f"{purpose} is defined for one stochastic layer, not {len(trace.latents)}: "
            "choose model=vae, or objective=elbo"
        )
    return trace.latents[0]


def require_independent_dimensions(distribution: Distribution, place: str) -> Distribution:
    """The dimensions' own distributions, where they are independent.

    Args:
        distribution: of event shape (D,).
        place: `posterior` or `prior`, for the message.

    Shape:
        returns batch shape (*batch, D), event shape ().

    Raises:
        ValueError: they are not independent.
    """
    if (base := independent_dimensions(distribution)) is not None:
        return base
    usual = {"posterior": "diagonal_normal", "prior": "standard_normal"}[place]
    raise ValueError(
        f"the objective needs a {place} with independent dimensions: choose "
        f"model/{place}={usual}, or objective=elbo"
    )
