"""Sampling at a temperature."""

from functools import singledispatch

from torch.distributions import Distribution, Independent, Normal

from vae_lightning.distributions.codes import AutoregressiveCodes
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.utils.checks import positive


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    """The distribution at a temperature T. Below 1, samples are closer to its modes.

    T multiplies the scale of a normal, of each component of a mixture, and of the base of a flow;
    the logits of codes are divided by it.

    Shape:
        that of the distribution.

    Raises:
        ValueError: the temperature is not a finite number above 0, or not defined for the
            distribution.

    References:
        Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018.
        https://arxiv.org/abs/1807.03039

    Example:
        >>> import torch
        >>> from torch.distributions import Normal
        >>> tempered(Normal(torch.zeros(2), torch.ones(2)), 0.5).scale
        tensor([0.5000, 0.5000])
    """
    positive("temperature", temperature)
    return distribution if temperature == 1 else _tempered(distribution, temperature)


@singledispatch
def _tempered(distribution: Distribution, temperature: float) -> Distribution:
    raise ValueError(
        f"temperature={temperature} is not defined for this model's prior, a "
        f"{type(distribution).__name__}: leave temperature=1"
    )


@_tempered.register
def _(distribution: Independent, temperature: float) -> Distribution:
    base = _tempered(distribution.base_dist, temperature)
    return Independent(base, distribution.reinterpreted_batch_ndims, validate_args=False)


@_tempered.register
def _(distribution: Normal, temperature: float) -> Distribution:
    return Normal(distribution.loc, temperature * distribution.scale, validate_args=False)


@_tempered.register
def _(distribution: NormalMixture, temperature: float) -> Distribution:
    scales = temperature * distribution.scales
    return NormalMixture(distribution.log_weights, distribution.means, scales)


@_tempered.register
def _(distribution: FlowDistribution, temperature: float) -> Distribution:
    return FlowDistribution(_tempered(distribution.base, temperature), distribution.transform)


@_tempered.register
def _(distribution: AutoregressiveCodes, temperature: float) -> Distribution:
    return AutoregressiveCodes(distribution.network, temperature)
