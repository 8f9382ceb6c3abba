"""The importance-weighted bound (IWAE), its gradient estimators, and combinations of bounds."""

import math
from typing import Any, Literal

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

# Minimum of a sample's coefficient in the decoder's gradient, which is divided by: below the
# precision of a sum of the coefficients, and far above underflow.
_MIN_COEFFICIENT = 1e-20

# The settings for which the gradients of samples are not rescaled.
_STANDARD = "objective.gradient=standard and objective.encoder_groups=null"


class ImportanceWeighted(Objective):
    r"""Minus an importance-weighted bound on log p(x), averaged over images (IWAE).

    The K samples are divided into M groups. With :math:`w_s = p(x, z_s) / q(z_s|x)`,

    .. math:: \mathcal{L} = -\mathbb{E}_{z_1 \dots z_K \sim q(z|x)} \Big[
              \frac{\lambda}{K} \sum_s \log w_s + \frac{1 - \lambda}{M} \sum_{m=1}^M
              \log \frac{M}{K} \sum_{s \in m} w_s \Big]

    One group and lambda = 0 give IWAE, several groups MIWAE, lambda > 0 CIWAE, and another number
    of groups for the encoder PIWAE. With as many groups as samples, or lambda = 1, it is the ELBO
    with a rate that is estimated from the samples.

    Let :math:`v_s` be the weights normalised within each group. The gradient is
    :math:`\nabla \mathcal{L} = -\sum_s c_s \nabla \log w_s` with the coefficients
    :math:`c_s = \lambda / K + (1 - \lambda) v_s / M`. For the encoder it has two terms, one through
    the sample and one through the parameters of q at a fixed sample:

    .. math:: \nabla_\phi \log w_s = \frac{\partial \log w_s}{\partial z_s}
              \frac{\partial z_s}{\partial \phi}
              - \frac{\partial \log q_\phi(z_s|x)}{\partial \phi}

    `standard` uses both. The second has expectation zero if the coefficients do not depend on the
    samples. `sticking_the_landing` omits it, so that the variance vanishes as q approaches the true
    posterior; in groups of several samples, where the coefficients depend on the samples, the
    estimate is biased. Reparameterising the second term once more turns it into
    :math:`\sum_s (v_s^2 - v_s)\, \partial_z \log w_s\, \partial_\phi z_s`. Added to the first
    term, only the squares remain: `dreg`, the doubly reparameterised gradient, is unbiased and has
    the coefficients :math:`\lambda / K + (1 - \lambda) v_s^2 / M`, through the sample only.
    Parameters that are not part of q and influence the loss other than through the samples have
    the coefficients c; the prior is among them, also a mixture of posteriors.

    Args:
        num_samples: K, total number of posterior samples.
        gradient: the estimator of the encoder's gradient.
        groups: M, number of bounds with K/M samples each.
        encoder_groups: M for the encoder's gradient; None for `groups`. The value of the loss and
            the decoder's gradient always use `groups`.
        elbo_weight: lambda, weight of the ELBO in the bound.
        schedule: factor of `num_samples` at each training step, rounded to a multiple of the
            groups. Fewer samples at first leave time for more epochs.

    Raises:
        ValueError: `num_samples` below 1, groups that do not divide it, or `elbo_weight` not in
            [0, 1].

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        https://arxiv.org/abs/1509.00519
        Roeder, Wu and Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators
        for Variational Inference", 2017. https://arxiv.org/abs/1703.09194
        Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh, "Tighter Variational Bounds are Not
        Necessarily Better", 2018 (MIWAE, PIWAE, CIWAE). https://arxiv.org/abs/1802.04537
        Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte
        Carlo Objectives", 2019. https://arxiv.org/abs/1810.04152

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((50,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(50, 8, 1, 28, 28), 1.0), 3))
        >>> from vae_lightning.objectives.schedules import Constant
        >>> objective = ImportanceWeighted(
        ...     num_samples=50,
        ...     gradient="dreg",
        ...     groups=1,
        ...     encoder_groups=None,
        ...     elbo_weight=0.0,
        ...     schedule=Constant(),
        ... )
        >>> loss, parts = objective(trace, step=0)
        >>> loss.shape
        torch.Size([])
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
            # Each sample influences the losses of others, which have other coefficients.
            raise ValueError(
                f"{self._scaling_setting()} does not go with a decoder that is batch-normalised: "
                f"choose model.decoder.batch_norm=false, or {_STANDARD}"
            )
        if (
            isinstance(model.likelihood, NormalLearned)
            and model.likelihood.scale == "optimal"
            and self.num_samples > self.groups
        ):
            raise ValueError(
                "scale=optimal assumes samples of equal weight, which importance-weighted ones do "
                "not have: choose model.likelihood.scale=learned, or objective=elbo"
            )

    def samples_at(self, step: int) -> int:
        unit = math.lcm(self.groups, self.encoder_groups)
        return unit * max(1, round(self.schedule.at(step) * self.num_samples / unit))

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        if not (purpose := self._scaling_setting()):
            return -self._bound(trace.log_weight).mean(), {}
        latent = require_single_layer(trace, purpose, _STANDARD)
        if trace.auxiliary:
            # The gradient of z is rescaled, and would be for these losses as well.
            names = ", ".join(trace.auxiliary)
            raise ValueError(
                f"{purpose} does not go with auxiliary losses of the model ({names}): "
                f"choose {_STANDARD}"
            )
        return self._with_coefficients(trace, latent), {}

    def _scaling_setting(self) -> str:
        """The setting for which the gradient of each sample is rescaled, or an empty string."""
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

    def _with_coefficients(self, trace: Trace, latent: Latent) -> Tensor:
        """The value of the bound, with the gradient of the chosen estimator."""
        # Not the density that was returned with z: its graph does not contain z.
        log_q = latent.posterior.log_prob(latent.z)  # (K, B)
        log_weight = trace.log_likelihood + latent.log_p - log_q
        known = log_weight.detach()
        coefficients = self._coefficients(known, self.groups, 1).clamp_min(_MIN_COEFFICIENT)
        through_z = self._coefficients(
            known, self.encoder_groups, 2 if self.gradient == "dreg" else 1
        )
        # In the surrogate the parameters of log q have `coefficients`; this term corrects them.
        direct = through_z if self.gradient == "standard" else torch.zeros_like(coefficients)
        at_fixed_z = latent.posterior.log_prob(latent.z.detach())
        surrogate = ((direct - coefficients) * at_fixed_z - coefficients * log_weight).sum(0).mean()
        loss = surrogate - surrogate.detach() - self._bound(known).mean()
        if not latent.z.requires_grad:
            return loss
        ratio = (through_z / coefficients).reshape(*coefficients.shape, *[1] * (latent.z.dim() - 2))
        return _WithScaledGradient.apply(loss, (latent.z,), ratio)

    def _coefficients(self, log_weight: Tensor, groups: int, power: int) -> Tensor:
        """Coefficients of the samples, (K, B), with the normalised weights raised to a power."""
        grouped = log_weight.unflatten(0, (groups, -1))  # (M, K/M, B)
        normalised = grouped.softmax(1).flatten(0, 1)
        in_bound = normalised**power * ((1 - self.elbo_weight) / groups)
        return in_bound + self.elbo_weight / len(log_weight)


class _WithScaledGradient(torch.autograd.Function):
    """The identity of a loss, which scales the gradient of z while it is differentiated.

    A hook that stays on z would scale the gradients of every other loss of the same trace.
    """

    @staticmethod
    def forward(ctx: Any, loss: Tensor, z: tuple[Tensor], ratio: Tensor) -> Tensor:
        # In a tuple, so that z is no input.
        (ctx.z,) = z
        ctx.ratio = ratio
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        hooks = (ctx.z._backward_hooks or {}).values()
        if any(isinstance(hook, _Scale) for hook in hooks):
            raise RuntimeError(
                "two losses of one trace scale the gradient of the same samples: call backward for "
                "each of them, and not for their sum"
            )
        handle = ctx.z.register_hook(_Scale(ctx.ratio))
        # At the end of this backward pass, whether it came to z or not.
        torch.autograd.Variable._execution_engine.queue_callback(handle.remove)
        return gradient, None, None


class _Scale:
    """A hook that multiplies a gradient by a ratio."""

    def __init__(self, ratio: Tensor) -> None:
        self.ratio = ratio

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient * self.ratio
