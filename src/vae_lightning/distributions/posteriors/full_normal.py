"""The normal posterior with a full covariance matrix."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    register_kl,
)

from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.utils.precision import at_least_float32


@register_kl(MultivariateNormal, Independent)
def _kl_full_normal_diagonal_normal(q: MultivariateNormal, p: Independent) -> Tensor:
    # Torch's formula for two full normals solves a triangular system for each image, which takes
    # over 10 % of a training step with 20 latent dimensions.
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    scale = p.stddev
    factor = q._unbroadcasted_scale_tril / scale.unsqueeze(-1)
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    squares = factor.square().sum((-2, -1)) + ((q.loc - p.mean) / scale).square().sum(-1)
    return 0.5 * (squares - q.event_shape[0]) - log_determinant


class FullNormal(Posterior):
    r"""A normal distribution with a full covariance matrix.

    .. math:: q(z|x) = \mathcal{N}(z \mid \mu(x), L(x) L(x)^\top), \quad
        L = \mathrm{diag}(\sigma) \, (I + \Lambda / \sqrt{D})

    with a strictly lower triangular matrix :math:`\Lambda`. The factor :math:`1 / \sqrt{D}` keeps
    the covariances of an untrained model small for any D.

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, number of latent dimensions; the layer has D(D-1)/2 + 2D outputs.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016
        (section 3.2 and appendix: a linear autoregressive step). https://arxiv.org/abs/1606.04934

    Example:
        >>> import torch
        >>> posterior = FullNormal(in_features=400, latent_dim=20)
        >>> posterior(torch.randn(128, 400)).covariance_matrix.shape
        torch.Size([128, 20, 20])
    """

    space = "euclidean"

    rows: Tensor
    columns: Tensor

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        rows, columns = torch.tril_indices(latent_dim, latent_dim, offset=-1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.head = nn.Linear(in_features, 2 * latent_dim + len(rows))

    def forward(self, features: Tensor) -> Distribution:
        size = self.latent_dim
        # torch has no triangular solver in half precision.
        parameters = at_least_float32(self.head(features))
        mean, log_variance, below = parameters.split([size, size, len(self.rows)], dim=-1)
        unscaled = torch.eye(size, dtype=mean.dtype, device=mean.device)
        unscaled = unscaled.repeat(*mean.shape[:-1], 1, 1)  # (..., D, D)
        unscaled[..., self.rows, self.columns] = below / math.sqrt(size)
        factor = torch.exp(0.5 * log_variance).unsqueeze(-1) * unscaled
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)
