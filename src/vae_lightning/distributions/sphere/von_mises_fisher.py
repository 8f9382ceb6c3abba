"""The von Mises-Fisher distribution, the analogue on the sphere of the normal distribution."""

import functools
import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Size, Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.distributions.sphere.bessel import bessel

# Quadrature for the gradient of the angle: number of nodes, and range in widths of the density.
_NODES = 32
_RANGE = 8.0


class VonMisesFisher(Distribution):
    r"""The von Mises-Fisher distribution: unit vectors around a mean direction.

    .. math:: q(z) = \frac{\exp(\kappa \mu^\top z)}{S_D \, c_D(\kappa)}, \quad
        c_D(\kappa) = \frac{\Gamma(v + 1) \, I_v(\kappa)}{(\kappa / 2)^v}, \quad v = D / 2 - 1

    with the area of the sphere,

    .. math:: S_D = \frac{2 \pi^{D / 2}}{\Gamma(D / 2)}

    At concentration 0 it is uniform. Samples are reparameterised: a sample rotates with the
    direction, and the derivative of its angle to the direction with respect to the concentration
    follows by implicit differentiation of the distribution function. This gradient is unbiased, and
    independent of the rejection sampler.

    Args:
        direction: mu, of length 1.
        concentration: kappa, at least 0.

    Shape:
        direction (..., D), D at least 2; concentration (...); batch shape (...), event shape (D,).

    References:
        Mardia and Jupp, "Directional Statistics", 2000.
        Davidson, Falorsi, De Cao, Kipf and Tomczak, "Hyperspherical Variational Auto-Encoders",
        2018. https://arxiv.org/abs/1804.00891
        Figurnov, Mohamed and Mnih, "Implicit Reparameterization Gradients", 2018.
        https://arxiv.org/abs/1805.08498
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, direction: Tensor, concentration: Tensor) -> None:
        self.direction = direction
        self.concentration = concentration
        batch_shape, event_shape = concentration.shape, direction.shape[-1:]
        super().__init__(batch_shape, event_shape, validate_args=False)
        self.dimensions = event_shape[0]

    @functools.cached_property
    def _bessel(self) -> tuple[Tensor, Tensor]:
        """Log c(kappa) - kappa, and A(kappa), both (...)."""
        return bessel(self.dimensions / 2 - 1, self.concentration)

    @property
    def resultant_length(self) -> Tensor:
        """A(kappa), the length of the mean vector and derivative of log c: (...), in [0, 1]."""
        return self._bessel[1]

    @property
    def mean(self) -> Tensor:
        """The mean vector, A(kappa) mu, (..., D); it is inside the sphere."""
        return self.resultant_length.unsqueeze(-1) * self.direction

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density with respect to area, of unit vectors (..., D), for each of the batch."""
        cosine = (self.direction * value).sum(-1)
        scaled = self._bessel[0] + log_area(self.dimensions)
        return self.concentration * (cosine - 1) - scaled

    def rate_to_uniform(self) -> Tensor:
        r"""KL divergence from the uniform distribution, (...), in nats.

        .. math:: \kappa A(\kappa) - \log c_D(\kappa)
        """
        log_scaled, ratio = self._bessel
        return self.concentration * (ratio - 1) - log_scaled

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw reparameterised samples, (*sample_shape, ..., D)."""
        shape = Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            angle = _draw_angles(self.concentration, self.dimensions, Size(sample_shape).numel())
            angle = angle.movedim(-1, 0).reshape(shape)
            noise = torch.randn(
                *shape, self.dimensions, dtype=angle.dtype, device=self.direction.device
            )
            orthogonal = F.normalize(noise - _along(noise, self.direction), dim=-1)
        angle = _Angle.apply(angle, self.concentration, self.dimensions).unsqueeze(-1)
        # This changes the gradient only: when the direction turns, the sample turns with it.
        orthogonal = orthogonal - _along(orthogonal, self.direction)
        return torch.cos(angle) * self.direction + torch.sin(angle) * orthogonal


def log_area(dimensions: int) -> float:
    """The logarithm of the area of the unit sphere in a space with this number of dimensions."""
    half = dimensions / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def _along(vectors: Tensor, direction: Tensor) -> Tensor:
    return (vectors * direction).sum(-1, keepdim=True) * direction


def _draw_angles(concentration: Tensor, dimensions: int, count: int) -> Tensor:
    r"""Draw angles to the mean direction: (...) gives (..., count).

    By rejection sampling, without a loop. Proposals are uniform on the sphere, and then contracted:

    .. math:: \tan(\theta / 2) = \sqrt{b} \, \tan(\theta_0 / 2)

    with b as in Ulrich. The acceptance rate is at least 65 % for any concentration and dimension.
    With the number of proposals used, fewer than `count` are accepted with a probability below
    1e-12; the last proposal would then be used in their place.

    References:
        Ulrich, "Computer Generation of Distributions on the M-Sphere", 1984.
        Wood, "Simulation of the von Mises Fisher Distribution", 1994.
    """
    kappa = concentration.unsqueeze(-1)
    proposals = 2 * count + 40
    uniform, turn, height = torch.rand(
        3, *concentration.shape, proposals, dtype=kappa.dtype, device=kappa.device
    )
    # `below` and `above` are one minus and one plus a coordinate of a uniform unit vector, without
    # cancellation. In two dimensions, `left` is 0.
    power = 2 / (dimensions - 2) if dimensions > 2 else math.inf
    exponent = power * torch.log(uniform)
    left = torch.exp(exponent) / (1 + torch.sqrt(-torch.expm1(exponent)))
    half = math.pi * turn
    below = left + 2 * (1 - left) * torch.sin(half).square()
    above = left + 2 * (1 - left) * torch.cos(half).square()

    degree = dimensions - 1
    b = degree / (2 * kappa + torch.hypot(2 * kappa, torch.full_like(kappa, degree)))
    drop = 2 * b * below / (above + b * below)  # one minus the cosine of the angle
    log_ratio = kappa * (2 * b / (1 + b) - drop) + degree * torch.log(
        (2 * b + (1 - b) * drop) * (1 + b) / (4 * b)
    )
    accepted = torch.log(height) <= log_ratio
    angles = 2 * torch.atan2(torch.sqrt(b * below), torch.sqrt(above))

    rank = accepted.cumsum(-1)
    ranks = torch.arange(1, count + 1, device=kappa.device).expand(*concentration.shape, -1)
    index = torch.searchsorted(rank, ranks.contiguous()).clamp_max(proposals - 1)
    return angles.gather(-1, index)


class _Angle(torch.autograd.Function):
    r"""The identity for angles, with their implicit derivative with respect to the concentration.

    The angle's density is, up to a constant,

    .. math:: f(\theta) = e^{\kappa \cos \theta} \sin^{D - 2} \theta

    and for a constant value of its distribution function,

    .. math:: \frac{d \theta}{d \kappa}
        = \int_0^\theta (A - \cos \phi) \, \frac{f(\phi)}{f(\theta)} \, d \phi
        = -\int_\theta^\pi (A - \cos \phi) \, \frac{f(\phi)}{f(\theta)} \, d \phi

    Of the two integrals, the one whose integrand has a single sign is used.
    """

    @staticmethod
    def forward(ctx: Any, angle: Tensor, concentration: Tensor, dimensions: int) -> Tensor:
        ctx.dimensions = dimensions
        ctx.save_for_backward(angle, concentration)
        return angle.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        angle, kappa = ctx.saved_tensors
        slope = _angle_slope(angle, kappa, ctx.dimensions)
        return None, (gradient * slope).sum_to_size(kappa.shape), None


def _angle_slope(angle: Tensor, kappa: Tensor, dimensions: int) -> Tensor:
    """The derivative of angles (*sample_shape, ...) with respect to the concentration (...)."""
    _, resultant = bessel(dimensions / 2 - 1, kappa)
    free = dimensions - 2
    # An upper bound of the width of the density at its mode.
    width = torch.rsqrt((free + torch.hypot(2 * kappa, torch.full_like(kappa, free))) / 2)
    is_near = torch.cos(angle) > resultant
    limit = torch.where(is_near, angle, math.pi - angle)
    length = torch.minimum(limit, _RANGE * width)
    nodes, weights = _gauss_legendre(angle.dtype, angle.device)
    side = torch.where(is_near, -1.0, 1.0).to(angle)
    angle, length, side = (value.unsqueeze(-1) for value in (angle, length, side))
    step = length * nodes
    at = angle + side * step  # (*sample_shape, ..., nodes)
    log_density = (
        2 * kappa.unsqueeze(-1) * torch.sin(angle + side * step / 2) * torch.sin(-side * step / 2)
    )
    if free:
        tiny = torch.finfo(angle.dtype).tiny
        sines = torch.sin(at).clamp_min(tiny) / torch.sin(angle).clamp_min(tiny)
        log_density = log_density + free * torch.log(sines)
    excess = 2 * torch.sin(at / 2).square() - (1 - resultant).unsqueeze(-1)  # A - cos
    return -(side * length * weights * excess * log_density.exp()).sum(-1)


@functools.cache
def _gauss_legendre(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]; cached, since a copy to a GPU synchronises with the CPU."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (
        torch.tensor((nodes + 1) / 2, dtype=dtype, device=device),
        torch.tensor(weights / 2, dtype=dtype, device=device),
    )
