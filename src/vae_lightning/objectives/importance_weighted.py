"""The importance-weighted bound, its gradient estimators and its compounds with looser bounds."""

import math
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.distributions.likelihoods.normal_learned import NormalLearned
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.networks.layers import BatchNorm
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.schedules import Schedule
from vae_lightning.objectives.trace_checks import require_density, require_single_layer
from vae_lightning.utils.checks import at_least, fraction

# Of a sample's share in the decoder's gradient: below what either float type resolves beside the
# other shares, far above what is lost when it is multiplied in and divided out again.
_LEAST_SHARE = 1e-20


class ImportanceWeighted(Objective):
    r"""Minus an importance-weighted bound on log p(x), averaged over images.

    The K samples are dealt into M groups. With :math:`w_s = p(x, z_s) / q(z_s|x)`,

    .. math:: \mathcal{L} = -\mathbb{E}_{z_1 \dots z_K \sim q(z|x)} \Big[
              \frac{\lambda}{K} \sum_s \log w_s + \frac{1 - \lambda}{M} \sum_{m=1}^M
              \log \frac{M}{K} \sum_{s \in m} w_s \Big]

    One group and no weight of the ELBO give IWAE, several groups MIWAE, a weight CIWAE, and other
    groups for the encoder PIWAE. With as many groups as samples, or lambda = 1, it is the ELBO, its
    rate estimated from the samples.

    The gradient is taken by shares. Let :math:`v_s` be the weights normalised within each group.
    Then :math:`\nabla \mathcal{L} = -\sum_s c_s \nabla \log w_s` with the share
    :math:`c_s = \lambda / K + (1 - \lambda) v_s / M`. The encoder's part of it falls in two:
    through the sample, and through the parameters of q at a fixed sample,

    .. math:: \nabla_\phi \log w_s = \frac{\partial \log w_s}{\partial z_s}
              \frac{\partial z_s}{\partial \phi}
              - \frac{\partial \log q_\phi(z_s|x)}{\partial \phi}

    `standard` takes both. The expectation of the second is zero where the shares do not depend on
    the samples; `sticking_the_landing` leaves it out, so that the noise vanishes as q comes to be
    the true posterior. In a group of several samples the shares do depend on them, and what is
    left out is not zero: the estimate is biased. Reparameterising that part a second time makes it
    :math:`\sum_s (v_s^2 - v_s)\, \partial_z \log w_s\, \partial_\phi z_s`, which added to the first
    part leaves the squares: `dreg`, the doubly reparameterised gradient, unbiased, its shares
    :math:`\lambda / K + (1 - \lambda) v_s^2 / M` through the sample alone. What is not part of q
    and reaches the loss otherwise than through the samples, a prior made of posteriors too, takes
    its gradient by the shares c.

    Args:
        num_samples: K, how many posterior samples in all.
        gradient: how the encoder's gradient is estimated.
        groups: M, into how many bounds of K/M samples each the samples are dealt.
        encoder_groups: M in the encoder's gradient, where it is to be another; the value of the
            loss and the decoder's gradient are those of `groups`.
        elbo_weight: lambda, share of the ELBO in the bound.
        schedule: by what `num_samples` is multiplied at each step of training, rounded to a number
            that the groups divide. Fewer samples early on leave time for more epochs.

    Raises:
        ValueError: `num_samples` below 1, groups that do not divide it, or `elbo_weight` not in
            [0, 1].

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        Roeder, Wu and Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators
        for Variational Inference", 2017.
        Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh, "Tighter Variational Bounds are Not
        Necessarily Better", 2018 (MIWAE, PIWAE, CIWAE).
        Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte
        Carlo Objectives", 2019.
    """

    def __init__(
        self,
        num_samples: int,
        gradient: Literal["standard", "dreg", "sticking_the_landing"],
        groups: int,
        encoder_groups: int | None,
        elbo_weight: float,
        schedule: Schedule,
    ) -> None:
        super().__init__(num_samples)
        for name, count in (("groups", groups), ("encoder_groups", encoder_groups)):
            if count is None:
                continue
            at_least(name, count, 1)
            if num_samples % count:
                raise ValueError(f"{name}={count} must divide num_samples={num_samples}")
        fraction("elbo_weight", elbo_weight)
        self.gradient = gradient
        self.groups = groups
        self.encoder_groups = groups if encoder_groups is None else encoder_groups
        self.elbo_weight = elbo_weight
        self.schedule = schedule

    def check_model(self, model: Model) -> None:
        for part in model.modules():
            if isinstance(part, Posterior):
                part.check_scored("importance weights")
        if self._scaling_setting() and any(
            isinstance(part, BatchNorm) for part in model.decoder.modules()
        ):
            # A sample reaches the losses of others, whose shares its gradient must not have.
            raise ValueError(
                f"{self._scaling_setting()} does not go with a decoder that is batch-normalised: "
                "choose model.decoder.batch_norm=false, or gradient=standard and "
                "encoder_groups=null"
            )
        if (
            isinstance(model.likelihood, NormalLearned)
            and model.likelihood.scale == "optimal"
            and self.num_samples > self.groups
        ):
            raise ValueError(
                "scale=optimal fits samples that count alike, which importance-weighted ones do "
                "not: choose model.likelihood.scale=learned, or objective=elbo"
            )

    def samples_at(self, step: int) -> int:
        unit = math.lcm(self.groups, self.encoder_groups)
        return unit * max(1, round(self.schedule.at(step) * self.num_samples / unit))

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        if not (purpose := self._scaling_setting()):
            return -self._bound(trace.log_weight).mean(), {}
        latent = require_single_layer(trace, purpose)
        if trace.auxiliary:
            # What is done to the gradient of z would be done to theirs.
            raise ValueError(
                f"{purpose} does not go with a model's own losses ({', '.join(trace.auxiliary)}): "
                "set gradient=standard and encoder_groups=null"
            )
        return self._by_shares(trace, latent), {}

    def _scaling_setting(self) -> str:
        """The setting for which the gradient of each sample is scaled; none if it is not."""
        if self.gradient != "standard":
            return f"gradient={self.gradient}"
        return "encoder_groups" if self.encoder_groups != self.groups else ""

    def _bound(self, log_weight: Tensor) -> Tensor:
        """The bound for each image, (B,), of log-weights (K, B)."""
        if self.groups == 1:
            bound = log_weight.logsumexp(0) - math.log(len(log_weight))
        else:
            grouped = log_weight.unflatten(0, (self.groups, -1))  # (M, K/M, B)
            bound = grouped.logsumexp(1).mean(0) - math.log(len(log_weight) / self.groups)
        if not self.elbo_weight:
            return bound
        return self.elbo_weight * log_weight.mean(0) + (1 - self.elbo_weight) * bound

    def _by_shares(self, trace: Trace, latent: Latent) -> Tensor:
        """The value of the bound, with the gradient that the estimator says."""
        # Not the density that came with a sample: that one does not depend on z as a tensor.
        log_q = latent.posterior.log_prob(latent.z)  # (K, B)
        log_weight = trace.log_likelihood + latent.log_p - log_q
        known = log_weight.detach()
        shares = self._shares(known, self.groups, 1).clamp_min(_LEAST_SHARE)
        through_z = self._shares(known, self.encoder_groups, 2 if self.gradient == "dreg" else 1)
        if latent.z.requires_grad:
            ratio = (through_z / shares).reshape(*shares.shape, *[1] * (latent.z.dim() - 2))
            latent.z.register_hook(lambda gradient: gradient * ratio)
        # Of log q's own parameters the surrogate takes `shares`, whatever they ought to have.
        direct = through_z if self.gradient == "standard" else torch.zeros_like(shares)
        at_fixed_z = latent.posterior.log_prob(latent.z.detach())
        surrogate = ((direct - shares) * at_fixed_z - shares * log_weight).sum(0).mean()
        return surrogate - surrogate.detach() - self._bound(known).mean()

    def _shares(self, log_weight: Tensor, groups: int, power: int) -> Tensor:
        """Each sample's share, (K, B), in a gradient with weights of some power in each group."""
        grouped = log_weight.unflatten(0, (groups, -1))  # (M, K/M, B)
        normalised = grouped.softmax(1).flatten(0, 1)
        in_bound = normalised**power * ((1 - self.elbo_weight) / groups)
        return in_bound + self.elbo_weight / len(log_weight)
