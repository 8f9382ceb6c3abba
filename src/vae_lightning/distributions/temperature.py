"""Distributions drawn narrower than they are."""

from functools import singledispatch

from torch.distributions import Distribution, Independent, Normal

from vae_lightning.distributions.code_maps import AutoregressiveCodeMaps
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.utils.checks import positive


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    """A distribution to draw from at a temperature T: below 1, nearer to its modes.

    Normals have T times their scale, mixtures of them each component's; a flow pushes tempered
    noise; the logits of codes are divided by T.

    Shape:
        that of the distribution.

    Raises:
        ValueError: a temperature that is not above 0, or a distribution without a meaning for one.

    References:
        Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018.
    """
    positive("temperature", temperature)
    return distribution if temperature == 1 else _tempered(distribution, temperature)


@singledispatch
def _tempered(distribution: Distribution, temperature: float) -> Distribution:
    raise ValueError(
        f"temperature={temperature}: this model's prior, a {type(distribution).__name__}, is drawn "
        "from as it is: leave temperature=1"
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
def _(distribution: AutoregressiveCodeMaps, temperature: float) -> Distribution:
    return AutoregressiveCodeMaps(distribution.network, temperature)
